"""One loss for both methods: content, style and total variation of an image, judged by the loss network.

Shapes: B batch, C channels, H and W height and width of a feature map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.errors import SettingError
from fastnst.losses.formulas import content_error, smoothness_error, style_error
from fastnst.losses.loss_network import Features, LossNetwork
from fastnst.losses.losses import style_statistics
from fastnst.losses.settings import LossSettings

# Statistics of a style layer: the Gram matrix (B, C, C), or others as `style_statistics` tells.
StyleStatistics: TypeAlias = dict[str, tuple[Tensor, ...]]
# Positions of a region at each layer, counted row by row: (n,) each. A layer in which the region has none is left out.
Positions: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class StyleTarget:
    """What one style, or one region of it, wants of an image."""

    statistics: StyleStatistics
    """A layer that is missing plays no part."""

    weight: float = 1.0

    positions: Positions | None = None
    """The region of the image that is compared; None is all of it."""


StyleReference: TypeAlias = StyleStatistics | Sequence[StyleTarget]


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

    def __init__(self, network: LossNetwork, settings: LossSettings) -> None:
        """Take the network and the settings; SettingError where the layers' weights do not fit the layers."""
        self.network = network
        self.settings = settings
        self._content_weights = _layer_weights("content", settings.content_layers, settings.content_layer_weights)
        self._style_weights = _layer_weights("style", settings.style_layers, settings.style_layer_weights)

    def features(self, image: Tensor) -> Features:
        """Features of an image, (B, 3, H, W) in [0, 1], in float32."""
        return {name: value.float() for name, value in self.network(image).items()}

    def content_of(self, features: Features) -> Features:
        """The features that content is compared at, detached: a reference for `terms`."""
        return {layer: features[layer].detach() for layer in self.settings.content_layers}

    def style_of(self, features: Features, positions: Positions | None = None) -> StyleStatistics:
        """The statistics that style is compared by, per style layer: of all positions, or of a region's."""
        kind = self.settings.style_statistic
        layers = [layer for layer in self.settings.style_layers if positions is None or layer in positions]
        return {layer: style_statistics(_select(features[layer], layer, positions), kind) for layer in layers}

    def measure_content(self, image: Tensor) -> Features:
        """Content reference of a content image, (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            return self.content_of(self.features(image))

    def measure_style(self, image: Tensor) -> StyleStatistics:
        """Style reference of a style image, (1, 3, H, W) in [0, 1]."""
        return self.measure_regions(image, [None])[0]

    def measure_regions(self, image: Tensor, regions: Sequence[Positions | None]) -> list[StyleStatistics]:
        """Style reference of each of several regions of a style image, (1, 3, H, W) in [0, 1]; None is all of it."""
        with torch.no_grad():
            features = self.features(image)
            with torch.autocast(image.device.type, enabled=False):
                return [self.style_of(features, positions) for positions in regions]

    def measure_styles(self, images: Sequence[Tensor]) -> StyleStatistics:
        """Style references of several style images, each (1, 3, H, W), one after the other: for `of_each_image`."""
        each = [self.measure_style(image) for image in images]
        return {
            layer: tuple(torch.cat(parts) for parts in zip(*(one[layer] for one in each), strict=True))
            for layer in each[0]
        }

    def layer_sizes(self, image: Tensor) -> dict[str, tuple[int, int]]:
        """Height and width of each style layer's features of an image, (B, 3, H, W)."""
        with torch.no_grad():
            features = self.network(image)
        return {layer: (features[layer].shape[2], features[layer].shape[3]) for layer in self.settings.style_layers}

    def terms(
        self, image: Tensor, content: Features, style: StyleReference, style_factors: Tensor | None = None
    ) -> LossTerms:
        """Loss of images against their content and style references.

        Args:
            image: (B, 3, H, W) in [0, 1].
            content: reference of each image.
            style: reference of all images, or with B statistics of each its own.
            style_factors: (B,), what the style weight is multiplied by for each image; None: 1.
        """
        # As they come: the formulas bring them to float32 themselves, where it is cheapest.
        return self.terms_of(self.network(image), image, content, style, style_factors)

    def terms_of(
        self,
        features: Features,
        image: Tensor,
        content: Features,
        style: StyleReference,
        style_factors: Tensor | None = None,
    ) -> LossTerms:
        """As `terms`, of images whose features are known."""
        with torch.autocast(image.device.type, enabled=False):
            content_term = self.content_term(features, content).mean()
            styles = self.style_term(features, style)
            smooth_term = self.smoothness_term(image.float()).mean()
        s, style_term = self.settings, styles.mean()
        weighted = style_term if style_factors is None else (style_factors * styles).mean()
        total = s.content_weight * content_term + s.style_weight * weighted + s.tv_weight * smooth_term
        return LossTerms(content_term, style_term, smooth_term, total)

    def content_term(self, features: Features, reference: Features) -> Tensor:
        """Content loss of each image, (B,), the weighted sum over the content layers."""
        kind = self.settings.normalization
        return _sum(
            [
                weight * content_error(kind, features[layer], reference[layer])
                for layer, weight in self._content_weights.items()
            ]
        )

    def style_term(self, features: Features, reference: StyleReference) -> Tensor:
        """Style loss of each image, (B,), the weighted sum over the style layers and the targets."""
        targets = [StyleTarget(reference)] if isinstance(reference, dict) else reference
        return _sum(
            [
                weight * error
                for layer, weight in self._style_weights.items()
                for error in self._layer_style(layer, features[layer], targets)
            ]
        )

    def smoothness_term(self, image: Tensor) -> Tensor:
        """Total variation of each image, (B,)."""
        return smoothness_error(self.settings.normalization, self.settings.tv_kind, image)

    def _layer_style(self, layer: str, features: Tensor, targets: Sequence[StyleTarget]) -> list[Tensor]:
        measured: dict[int, tuple[Tensor, ...]] = {}
        errors = []
        for target in targets:
            if layer not in target.statistics:
                continue
            region = id(target.positions)
            if region not in measured:  # targets of one region share its statistics
                own = _select(features, layer, target.positions)
                measured[region] = style_statistics(own, self.settings.style_statistic)
            count = features[0, 0].numel() if target.positions is None else len(target.positions[layer])
            errors.append(target.weight * self._error(measured[region], target, layer, features.shape[1], count))
        return errors

    def _error(self, own: tuple[Tensor, ...], target: StyleTarget, layer: str, channels: int, positions: int) -> Tensor:
        kind, region = self.settings.normalization, target.positions is not None
        errors = [
            style_error(kind, given, reference, channels, positions, region=region)
            for given, reference in zip(own, target.statistics[layer], strict=True)
        ]
        # The documents have one statistic each; balanced errors of several are averaged, so that they stay relative.
        return _sum(errors) / (len(errors) if kind == "balanced" else 1)


