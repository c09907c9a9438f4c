"""The terms of the perceptual loss: each measures what it needs of the style picture once, and judges images by it.

A further term is a small class here and a line in perceptual.py's `loss_terms`; neither the exact method nor the
training then needs a change.

Shapes: B batch, C channels, H and W height and width of a feature map.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from fastnst.losses.losses import STYLE_STATISTICS, content_loss, style_loss, total_variation_loss
from fastnst.losses.settings import Normalization, StyleStatistic
from fastnst.losses.vgg import Features

StyleReference: TypeAlias = dict[str, tuple[Tensor, ...]]
"""What the terms have measured of a style picture, each under names of its own; of the style term by layer. The first
axis counts styles, (S, ...)."""

Positions: TypeAlias = Mapping[str, Tensor]
"""Positions of a region at each layer, counted row by row: (n,) each. A layer in which it has none is left out."""


@dataclass(frozen=True)
class StyleTarget:
    """What one style, or one region of it, wants of an image."""

    reference: StyleReference
    """What is missing in it plays no part."""

    weight: float = 1.0

    positions: Positions | None = None
    """The region of the image that is compared; None is all of it."""


@dataclass(frozen=True)
class JudgedImages:
    """The images that are judged, with what all terms share."""

    image: Tensor
    """(B, 3, H, W) in [0, 1], float32."""

    features: Features
    """The loss network's, as its arithmetic gives them."""

    reduced: Mapping[int, Features] = field(default_factory=dict)
    """Features of the images averaged over so many pixels each way, for the terms that compare at several scales."""

    generator: torch.Generator | None = None
    """Where a term may judge by a part drawn at random, what draws it; None: it judges by all."""

    def at(self, scale: int) -> Features:
        """Features of the images averaged over `scale` pixels each way."""
        return self.features if scale == 1 else self.reduced[scale]


@dataclass(frozen=True)
class LossTerm(ABC):
    """One term of the loss."""

    weight: float

    name: ClassVar[str]
    follows_strength: ClassVar[bool] = False
    """Whether it is weaker for images that are painted with less strength, as what compares with the style is."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Scales of the images at which it needs features: pixels, each way, that they are averaged over."""
        return (1,)

    def measure_content(self, content: JudgedImages) -> Features:  # noqa: ARG002
        """What must be known of content images, (B, 3, H, W), beside their features, under names of its own."""
        return {}

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:  # noqa: ARG002
        """What must be known of a style image, (1, 3, H, W), or of a region of it, to judge by it later; no gradient.

        By default nothing.
        """
        return {}

    @abstractmethod
    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:
        """The loss of each image, (B,), against the features of its content image and against style targets."""


@dataclass(frozen=True)
class ContentLoss(LossTerm):
    """Distance of features to those of the content image, the weighted sum over layers."""

    layers: Mapping[str, float]
    """Weight of each."""

    formula: Normalization

    name = "content"

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        return _sum(
            [
                weight * content_loss(self.formula, judged.features[layer], content[layer])
                for layer, weight in self.layers.items()
            ]
        )


@dataclass(frozen=True)
class StyleLoss(LossTerm):
    """Distance of a statistic of features to that of the style image, the weighted sum over layers and targets."""

    layers: Mapping[str, float]
    """Weight of each."""

    statistic: StyleStatistic
    formula: Normalization

    name = "style"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """The statistic at each layer, by the layer's name."""
        measure = STYLE_STATISTICS[self.statistic]
        layers = [layer for layer in self.layers if positions is None or layer in positions]
        regions = {layer: _region(style.features[layer], layer, positions) for layer in layers}
        return {layer: tuple(part(region) for part in measure) for layer, region in regions.items()}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        measure = STYLE_STATISTICS[self.statistic]
        losses = []
        for layer, weight in self.layers.items():
            measured: dict[int, list[Tensor]] = {}
            for target in styles:
                if layer not in target.reference:
                    continue
                region = id(target.positions)
                if region not in measured:  # targets of one region share its statistics
                    own = _region(judged.features[layer], layer, target.positions)
                    measured[region] = [part(own) for part in measure]
                losses.append(weight * (target.weight * self._error(layer, judged, measured[region], target)))
        return _sum(losses)

    def _error(self, layer: str, judged: JudgedImages, measured: list[Tensor], target: StyleTarget) -> Tensor:
        channels, *size = judged.features[layer].shape[1:]
        positions = size[0] * size[1] if target.positions is None else len(target.positions[layer])
        region = target.positions is not None
        errors = [
            style_loss(self.formula, given, reference, channels, positions, region=region)
            for given, reference in zip(measured, target.reference[layer], strict=True)
        ]
        # The documents have one statistic each; balanced errors of several are averaged, so that they stay relative.
        return _sum(errors) / (len(errors) if self.formula == "balanced" else 1)


@dataclass(frozen=True)
class TotalVariationLoss(LossTerm):
    """How much neighbouring pixels differ."""

    kind: Literal["l1", "squared"]
    formula: Normalization

    name = "total_variation"

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        return total_variation_loss(self.formula, self.kind, judged.image)


def _region(features: Tensor, layer: str, positions: Positions | None) -> Tensor:
    """Features of a region as a map of one row: (B, C, H, W) -> (B, C, 1, n)."""
    if positions is None:
        return features
    # Positions as rows: in memory the channels of one lie together, and are copied together, four times as quickly.
    return features.flatten(2).mT.index_select(1, positions[layer]).mT[:, :, None]


def _sum(losses: list[Tensor]) -> Tensor:
    """Sum over layers, (B,); a term without layers is 0, for studies of the other term alone."""
    return torch.stack(losses).sum(0) if losses else torch.zeros(1)
