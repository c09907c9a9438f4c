"""The compact loss network's weights: the file that comes with fastnst, or that `fastnst research distill` wrote."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import SettingError, WeightsError
from fastnst.io.files import write_atomically
from fastnst.io.saved import parse_table, reading
from fastnst.io.styles import bundled_models
from fastnst.losses.compact import LAYERS, CompactFeatures
from fastnst.losses.settings import LossSettings

FORMAT = "fastnst compact loss network 1"


@dataclass(frozen=True)
class CompactInfo:
    """What a file of compact weights says of itself."""

    teacher: str
    """The network it stands in for, and which weights that had."""

    license: str = "not stated"
    """Terms under which the weights may be used."""

    training: dict[str, Any] = field(default_factory=dict)
    """Settings, errors, seconds and hardware of the training."""


def save_compact(path: Path, network: CompactFeatures, info: CompactInfo) -> None:
    """Write the weights, rounded to float16, and where they come from; raises OutputError where that fails."""
    state = {name: value.detach().cpu().contiguous().half() for name, value in network.state_dict().items()}
    write_atomically(path, save(state, {"format": FORMAT, "info": json.dumps(dataclasses.asdict(info))}))


def load_compact(settings: LossSettings, layers: Sequence[str]) -> tuple[CompactFeatures, str]:
    """Build the compact network with the weights that come with fastnst, or those of the settings' file.

    Returns the network and where its weights come from. Raises SettingError for settings that it was not trained to
    stand in for, and WeightsError for a file that holds no such weights.
    """
    _check_settings(settings)
    network = CompactFeatures(layers)
    path = settings.loss_weights or bundled_models() / "compact.safetensors"
    state, info = _read(path)
    with reading(path, "install fastnst again, or name another --loss-weights", WeightsError):
        network.load_state_dict({name: state[name].float() for name in network.state_dict()})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return network, f"compact (stands in for {info.teacher}), {path.name} (sha256 {digest})"


def stands_in(settings: LossSettings) -> bool:
    """Whether the compact network can give what the settings ask for."""
    layers = settings.content_layers + settings.style_layers
    return settings.normalization == "balanced" and settings.pool == "average" and set(layers) <= set(LAYERS)


def _check_settings(settings: LossSettings) -> None:
    if settings.normalization != "balanced":
        raise SettingError(
            f"normalization {settings.normalization!r} is in units of VGG's responses, which the compact loss network "
            "does not have; add --loss-network vgg19 (fetched once)"
        )
    if settings.pool != "average":
        raise SettingError(
            f"--pool {settings.pool}: the compact loss network was trained with average pooling alone; "
            "add --loss-network vgg19 (fetched once)"
        )


def _read(path: Path) -> tuple[Mapping[str, Tensor], CompactInfo]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected what fastnst research distill writes")
    with reading(path, "expected what fastnst research distill writes", WeightsError):
        with safe_open(path, framework="pt") as opened:
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
            metadata = opened.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise WeightsError(
                f"{path}: not a compact loss network; expected a file that fastnst research distill wrote "
                "(for VGG's own weights add --loss-network vgg19)"
            )
        description = parse_table(metadata["info"])
        # Files of version 0.1 say "licence".
        return state, CompactInfo(
            **{"license" if name == "licence" else name: description[name] for name in description}
        )
