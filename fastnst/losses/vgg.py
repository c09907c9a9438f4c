"""The loss network: VGG-16 or VGG-19 (Simonyan and Zisserman 2015), its layers called by their names.

Shapes: B batch, C channels, H and W height and width of a feature map.
"Features" are activations by layer name, e.g. {"relu1_1": (B, 64, H, W)}. `convX_Y` is the response before
the rectifier, `reluX_Y` the response after it. The papers write "conv4_2" for what is `relu4_2` here, because
in Caffe the rectifier works in place.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from fastnst.errors import SettingError, WeightsError, nearest_hint

Features: TypeAlias = dict[str, Tensor]
"""Activations by layer name, e.g. {"relu1_1": (B, 64, H, W)}."""

Architecture: TypeAlias = Literal["vgg16", "vgg19"]
Pooling: TypeAlias = Literal["average", "max"]
Preprocessing: TypeAlias = Literal["torchvision", "caffe"]

# Configurations D and E of table 1 in Simonyan and Zisserman (2015), as torchvision writes them.
_CONFIGURATIONS: dict[Architecture, str] = {"vgg16": "D", "vgg19": "E"}

# Mean and standard deviation over ImageNet, RGB, that torchvision's weights were trained with (pixels in 0..1).
_PREPARED = VGG19_Weights.IMAGENET1K_V1.transforms()
TORCHVISION_MEAN, TORCHVISION_STD = tuple(_PREPARED.mean), tuple(_PREPARED.std)
# Mean over ImageNet, RGB, that the authors' Caffe weights were trained with (pixels in 0..255, not divided).
CAFFE_MEAN = (123.68, 116.779, 103.939)


class LossNetwork(Protocol):
    """What the perceptual loss asks of a loss network, whichever it is: it is frozen and gives features of images."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that it gives, from the first to the deepest."""
        ...

    @property
    def smallest_side(self) -> int:
        """Shortest side, in pixels, that an image may have."""
        ...

    def __call__(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the features of `layers`."""
        ...


def layer_names(architecture: Architecture) -> list[str]:
    """All layers of an architecture in the order they are computed: conv1_1, relu1_1, ... pool1, conv2_1 ..."""
    names, block, index = [], 1, 0
    for entry in cfgs[_CONFIGURATIONS[architecture]]:
        if entry == "M":
            names.append(f"pool{block}")
            block, index = block + 1, 0
        else:
            index += 1
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
    return names


def check_layers(architecture: Architecture, layers: Iterable[str]) -> None:
    """Raise SettingError, with the nearest valid name, for a layer that the architecture lacks."""
    known = layer_names(architecture)
    for layer in layers:
        if layer not in known:
            raise SettingError(f"{architecture} has no layer {layer!r}; {nearest_hint(layer, known)}")


class VGGFeatures(nn.Module):
    """Frozen VGG convolutions that return the features asked for, and compute no deeper than the last of them.

    Average pooling is what Gatys et al. (2016, section 2) prefer; the network was trained with max pooling.
    """

    def __init__(
        self,
        architecture: Architecture,
        layers: Sequence[str],
        pooling: Pooling = "average",
        normalization: Preprocessing = "torchvision",
    ) -> None:
        super().__init__()
        check_layers(architecture, layers)
        if not layers:
            raise SettingError("the loss network needs at least one layer, e.g. relu4_2")
        order = layer_names(architecture)
        self.architecture, self.pooling, self.normalization = architecture, pooling, normalization
        self.layers = tuple(sorted(set(layers), key=order.index))
        self.path = order[: order.index(self.layers[-1]) + 1]
        # Rectifiers and poolings are called below, as what is asked for decides how.
        entries = cfgs[_CONFIGURATIONS[architecture]][: sum(not name.startswith("relu") for name in self.path)]
        modules = zip(self.path, make_layers(entries, batch_norm=False), strict=False)
        self.convolutions = nn.ModuleDict({name: module for name, module in modules if name.startswith("conv")})
        if normalization == "caffe":
            mean, std = torch.tensor(CAFFE_MEAN) / 255, torch.full((3,), 1 / 255)
        else:
            mean, std = torch.tensor(TORCHVISION_MEAN), torch.tensor(TORCHVISION_STD)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def smallest_side(self) -> int:
        """Shortest side, in pixels, that an image may have: each pooling on the way halves it, rounding down."""
        return 1 << sum(name.startswith("pool") for name in self.path)

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Take weights under torchvision's names, `features.N.weight` and `features.N.bias`; extra ones are ignored.

        Raises WeightsError for a tensor that is missing or has another shape.
        """
        # torchvision numbers convolution, rectifier and pooling alike, in the order of layer_names.
        for index, name in enumerate(layer_names(self.architecture)):
            if name not in self.convolutions:
                continue
            for kind in ("weight", "bias"):
                key, own = f"features.{index}.{kind}", self.convolutions[name].get_parameter(kind)
                given = state.get(key)
                if given is None or given.shape != own.shape:
                    found = "is missing" if given is None else f"has shape {tuple(given.shape)}"
                    raise WeightsError(
                        f"weights do not fit {self.architecture}: {key} ({name}) {found}, "
                        f"expected {tuple(own.shape)}; give a file with torchvision's names for {self.architecture}"
                    )
                if not given.isfinite().all():
                    raise WeightsError(
                        f"the weights are damaged: {key} ({name}) has values that are no finite numbers; "
                        "get the file anew"
                    )
                with torch.no_grad():
                    own.copy_(given)

    def forward(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the features of `layers`."""
        features: Features = {}
        x = (image - self.mean) / self.std
        before = ""
        for name in self.path:
            if name.startswith("conv"):
                x = self.convolutions[name](x)
            elif name.startswith("relu"):
                # In place where nobody asked for what goes in: the way back needs only what comes out.
                x = F.relu(x, inplace=before not in self.layers)
            elif min(x.shape[2:]) < 2:
                raise SettingError(
                    f"the image is too small for {self.layers[-1]}: nothing is left at {name}; "
                    "use a larger image or shallower layers"
                )
            else:
                x = F.avg_pool2d(x, 2) if self.pooling == "average" else F.max_pool2d(x, 2)
            if name in self.layers:
                features[name] = x
            before = name
        return features
