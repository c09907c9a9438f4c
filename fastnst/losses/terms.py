"""The terms of the perceptual loss: each measures what it needs of the style picture once, and judges images by it.

A further term is a small class here and a line in perceptual.py's `loss_terms`; neither the exact method nor the
training then needs a change.

Shapes: B batch, C channels, H and W height and width of a feature map.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from fastnst.errors import SettingError
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

    together: bool = False
    """Whether what is compared with the style is taken over all images as if they were one. Each photograph then need
    not hold all that the painting has."""

    def at(self, scale: int) -> Features:
        """Features of the images averaged over `scale` pixels each way."""
        return self.features if scale == 1 else self.reduced[scale]

    def joined(self, values: Tensor) -> Tensor:
        """What statistics are taken of: (B, C, H, W), or where all images are judged together (1, C, BH, W)."""
        if not self.together:
            return values
        _, channels, _, width = values.shape
        return values.permute(0, 2, 3, 1).reshape(1, -1, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class LossTerm(ABC):
    """One term of the loss."""

    weight: float

    name: ClassVar[str]
    follows_strength: ClassVar[bool] = False
    """Whether it is weaker for images that are stylized with less strength, as what compares with the style is."""

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
        """(B,), or (1,) where images are judged together: their errors over the energy of all, so that a plain sky,
        which has next to none, does not outweigh the rest. The formulas that are not relative need no such thing."""
        joined = judged.joined if self.formula == "balanced" else lambda features: features
        return _sum(
            [
                weight * content_loss(self.formula, joined(judged.features[layer]), joined(content[layer]))
                for layer, weight in self.layers.items()
            ]
        )


FINEST_WEIGHT = 0.1
"""Factor of relu1_1's weight at the picture's own size where smaller scales are compared too. Its energy is fine color
noise: small networks meet it by gratings all over the picture."""


@dataclass(frozen=True)
class StyleLoss(LossTerm):
    """Distance of a statistic of features to that of the style image, the weighted sum over layers, scales and targets.

    Differs from Gatys et al. (2016) where several scales are compared: the picture and the style image, both averaged
    over more and more pixels, so that masses are seen as well as strokes.
    """

    layers: Mapping[str, float]
    """Weight of each."""

    statistic: StyleStatistic
    formula: Normalization

    scale_weights: Mapping[int, float] = field(default_factory=lambda: {1: 1.0})
    """Weight of each scale: how many pixels, each way, the picture is averaged over."""

    name = "style"
    follows_strength = True

    @property
    def scales(self) -> tuple[int, ...]:
        """Scales at which features are needed."""
        return tuple(self.scale_weights)

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """The statistic at each layer and scale."""
        if positions is not None and self.scales != (1,):
            raise SettingError(
                f"--style-scales {' '.join(map(str, self.scales))} compare whole pictures, not regions; take "
                "--style-scales 1, or leave the masks out"
            )
        return {
            _key(layer, scale): tuple(
                statistic(_region(style.at(scale)[layer], layer, positions)) for statistic in self._statistics
            )
            for layer, scale, _ in self._compared()
            if positions is None or layer in positions
        }

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,), or (1,) where images are judged together."""
        losses = []
        for layer, scale, weight in self._compared():
            features = judged.joined(judged.at(scale)[layer])
            measured: dict[int, tuple[Tensor, ...]] = {}
            for target in styles:
                if _key(layer, scale) not in target.reference:
                    continue
                region = id(target.positions)
                if region not in measured:  # targets of one region share its statistics
                    part = _region(features, layer, target.positions)
                    measured[region] = tuple(statistic(part) for statistic in self._statistics)
                error = self._error(layer, scale, features, measured[region], target)
                losses.append(weight * (target.weight * error))
        return _sum(losses)

    @property
    def _statistics(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        return STYLE_STATISTICS[self.statistic]

    def _compared(self) -> Iterator[tuple[str, int, float]]:
        """Layer, scale and weight of all that is compared."""
        for scale, scale_weight in self.scale_weights.items():
            for layer, layer_weight in self.layers.items():
                finest = layer == "relu1_1" and scale == 1 and len(self.scales) > 1
                yield layer, scale, scale_weight * layer_weight * (FINEST_WEIGHT if finest else 1.0)

    def _error(
        self, layer: str, scale: int, features: Tensor, measured: tuple[Tensor, ...], target: StyleTarget
    ) -> Tensor:
        channels, *size = features.shape[1:]
        positions = size[0] * size[1] if target.positions is None else len(target.positions[layer])
        region = target.positions is not None
        errors = [
            style_loss(self.formula, given, reference, channels, positions, region=region)
            for given, reference in zip(measured, target.reference[_key(layer, scale)], strict=True)
        ]
        # The documents have one statistic each; balanced errors of several are averaged, so that they stay relative.
        return _sum(errors) / (len(errors) if self.formula == "balanced" else 1)


def _key(layer: str, scale: int) -> str:
    return layer if scale == 1 else f"{layer}/{scale}"


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
