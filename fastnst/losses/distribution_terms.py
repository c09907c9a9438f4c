"""The terms of the loss that compare distributions: of features at several scales, of colors, of detail.

What they compute is in distributions.py. They judge whole pictures; regions are compared by Gram
matrices or covariances.

Shapes: B batch, C channels, H and W height and width, N positions, K directions, Q quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import SettingError
from fastnst.losses.distributions import (
    band_deviations,
    log_ratio_loss,
    oriented_energies,
    oriented_shares,
    pattern_loss,
    projections,
    quantiles,
    random_directions,
    sliced_wasserstein,
)
from fastnst.losses.losses import covariance_matrix, relative_error
from fastnst.losses.terms import JudgedImages, LossTerm, Positions, StyleReference, StyleTarget
from fastnst.losses.vgg import Features

DIRECTIONS, QUANTILES = 96, 128
"""Directions that features of a style image are projected on, and the quantiles that are kept of each."""

DRAWN_DIRECTIONS, DRAWN_POSITIONS = 24, 2048
"""How many of them, and of the positions of a layer, one step of a training sees."""

KEPT_POSITIONS = 16384
"""Positions of a layer that quantiles are taken of where nothing is drawn for a step, of the style image too."""

SHAPE_WEIGHT, STRENGTH_WEIGHT = 0.125, 0.625
"""Weights beside the sliced Wasserstein distance, settled by sheets of pictures (docs/training.md)."""

LAYER_WEIGHTS = {"relu1_1": 0.1, "relu2_1": 0.15, "relu3_1": 0.2, "relu4_1": 0.25, "relu5_1": 0.3}
"""Weights of the usual style layers where none are given: deep ones more, or strokes stay thin."""

COLOR_SCALES = (2, 8)
"""Pixels, each way, that colors are averaged over before they are compared: strokes, and masses of them."""

COLOR_DIRECTIONS, COLOR_QUANTILES = 24, 64

_LUMA_CHROMA = (2.0, 0.5, 0.5)  # weights of the bands of Y, Cb and Cr, their sum 3


@dataclass(frozen=True)
class DistributionLoss(LossTerm):
    """Distance of the features' distribution to that of the style image, at several scales of the picture.

    Of each layer: the sliced Wasserstein distance of features brought to the style image's variance, the covariance
    brought to it likewise, the means, and, apart from those, how the variances compare.
    """

    layers: Mapping[str, float]
    """Weight of each layer."""

    scale_weights: Mapping[int, float]
    """Weight of each scale: how many pixels, each way, the picture is averaged over."""

    name = "style"
    follows_strength = True

    @property
    def scales(self) -> tuple[int, ...]:
        """Scales at which features are needed."""
        return tuple(self.scale_weights)

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Covariance (1, C, C), means (1, C) and quantiles (1, K, Q) of each layer at each scale."""
        _whole(positions)
        reference: StyleReference = {}
        for scale in self.scales:
            for layer in self.layers:
                features = style.at(scale)[layer].float()
                flat = _some(features.flatten(2), KEPT_POSITIONS, torch.Generator().manual_seed(0))
                directions = random_directions(features.shape[1], DIRECTIONS).to(features.device)
                spread = quantiles(projections(flat, directions), QUANTILES)
                reference[_key(layer, scale)] = (covariance_matrix(features), features.mean((2, 3)), spread)
        return reference

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        losses = [
            target.weight * scale_weight * weight * _layer_loss(judged, scale, layer, target)
            for target in styles
            for scale, scale_weight in self.scale_weights.items()
            for layer, weight in self.layers.items()
        ]
        return torch.stack(losses).sum(0)


