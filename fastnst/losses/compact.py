"""The compact loss network: stands in for VGG-19 with a tenth of its arithmetic, trained by `fastnst research distill`.

It has VGG-19's layers as far as the default loss needs them, each convolution of low rank and rectified on part of the
channels (Zhang et al. 2016, "Accelerating very deep convolutional networks", and He et al. 2017, "Channel pruning",
fit such layers in the same way), and beside its path a 1x1 convolution (a head) for each layer that is compared. A head
gives VGG-19's response in the basis of its own principal components; distances and Gram matrices in an orthonormal
basis are those of the responses themselves, as far as the components reach. Chiu and Gurari (2022, "PCA-based knowledge
distillation") use such a basis for a network that is fed forward; here it is not.

Shapes: B batch, C channels, H and W height and width.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.errors import SettingError, WeightsError, nearest_hint
from fastnst.io.files import parse_table, reading, sha256_of, write_atomically
from fastnst.io.styles import bundled_models
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features


class Shape(NamedTuple):
    """How a convolution of VGG-19 is stood in for: 1x1 to fewer channels, 3x3 between them, 1x1 to those rectified."""

    channels: int
    """Channels after the rectifier: those of VGG-19's that explain the others best."""

    reduced: int = 0
    """Channels that the 3x3 convolution sees; 0: all of the layer before."""

    rank: int = 0
    """Channels that the 3x3 convolution makes; 0: those of the layer, without a 1x1 after it."""


SHAPES = {
    "conv1_1": Shape(16),
    "conv1_2": Shape(16),
    "conv2_1": Shape(80, 0, 40),
    "conv2_2": Shape(80, 40, 40),
    "conv3_1": Shape(160, 40, 64),
    "conv3_2": Shape(160, 64, 64),
    "conv3_4": Shape(160, 64, 64),
    "conv4_1": Shape(320, 64, 112),
    "conv4_2": Shape(320, 112, 112),
    "conv4_3": Shape(320, 112, 128),
    "conv4_4": Shape(320, 128, 128),
    "conv5_1": Shape(512, 128, 160),
}
"""The convolutions on the path, under the names of those of VGG-19 that they were fitted to; conv3_3 has none."""

COMPONENTS = {"relu1_1": 16, "relu2_1": 40, "relu3_1": 80, "relu4_1": 160, "relu4_2": 192, "relu5_1": 320}
"""The layers with a head, those of the default loss, and how many of VGG-19's principal components it gives."""

LAYERS = tuple(COMPONENTS)

MEAN, STD = 0.45, 0.25
"""What pixels are centred by and divided by, as ImageNet's photographs are on average."""


def check_compact_layers(layers: Iterable[str]) -> None:
    """Raise SettingError, with the nearest valid name, for a layer that the compact network has no head for."""
    for layer in layers:
        if layer not in LAYERS:
            raise SettingError(
                f"the compact loss network has no layer {layer!r}; {nearest_hint(layer, LAYERS)}, "
                "or --loss-network vgg19, which has them all"
            )


class Convolution(nn.Module):
    """A 3x3 convolution of low rank in its input and its output channels (a Tucker-2 decomposition), rectified."""

    def __init__(self, channels: int, shape: Shape) -> None:
        super().__init__()
        inner, outer = shape.reduced or channels, shape.rank or shape.channels
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False) if shape.reduced else nn.Identity()
        self.convolve = nn.Conv2d(inner, outer, 3, padding=1, bias=not shape.rank)
        self.expand = nn.Conv2d(outer, shape.channels, 1) if shape.rank else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same height and width."""
        return F.relu(self.expand(self.convolve(self.reduce(x))))


class CompactFeatures(nn.Module):
    """The compact network, frozen unless asked otherwise; computes no deeper than the last layer asked for."""

    def __init__(self, layers: Sequence[str] = LAYERS) -> None:
        super().__init__()
        check_compact_layers(layers)
        if not layers:
            raise SettingError("the loss network needs at least one layer, e.g. relu4_2")
        self.layers = tuple(sorted(set(layers), key=LAYERS.index))
        order = list(SHAPES)
        self.path = order[: order.index(convolution_of(self.layers[-1])) + 1]
        self.convolutions, self.heads = nn.ModuleDict(), nn.ModuleDict()
        channels = 3
        for name in self.path:
            self.convolutions[name] = Convolution(channels, SHAPES[name])
            channels = SHAPES[name].channels
        for layer in self.layers:
            width = SHAPES[convolution_of(layer)].channels
            self.heads[layer] = nn.Conv2d(width, COMPONENTS[layer], 1, bias=False)
        self.requires_grad_(False).eval()

    @property
    def smallest_side(self) -> int:
        """Shortest side, in pixels, that an image may have: each pooling on the way halves it, rounding down."""
        return 1 << sum(begins_block(name) for name in self.path)

    def rectified(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the responses of the convolutions after their rectifiers."""
        responses: Features = {}
        x = (image - MEAN) / STD
        for name in self.path:
            if begins_block(name):
                if min(x.shape[2:]) < 2:
                    raise SettingError(
                        f"the image is too small for {self.layers[-1]}: nothing is left before {name}; "
                        "use a larger image or shallower layers"
                    )
                x = F.avg_pool2d(x, 2)
            x = self.convolutions[name](x)
            responses[name] = x
        return responses

    def forward(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the features of `layers`; they have either sign."""
        responses = self.rectified(image)
        return {layer: self.heads[layer](responses[convolution_of(layer)]) for layer in self.layers}


def convolution_of(layer: str) -> str:
    """The convolution that a layer is the rectified response of: relu4_2 -> conv4_2."""
    return layer.replace("relu", "conv")


def begins_block(name: str) -> bool:
    """Whether the path pools before a convolution."""
    return name.endswith("_1") and name != "conv1_1"


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
    digest = sha256_of(path)[:8]
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
