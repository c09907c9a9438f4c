"""How close a stylized picture is to its photo and its painting: by a loss network, by AlexNet, and SSIM.

Distances by a loss network say how much of the photo is left and how much of the painting is in; no units, 0 best. No
one trains through AlexNet, so LPIPS, content and style through it are a second opinion.

Shapes: H and W height and width, B batch, C channels of a layer. Frames are uint8 (H, W, 3) RGB. "Features" are
activations of a network by layer name, (B, C, H, W). docs/research/metrics.md says what each figure means.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.errors import InputError, WeightsError
from fastnst.io.files import sha256_of
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.losses import covariance_matrix, gram_matrix, relative_error
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import TORCHVISION_MEAN, TORCHVISION_STD, Features
from fastnst.losses.weights import load_loss_network
from fastnst.metrics.artifacts import Plane, luma

STYLE_SIZE = 512
"""Long side at which the style image is measured, pixels."""

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class FeatureNetwork(Protocol):
    """What measures pictures: VGG-19 or AlexNet."""

    def __call__(self, image: Tensor) -> Features:
        """Features of an image, (1, 3, H, W) RGB in [0, 1]."""
        ...


@dataclass(frozen=True)
class PerceptualFeatures:
    """What one picture looks like to a network."""

    content: Tensor
    """Features at the content layer, (1, C, H, W)."""

    grams: tuple[Tensor, ...]
    """Gram matrices of the style layers, (1, C, C) each."""

    covariances: tuple[Tensor, ...]
    """The same of features less each channel's mean."""


@dataclass(frozen=True)
class PerceptualDistances:
    """Relative squared errors: 0 equal, 1 as far off as nothing at all."""

    content: float
    """Distance to the photo at the content layer."""

    style: float
    """Distance of the Gram matrices to the painting's, mean over layers. Largely palette."""

    centred: float
    """Distance of the covariances to the painting's, mean over layers: texture."""


class PerceptualMetrics:
    """Measures pictures through one network and compares them."""

    def __init__(self, network: FeatureNetwork, content_layer: str, style_layers: Sequence[str]) -> None:
        self._network, self._content_layer, self._style_layers = network, content_layer, tuple(style_layers)

    def measure(self, frame: Frame) -> PerceptualFeatures:
        """Measure a photo, a stylized picture, or a style image as it is."""
        with torch.inference_mode():
            features = self._network(to_image(frame))
            styles = [features[layer] for layer in self._style_layers]
            return PerceptualFeatures(
                features[self._content_layer],
                tuple(gram_matrix(layer) for layer in styles),
                tuple(covariance_matrix(layer) for layer in styles),
            )

    def measure_style(self, frame: Frame) -> PerceptualFeatures:
        """Measure a style image, scaled to a long side of 512 px; its content is dropped."""
        measured = self.measure(resize_long_side(frame, STYLE_SIZE))
        return replace(measured, content=torch.empty(0))

    @staticmethod
    def compare(
        stylized: PerceptualFeatures, photo: PerceptualFeatures, style: PerceptualFeatures
    ) -> PerceptualDistances:
        """Compare a stylized picture with the photo it was made from, of the same size, and with the style image."""
        return PerceptualDistances(
            relative_error(stylized.content, photo.content).item(),
            _mean_error(stylized.grams, style.grams),
            _mean_error(stylized.covariances, style.covariances),
        )


def load_perceptual_metrics(settings: LossSettings) -> tuple[PerceptualMetrics, str]:
    """Build the metrics of docs/research/metrics.md on VGG, and say which weights they have.

    `loss_network` and `loss_weights` choose the weights; layers and pooling are the metrics' own. Raises WeightsError
    where no weights can be had.
    """
    fixed = replace(settings, content_layers=(CONTENT_LAYER,), style_layers=STYLE_LAYERS, pool="average")
    network, provenance = load_loss_network(fixed)
    return PerceptualMetrics(network, CONTENT_LAYER, STYLE_LAYERS), provenance


