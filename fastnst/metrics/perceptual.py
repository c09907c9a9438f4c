"""Distances by a loss network: how much of the photo is left, how much of the painting is in. No units, 0 best.

Shapes: H and W height and width, C channels of a layer. Frames are uint8 (H, W, 3) RGB. "Features" are a network's
activations by layer name, (1, C, H, W). docs/evaluation.md says what each figure means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.losses import covariance_matrix, gram_matrix, relative_error
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.losses.weights import load_loss_network

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
    """Build the metrics of docs/evaluation.md on VGG, and say which weights they have.

    Args:
        settings: `loss_network` and `loss_weights` choose the weights; layers and pooling are the metrics' own.

    Raises WeightsError where no weights can be had.
    """
    fixed = replace(settings, content_layers=(CONTENT_LAYER,), style_layers=STYLE_LAYERS, pool="average")
    network, provenance = load_loss_network(fixed)
    return PerceptualMetrics(network, CONTENT_LAYER, STYLE_LAYERS), provenance


def _mean_error(given: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    errors = [relative_error(own, other).item() for own, other in zip(given, reference, strict=True)]
    return sum(errors) / len(errors)