def of_each_image(styles: StyleStatistics, chosen: Tensor) -> StyleStatistics:
    """The reference of each image's own style: of S styles those numbered `chosen`, int64 (B,)."""
    return {layer: tuple(statistic[chosen] for statistic in statistics) for layer, statistics in styles.items()}


def _select(features: Tensor, layer: str, positions: Positions | None) -> Tensor:
    """Features of a region as a map of one row: (B, C, H, W) -> (B, C, 1, n)."""
    if positions is None:
        return features
    # Positions as rows: in memory the channels of one lie together, and are copied together, four times as quickly.
    return features.flatten(2).mT.index_select(1, positions[layer]).mT[:, :, None]


def _layer_weights(term: str, layers: tuple[str, ...], weights: tuple[float, ...]) -> dict[str, float]:
    for layer in layers:
        if layers.count(layer) > 1:
            raise SettingError(
                f"--{term}-layers names {layer} twice; name each layer once, --{term}-layer-weights weighs"
            )
    if weights and len(weights) != len(layers):
        raise SettingError(
            f"--{term}-layer-weights has {len(weights)} weights for {len(layers)} {term} layers "
            f"({', '.join(layers) or 'none'}); give one for each layer"
        )
    if any(not 0 <= weight < float("inf") for weight in weights):
        raise SettingError(f"--{term}-layer-weights is {weights}; expected numbers from 0 on")
    return dict(zip(layers, weights or [1 / len(layers)] * len(layers), strict=True)) if layers else {}


def _sum(values: list[Tensor]) -> Tensor:
    """Sum over layers, (B,); a term without layers is 0, for studies of the other term alone."""
    return torch.stack(values).sum(0) if values else torch.zeros(1)
