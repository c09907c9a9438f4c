"""The kinds of networks that can be trained, and their usual sizes."""

from collections.abc import Callable, Mapping

from fastnst.errors import CheckpointError
from fastnst.models.conditioning import Conditions
from fastnst.models.johnson import TransformNet
from fastnst.models.live import LiveNet
from fastnst.models.network import StyleNetwork

KINDS: dict[str, Callable[[int, int, Conditions], StyleNetwork]] = {"johnson": TransformNet, "live": LiveNet}
"""Kind to what builds it of its width, its blocks and its conditions."""


def build_network(spec: Mapping[str, int | str]) -> StyleNetwork:
    """Build an untrained network from its description, {"kind": "johnson", "width": 16, "blocks": 5}.

    With "styles": 3 it knows so many, with "strength": 1 it takes a strength.

    Raises CheckpointError for a kind that is not known.
    """
    kind = KINDS.get(str(spec.get("kind")))
    if kind is None:
        known = " and ".join(repr(name) for name in KINDS)
        raise CheckpointError(f"network of kind {spec.get('kind')!r}; this version knows {known}")
    return kind(int(spec["width"]), int(spec["blocks"]), conditions_of(spec))


def conditions_of(spec: Mapping[str, int | str]) -> Conditions:
    """What the network of a description is conditioned on."""
    return Conditions(int(spec.get("styles", 1)), bool(spec.get("strength", 0)))


def size_of(spec: Mapping[str, int | str]) -> dict[str, int | str]:
    """A description without the conditions: networks with the same have the same convolutions."""
    return {name: value for name, value in spec.items() if name not in ("styles", "strength")}


def in_words(spec: Mapping[str, int | str]) -> str:
    """A description for people: johnson 16 5, 3 styles, strength."""
    conditions, words = conditions_of(spec), [" ".join(str(value) for value in size_of(spec).values())]
    words += [f"{conditions.styles} styles"] if conditions.styles > 1 else []
    return ", ".join([*words, "strength"] if conditions.strength else words)