def _layer_loss(judged: JudgedImages, scale: int, layer: str, target: StyleTarget) -> Tensor:
    _whole(target.positions)
    covariance, means, spread = target.reference[_key(layer, scale)]
    features = judged.at(scale)[layer].float()
    own_means, own = features.mean((2, 3)), covariance_matrix(features)
    ratio = _trace(own) / (_trace(covariance) + 1e-12)
    # At the style image's variance, so that what is arranged otherwise is not made weaker for it.
    factor = (ratio + 1e-4).rsqrt()[:, None, None]
    flat, directions = features.flatten(2), random_directions(features.shape[1], DIRECTIONS).to(features.device)
    if judged.generator is None:
        flat = _some(flat, KEPT_POSITIONS, torch.Generator().manual_seed(0))  # the same ones for every evaluation
    else:
        flat = _some(flat, DRAWN_POSITIONS, judged.generator)
        drawn = torch.randperm(DIRECTIONS, generator=judged.generator)[:DRAWN_DIRECTIONS].to(features.device)
        directions, spread = directions[drawn], spread[:, drawn]
    centre = own_means[..., None]
    scaled = projections(centre + (flat - centre) * factor, directions)
    distance = sliced_wasserstein(quantiles(scaled, min(QUANTILES, scaled.shape[-1])), spread)
    shape = relative_error(own * factor.square(), covariance) + relative_error(own_means, means)
    return distance + SHAPE_WEIGHT * shape + STRENGTH_WEIGHT * log_ratio_loss(ratio, torch.ones_like(ratio))


@dataclass(frozen=True)
class ColorLoss(LossTerm):
    """Distance of the distribution of colors to the style image's, of strokes and of masses: `COLOR_SCALES`."""

    name = "color"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Quantiles of colors along directions, (1, K, Q) for each scale."""
        _whole(positions)
        # As many of a small picture too, so that the references of several styles are of one shape.
        return {self.name: tuple(_color_quantiles(style.image, scale, COLOR_QUANTILES) for scale in COLOR_SCALES)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        own = [_color_quantiles(judged.image, scale) for scale in COLOR_SCALES]
        losses = [
            target.weight * sliced_wasserstein(given, wanted) / len(COLOR_SCALES)
            for target in styles
            for given, wanted in zip(own, target.reference[self.name], strict=True)
        ]
        return torch.stack(losses).sum(0)


def _color_quantiles(image: Tensor, scale: int, count: int | None = None) -> Tensor:
    colors = F.avg_pool2d(image, min(scale, *image.shape[2:])).flatten(2)
    directions = random_directions(3, COLOR_DIRECTIONS).to(image.device)
    return quantiles(projections(colors, directions), count or min(COLOR_QUANTILES, colors.shape[-1]))


@dataclass(frozen=True)
class DetailLoss(LossTerm):
    """How strong detail of each size is beside the style image's, in luminance above all: contrast, strokes, masses."""

    name = "detail"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Deviations of the bands, (1, 3, levels + 1)."""
        _whole(positions)
        return {self.name: (band_deviations(style.image),)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,)."""
        own = band_deviations(judged.image)
        weights = own.new_tensor(_LUMA_CHROMA)[:, None]
        losses = [
            target.weight * (weights * log_ratio_loss(own, target.reference[self.name][0])).mean((1, 2))
            for target in styles
        ]
        return torch.stack(losses).sum(0)


@dataclass(frozen=True)
class PatternLoss(LossTerm):
    """Energy in one direction and period beyond what the photo or the style image has there: gratings, weaves."""

    name = "pattern"

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Shares of directions, (1, 3, rings, sectors), and energies of rings, (1, 3, rings, 1)."""
        _whole(positions)
        return {self.name: (oriented_shares(style.image), oriented_energies(style.image)[1])}

    def measure_content(self, content: JudgedImages) -> Features:
        """The photo's own shares, (B, 3, rings, sectors)."""
        return {self.name: oriented_shares(content.image)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:
        """(B,)."""
        losses = []
        for target in styles:
            shares, rings = target.reference[self.name]
            allowed = torch.maximum(content[self.name], shares).clamp(min=1)
            losses.append(target.weight * pattern_loss(judged.image, allowed, rings))
        return torch.stack(losses).sum(0)


def _whole(positions: Positions | None) -> None:
    if positions is not None:
        raise SettingError(
            "the style statistic distribution and the weights of color, detail and pattern compare whole pictures, not "
            "regions; take --style-statistic gram or covariance, or leave the masks out"
        )


def _some(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Values, (B, C, N), at so many positions drawn at random; all where there are no more."""
    if values.shape[-1] <= count:
        return values
    drawn = torch.randint(values.shape[-1], (count,), generator=generator).to(values.device)
    return values[..., drawn]


def _key(layer: str, scale: int) -> str:
    return f"{layer}/{scale}"


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
