"""A trained network as a file: weights in float16 (safetensors) and, as JSON in its metadata, all that describes it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import CheckpointError
from fastnst.io.files import write_atomically
from fastnst.io.saved import parse_table, reading
from fastnst.io.styles import bundled_models
from fastnst.models.architectures import build_network, in_words
from fastnst.models.network import StyleNetwork

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


def save_model(path: Path, network: StyleNetwork, info: ModelInfo) -> None:
    """Write the weights, rounded to float16, and their description."""
    state = {name: value.detach().cpu().contiguous().half() for name, value in network.state_dict().items()}
    # Versions that know one style only read files of one style.
    description = {name: value for name, value in dataclasses.asdict(info).items() if name != "styles" or value}
    metadata = {"format": FORMAT, "info": json.dumps(description)}
    write_atomically(path, save(state, metadata))


def load_model(path: Path) -> tuple[StyleNetwork, ModelInfo]:
    """Read a trained network, its weights widened to float32.

    Raises CheckpointError for a file that is not there or not one of ours.
    """
    state, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a trained network of fastnst; expected a file that `fastnst train` wrote")
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


def find_model(given: Path) -> Path:
    """A model file as it was named: a path, or the name of a style in the package, as "starry"."""
    bundled = bundled_models() / f"{given}.safetensors"
    return bundled if not given.is_file() and given.name == str(given) and bundled.is_file() else given


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
