"""A trained network as a file: weights in float16 (safetensors) and, as JSON in its metadata, all that describes it.

Here too: the kinds of networks that a description can name, and how a training begins with what another one learnt.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import CheckpointError
from fastnst.io.files import parse_table, reading, write_atomically
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import bundled_models, fitted_name, fitted_styles_folder, is_painting
from fastnst.models.live import LiveNet
from fastnst.models.network import (
    UPSAMPLINGS,
    ConditionalInstanceNorm2d,
    ConditionalScale,
    Conditions,
    StyleNetwork,
    TransformNet,
)

KINDS: dict[str, Callable[..., StyleNetwork]] = {"johnson": TransformNet, "live": LiveNet}
"""Kind to what builds it of its width, its blocks, its conditions and what else it has."""


def build_network(spec: Mapping[str, int | str]) -> StyleNetwork:
    """Build an untrained network from its description, {"kind": "johnson", "width": 16, "blocks": 5}.

    With "styles": 3 it knows so many, with "strength": 1 it takes a strength; a johnson with "upsampling": "bilinear"
    has that instead of the nearest neighbor.

    Raises CheckpointError for a kind, or an upsampling, that is not known.
    """
    kind = KINDS.get(str(spec.get("kind")))
    if kind is None:
        known = " and ".join(repr(name) for name in KINDS)
        raise CheckpointError(f"network of kind {spec.get('kind')!r}; this version knows {known}")
    upsampling, further = spec.get("upsampling"), {}
    if upsampling is not None:
        if kind is not TransformNet or upsampling not in UPSAMPLINGS:
            raise CheckpointError(f"network of kind {spec['kind']!r} with upsampling {upsampling!r}; unknown here")
        further = {"upsampling": upsampling}
    return kind(int(spec["width"]), int(spec["blocks"]), conditions_of(spec), **further)


def conditions_of(spec: Mapping[str, int | str]) -> Conditions:
    """What the network of a description is conditioned on."""
    return Conditions(int(spec.get("styles", 1)), bool(spec.get("strength", 0)))


def size_of(spec: Mapping[str, int | str]) -> dict[str, int | str]:
    """A description without the conditions."""
    return {name: value for name, value in spec.items() if name not in ("styles", "strength")}


def convolutions_of(spec: Mapping[str, int | str]) -> dict[str, int | str]:
    """A description of the convolutions alone: one of two networks with the same can begin with the other's weights."""
    return {name: value for name, value in size_of(spec).items() if name != "upsampling"}


def in_words(spec: Mapping[str, int | str]) -> str:
    """A description for people: johnson 16 5, 3 styles, strength."""
    conditions, words = conditions_of(spec), [" ".join(str(value) for value in size_of(spec).values())]
    words += [f"{conditions.styles} styles"] if conditions.styles > 1 else []
    return ", ".join([*words, "strength"] if conditions.strength else words)


