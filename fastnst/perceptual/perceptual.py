"""One loss for both methods: content, style and total variation of an image, judged by the loss network.

Shapes: B batch, C channels, H and W height and width of a feature map.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.perceptual.losses import (
    covariance_matrix,
    differences,
    gram_matrix,
    relative_error,
    squared_error,
    total_variation,
)
from fastnst.perceptual.settings import LossSettings
from fastnst.perceptual.vgg import Features, VGGFeatures

# Statistics of a style layer: the Gram matrix (B, C, C), or the covariance (B, C, C) and the means (B, C).
StyleStatistics: TypeAlias = dict[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class LossTerms:
    """The terms of one evaluation: means over the batch, unweighted, and their weighted sum."""

    content: Tensor
    style: Tensor
    total_variation: Tensor
    total: Tensor

    def floats(self) -> dict[str, float]:
        """The four values as plain numbers, by name."""
        return {name: float(getattr(self, name).detach()) for name in ("total", "content", "style", "total_variation")}


class PerceptualLoss:
    """Content and style of images against references that were measured beforehand.

    The losses are computed in float32, whatever the network's own arithmetic is.
    """

    def __init__(self, network: VGGFeatures, settings: LossSettings) -> None:
        self.network = network
        self.settings = settings

    def features(self, image: Tensor) -> Features:
        """Features of an image, (B, 3, H, W) in [0, 1], in float32."""
        return {name: value.float() for name, value in self.network(image).items()}

    def content_of(self, features: Features) -> Features:
        """The features that content is compared at, detached: a reference for `terms`."""
        return {layer: features[layer].detach() for layer in self.settings.content_layers}

    def style_of(self, features: Features) -> StyleStatistics:
        """The statistics that style is compared by, per style layer."""
        return {layer: self._statistic(features[layer]) for layer in self.settings.style_layers}

    def measure_content(self, image: Tensor) -> Features:
        """Content reference of a content image, (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            return self.content_of(self.features(image))

    def measure_style(self, image: Tensor) -> StyleStatistics:
        """Style reference of a style image, (1, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            features = self.features(image)
            with torch.autocast(image.device.type, enabled=False):
                return self.style_of(features)

    def terms(self, image: Tensor, content: Features, style: StyleStatistics) -> LossTerms:
        """Loss of an image, (B, 3, H, W) in [0, 1], against its content reference and a style reference."""
        features = self.features(image)
        with torch.autocast(image.device.type, enabled=False):
            content_term = self.content_term(features, content).mean()
            style_term = self.style_term(features, style).mean()
            smooth_term = self.smoothness_term(image.float()).mean()
        s = self.settings
        total = s.content_weight * content_term + s.style_weight * style_term + s.tv_weight * smooth_term
        return LossTerms(content_term, style_term, smooth_term, total)

    def content_term(self, features: Features, reference: Features) -> Tensor:
        """Content loss of each image, (B,)."""
        layers = self.settings.content_layers
        if self.settings.normalization == "paper":
            # Gatys et al. (2016), eq. 1.
            return _mean([squared_error(features[layer], reference[layer]) / 2 for layer in layers])
        return _mean([relative_error(features[layer], reference[layer]) for layer in layers])

    def style_term(self, features: Features, reference: StyleStatistics) -> Tensor:
        """Style loss of each image, (B,), the mean over the style layers (w_l = 1 / number of layers)."""
        return _mean([self._layer_style(features[layer], reference[layer]) for layer in self.settings.style_layers])

    def smoothness_term(self, image: Tensor) -> Tensor:
        """Total variation of each image, (B,): mean over differences of pixels in 0..1, or paper: sum in 0..255."""
        if self.settings.normalization == "paper":
            return total_variation(image * 255, self.settings.tv_kind)
        return total_variation(image, self.settings.tv_kind) / max(1, differences(image))

    def _layer_style(self, features: Tensor, reference: tuple[Tensor, ...]) -> Tensor:
        pairs = list(zip(self._statistic(features), reference, strict=True))
        if self.settings.normalization == "paper":
            # Gatys et al. (2016), eq. 4: 1 / (4 N^2 M^2); the matrices are already divided by M = H*W.
            errors = [squared_error(own, given) for own, given in pairs]
            return torch.stack(errors).sum(0) / (4 * features.shape[1] ** 2)
        return _mean([relative_error(own, given) for own, given in pairs])

    def _statistic(self, features: Tensor) -> tuple[Tensor, ...]:
        if self.settings.style_statistic == "gram":
            return (gram_matrix(features),)
        return covariance_matrix(features), features.mean(dim=(2, 3))


def _mean(values: list[Tensor]) -> Tensor:
    """Mean over layers, (B,); a term without layers is 0, for studies of the other term alone."""
    return torch.stack(values).mean(0) if values else torch.zeros(1)