def _mean_error(given: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    errors = [relative_error(own, other).item() for own, other in zip(given, reference, strict=True)]
    return sum(errors) / len(errors)


ENVIRONMENT_VARIABLE = "FASTNST_LPIPS_WEIGHTS"

ALEXNET_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")
SMALLEST_SIDE = 31
"""Pixels below which nothing is left at the second pooling."""

# torchvision's numbers of the five convolutions: input and output channels, kernel, stride, padding
# (Krizhevsky 2014, "One weird trick ...", the one-tower form). Pooling of 3 with stride 2 follows the first two.
_CONVOLUTIONS = {
    0: (3, 64, 11, 4, 2),
    3: (64, 192, 5, 1, 2),
    6: (192, 384, 3, 1, 1),
    8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}

# torchvision.models.AlexNet_Weights.IMAGENET1K_V1, and the LPIPS v0.1 heads (BSD-2-Clause). torch.hub compares the
# characters before .pth with the file's SHA-256.
_ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
_HEADS_URL = (
    "https://github.com/richzhang/PerceptualSimilarity/raw/"
    "c33f89e9f46522a584cf41d8880eb0afa982708b/lpips/weights/v0.1/alex.pth"
)
_HEADS_FILE = "lpips_alex_v0.1-df73285e35b22355.pth"


class AlexNetFeatures(nn.Module):
    """Frozen AlexNet convolutions, max pooling as trained, and LPIPS' weights for their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {str(n): nn.Conv2d(c, o, k, s, p) for n, (c, o, k, s, p) in _CONVOLUTIONS.items()}
        )
        self.heads = nn.ParameterList(torch.ones(c[1]) for c in _CONVOLUTIONS.values())
        self.mean: Tensor
        self.std: Tensor
        # LPIPS' own scaling layer is the same in other words: ((2 x - 1) + 0.030) / 0.458 = (x - 0.485) / 0.229.
        self.register_buffer("mean", torch.tensor(TORCHVISION_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(TORCHVISION_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take torchvision's `features.N.weight` and `.bias`, and LPIPS' `linK.model.1.weight`; others are ignored.

        Raises WeightsError for a tensor that is missing or has another shape.
        """
        for number in _CONVOLUTIONS:
            for kind in ("weight", "bias"):
                own = self.convolutions[str(number)].get_parameter(kind)
                _copy(own, state, f"features.{number}.{kind}", own.shape)
        for index, head in enumerate(self.heads):
            _copy(head, state, f"lin{index}.model.1.weight", (1, len(head), 1, 1))

    def forward(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the features of all ALEXNET_LAYERS."""
        features: Features = {}
        x = (image - self.mean) / self.std
        for layer, convolution in zip(ALEXNET_LAYERS, self.convolutions.values(), strict=True):
            if layer in {"relu2", "relu3"}:
                x = F.max_pool2d(x, 3, 2)
            x = features[layer] = F.relu(convolution(x))
        return features

    def lpips(self, given: Features, reference: Features) -> Tensor:
        """Learned perceptual distance of two images by their features: (B,), 0 equal.

        Zhang et al. (2018), eq. 1: channels are made unit vectors at each pixel, squared differences weighted by
        channel, averaged over pixels and summed over layers.
        """
        layers = zip(ALEXNET_LAYERS, self.heads, strict=True)
        return torch.stack([self._layer_distance(given[name], reference[name], head) for name, head in layers]).sum(0)

    @staticmethod
    def _layer_distance(given: Tensor, reference: Tensor, head: Tensor) -> Tensor:
        difference = (_unit(given) - _unit(reference)).square()
        return (difference * head.view(-1, 1, 1)).sum(1).mean((1, 2))


def load_alexnet(file: Path | None = None) -> tuple[AlexNetFeatures, str]:
    """Build AlexNet with LPIPS' heads, and say which weights it has.

    They come from a .safetensors file with both, by default the one that FASTNST_LPIPS_WEIGHTS names, else the
    downloads. Raises WeightsError where no weights can be had or they do not fit.
    """
    if file is None and os.environ.get(ENVIRONMENT_VARIABLE):
        file = Path(os.environ[ENVIRONMENT_VARIABLE])
    state, provenance = _from_file(file) if file else _from_downloads()
    network = AlexNetFeatures()
    network.load(state)
    return network, provenance


def _from_file(file: Path) -> tuple[dict[str, Tensor], str]:
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; expected AlexNet and LPIPS v0.1 heads as .safetensors")
    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable safetensors file ({error})") from error
    return state, f"AlexNet and LPIPS v0.1, {file.name} (sha256 {sha256_of(file)[:8]})"


def _from_downloads() -> tuple[dict[str, Tensor], str]:
    state: dict[str, Tensor] = {}
    for url, name in ((_ALEXNET_URL, None), (_HEADS_URL, _HEADS_FILE)):
        try:
            state |= torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True, file_name=name
            )
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"the weights of LPIPS could not be fetched from {url} ({error}); either connect and try again, "
                f"or give a file by --lpips-weights FILE or {ENVIRONMENT_VARIABLE}=FILE"
            ) from error
    return state, f"AlexNet and LPIPS v0.1, {_ALEXNET_URL.rsplit('/', 1)[1]} and {_HEADS_FILE}"


def _copy(own: Tensor, state: Mapping[str, Tensor], key: str, shape: tuple[int, ...]) -> None:
    given = state.get(key)
    if given is None or tuple(given.shape) != tuple(shape):
        found = "is missing" if given is None else f"has shape {tuple(given.shape)}"
        raise WeightsError(f"weights do not fit AlexNet with LPIPS v0.1: {key} {found}, expected {tuple(shape)}")
    with torch.no_grad():
        own.copy_(given.reshape(own.shape))


def _unit(features: Tensor) -> Tensor:
    length = features.square().sum(1, keepdim=True).sqrt()
    return features / (length + 1e-10)


# Wang et al. (2004), section III-B: an 11 x 11 Gaussian window of 1.5 px, K1 = 0.01, K2 = 0.03.
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

ALEXNET_CONTENT_LAYER = "relu3"


def ssim(frame: Frame, reference: Frame) -> float:
    """Structural similarity of two pictures' luma, mean over all pixels with a whole window: 1 equal (Wang 2004).

    Raises InputError for pictures of different sizes or below 11 px.
    """
    if frame.shape != reference.shape or min(frame.shape[:2]) < 2 * _RADIUS + 1:
        raise InputError(f"SSIM of {frame.shape} and {reference.shape}; expected equal sizes of at least 11 px")
    x, y = luma(frame), luma(reference)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    likeness /= (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return float(likeness.mean())


@dataclass(frozen=True)
class SecondOpinion:
    """A picture measured through AlexNet."""

    features: Features
    measured: PerceptualFeatures


class AlexNetMetrics:
    """LPIPS, and content, style and centred figures on AlexNet: relu3, and relu1 to relu5."""

    def __init__(self, network: AlexNetFeatures) -> None:
        self._network = network

    def measure(self, frame: Frame) -> SecondOpinion:
        """Measure a picture of at least 31 px."""
        with torch.inference_mode():
            features = self._network(to_image(frame))
        # The features once, for both: the network of the metrics only hands them on.
        metrics = PerceptualMetrics(lambda _image: features, ALEXNET_CONTENT_LAYER, ALEXNET_LAYERS)
        return SecondOpinion(features, metrics.measure(frame))

    def measure_style(self, frame: Frame) -> SecondOpinion:
        """Measure a style image, scaled to a long side of 512 px."""
        return self.measure(resize_long_side(frame, STYLE_SIZE))

    def lpips(self, given: SecondOpinion, reference: SecondOpinion) -> float:
        """LPIPS (AlexNet, v0.1) of two pictures of equal size: 0 equal."""
        with torch.inference_mode():
            return float(self._network.lpips(given.features, reference.features))

    @staticmethod
    def figures(stylized: SecondOpinion, photo: SecondOpinion, style: SecondOpinion) -> PerceptualDistances:
        """Content, style and centred on AlexNet."""
        return PerceptualMetrics.compare(stylized.measured, photo.measured, style.measured)


def load_alexnet_metrics(file: Path | None = None) -> tuple[AlexNetMetrics, str]:
    """Build the metrics that need AlexNet, and say which weights they have. Raises as `load_alexnet`."""
    network, provenance = load_alexnet(file)
    return AlexNetMetrics(network), provenance


def _blur(values: Plane) -> Plane:
    """Means under the window, of all pixels whose window is whole."""
    window = cv2.getGaussianKernel(2 * _RADIUS + 1, _SIGMA, cv2.CV_64F)
    blurred: Plane = np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, window, window), np.float64)
    return blurred[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