FORMAT = "fastnst model 1"


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a trained network beside its weights."""

    style: str
    """Name of the style, e.g. "starry"."""

    network: dict[str, int | str]
    """What `build_network` needs: {"kind": "johnson", "width": 16, "blocks": 5}."""

    provenance: str
    """The style picture, the content pictures and the loss weights it was trained with."""

    license: str = "not stated"
    """Terms under which the weights may be used."""

    training: dict[str, Any] = field(default_factory=dict)
    """Settings, losses, seconds and hardware of the training."""

    styles: tuple[str, ...] = ()
    """Names of the styles of a network that knows several, in the order of their weights."""

    input_noise: float = 0.0
    """Standard deviation of the noise on its input, levels of 255 (`fastnst.io.noise`)."""


def save_model(path: Path, network: StyleNetwork, info: ModelInfo) -> None:
    """Write the weights, rounded to float16, and their description."""
    state = {name: value.detach().cpu().contiguous().half() for name, value in network.state_dict().items()}
    # Versions that do not know these two read files without them.
    later = {"styles", "input_noise"}
    description = {name: value for name, value in dataclasses.asdict(info).items() if name not in later or value}
    metadata = {"format": FORMAT, "info": json.dumps(description)}
    write_atomically(path, save(state, metadata))


def load_model(path: Path) -> tuple[StyleNetwork, ModelInfo]:
    """Read a trained network, its weights widened to float32.

    Raises CheckpointError for a file that is not there or not one of ours.
    """
    state, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a trained network of fastnst; expected a file that `fastnst train` wrote")
    check_finite(path, state)
    with reading(path, "train or export it again"):
        description = parse_table(metadata["info"])
        info = ModelInfo(**_renamed(description) | {"styles": tuple(description.get("styles", ()))})
        _check_info(info)
        _check_claims(info.network, state)
        network = build_network(info.network)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    if info.styles and len(info.styles) != network.conditions.styles:
        raise CheckpointError(f"{path}: a damaged model file ({len(info.styles)} names, {in_words(info.network)})")
    return network.eval(), info


def _check_info(info: ModelInfo) -> None:
    """Raise TypeError where what a file says of itself is of other kinds than it should be."""
    texts = [info.style, info.provenance, info.license, *info.styles]
    if not all(isinstance(text, str) for text in texts) or not isinstance(info.training, dict):
        raise TypeError("its description has values of the wrong kind")
    if not isinstance(info.network, dict):
        raise TypeError("its description of the network is no table")
    if isinstance(info.input_noise, bool) or not isinstance(info.input_noise, int | float):
        raise TypeError("its noise is no number")
    if not 0 <= info.input_noise <= MAX_LEVELS:
        raise ValueError(f"its noise is {info.input_noise}, expected 0 to {MAX_LEVELS:g}")


def _check_claims(spec: Mapping[str, int | str], state: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a network that the file cannot hold, before memory is taken for it."""
    values = sum(value.numel() for value in state.values())
    for name, most in {"width": values, "blocks": len(state), "styles": values}.items():
        if not 0 <= int(spec.get(name, 0)) <= most:
            raise ValueError(f"{name} is {spec[name]}, and the file holds {values} numbers in {len(state)} tensors")
    with torch.device("meta"):
        expected = {name: value.shape for name, value in build_network(spec).state_dict().items()}
    found = {name: value.shape for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is {_shape(found.get(name))}, expected {_shape(expected.get(name))}")


def _shape(shape: torch.Size | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "one number"


def _renamed(description: dict[str, Any]) -> dict[str, Any]:
    """A description under today's names; version 0.1 wrote "licence"."""
    return {"license" if name == "licence" else name: value for name, value in description.items()}


def check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights that are no numbers: the training had diverged, or the file is damaged."""
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path}: {name} holds numbers that are none (NaN or infinity); it is damaged, or its training "
                "diverged. Take an earlier file, or train again"
            )


def find_model(given: Path) -> Path:
    """A model file as it was named: a path, the name of a style in the package, as "starry", or of one that was fitted
    to a painting, or that painting."""
    if is_painting(given) and given.is_file():
        return _fitted_to(given)
    for folder in (bundled_models(), fitted_styles_folder()):
        found = folder / f"{given}.safetensors"
        if not given.is_file() and given.name == str(given) and found.is_file():
            return found
    return given


def _fitted_to(painting: Path) -> Path:
    """The model that was fitted to a painting longest; raises CheckpointError where none was."""
    start = fitted_name(painting, 0).removesuffix("0s")
    models = fitted_styles_folder().glob(f"{start}*s.safetensors")
    found = max(models, key=lambda path: float(path.stem.removeprefix(start)[:-1].replace("_", ".")), default=None)
    if found is None:
        raise CheckpointError(
            f"{painting}: no network was fitted to it yet; fastnst stylize PHOTO --style {painting} does so"
        )
    return found


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the metadata of a safetensors file; raises CheckpointError where that fails."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as opened:
            tensors: dict[str, torch.Tensor] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            return tensors, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def init_from(network: StyleNetwork, trained: StyleNetwork, styles: Sequence[int] | None = None) -> None:
    """Give a network the weights of a trained one of the same kind and size.

    The two may know other styles: `styles` says which of the old each new one begins as. Without it as many are
    taken as they are, else each begins with the even mix of the old. What strength adds begins with nothing where only
    one of the two takes a strength, or the new styles begin with a mix.
    """
    if styles is None and network.conditions.styles == trained.conditions.styles:
        styles = range(network.conditions.styles)
    rows = _rows(network, trained, styles)
    state, tables = trained.state_dict(), _tables(network)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in tables:
                begun = _begun(network, trained, name, rows)
                value.copy_(begun if value.ndim > 1 else begun[0])
            elif name != "kept":
                value.copy_(state[name])
            elif rows is not None and len(rows) == len(value):
                value.copy_(state[name][rows])
            else:
                value.zero_()


def styles_of_names(names: Sequence[str], start: ModelInfo) -> list[int] | None:
    """Numbers of the start's styles with these names; None where it lacks one, or knows but one."""
    if not set(names) <= set(start.styles):
        return None
    return [start.styles.index(name) for name in names]


def must_be_found(names: Sequence[str], start: ModelInfo) -> bool:
    """Whether the start knows several styles, and not all of these: then what comes nearest has to be found."""
    return len(start.styles) > 1 and styles_of_names(names, start) is None


def _tables(network: StyleNetwork) -> set[str]:
    kinds = (ConditionalInstanceNorm2d, ConditionalScale)
    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, kinds)]
    return {f"{name}.{table}" for name, part in parts for table, _ in part.named_parameters(recurse=False)}


def _rows(network: StyleNetwork, trained: StyleNetwork, styles: Sequence[int] | None) -> list[int] | None:
    """Rows of the old tables that the new ones begin with, what strength adds among them where both take one."""
    if styles is None:
        return None
    rows = list(styles)
    if network.conditions.strength and trained.conditions.strength:
        photo = trained.conditions.styles
        rows += [photo, *(photo + 1 + 2 * style + place for style in styles for place in (0, 1))]
    return rows


def _begun(network: StyleNetwork, trained: StyleNetwork, name: str, rows: list[int] | None) -> Tensor:
    """A table to begin with, (R, C); of what a plain network does not have, scales are 1 and shifts 0."""
    old = trained.state_dict().get(name)
    if old is None:
        return network.conditions.ones(1) * (not name.endswith(".shift"))
    old = old.reshape(-1, old.shape[-1])
    if rows is None:
        begun = old[: trained.conditions.styles].mean(dim=0).expand(network.conditions.styles, -1)
    else:
        begun = old[rows]
    return torch.cat([begun, begun.new_zeros(network.conditions.rows - len(begun), begun.shape[1])])
