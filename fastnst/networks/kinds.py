"""The kinds of networks that can be trained, and their usual sizes."""

from collections.abc import Callable, Mapping

from fastnst.errors import CheckpointError
from fastnst.networks.johnson import TransformNet
from fastnst.networks.live import LiveNet
from fastnst.networks.network import StyleNetwork

KINDS: dict[str, Callable[[int, int], StyleNetwork]] = {"johnson": TransformNet, "live": LiveNet}
"""Kind to what builds it of its width and its blocks."""


def build_network(spec: Mapping[str, int | str]) -> StyleNetwork:
    """Build an untrained network from its description, {"kind": "johnson", "width": 16, "blocks": 5}.

    Raises CheckpointError for a kind that is not known.
    """
    kind = KINDS.get(str(spec.get("kind")))
    if kind is None:
        known = " and ".join(repr(name) for name in KINDS)
        raise CheckpointError(f"network of kind {spec.get('kind')!r}; this version knows {known}")
    return kind(int(spec["width"]), int(spec["blocks"]))
