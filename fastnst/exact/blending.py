"""Several styles in one picture: which statistics they make together.

Blending by statistics or by losses is the same for formulas that divide every style alike, such as the papers': the
gradient of sum_s w_s |G - A_s|^2 is that of |G - sum_s w_s A_s|^2. Balanced losses are relative to each style's own
energy, so that blending by losses draws towards the style of less energy. docs/exact.md says what that looks like.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from fastnst.exact.shapes import crop_to
from fastnst.exact.style import Style
from fastnst.images import resize_frame
from fastnst.perceptual.perceptual import Positions, StyleStatistics, StyleTarget

Blend = Literal["gram", "loss", "image"]


@dataclass(frozen=True)
class Measured:
    """A style, measured."""

    weight: float
    regions: dict[int, StyleStatistics]
    """Statistics by number of the region; those it lacks are left out."""


def blend_images(styles: Sequence[Style]) -> list[Style]:
    """One style whose picture is the weighted mean of all, each cropped to the first one's shape and size."""
    shape = styles[0].frame.shape
    resized = [resize_frame(crop_to(style.frame, shape), (shape[0], shape[1])) for style in styles]
    mean = sum(style.weight * frame.astype(np.float64) for style, frame in zip(styles, resized, strict=True))
    return [replace(styles[0], frame=np.rint(mean).astype(np.uint8), weight=1.0)]


def make_targets(styles: Sequence[Measured], positions: dict[int, Positions | None], blend: Blend) -> list[StyleTarget]:
    """Targets of each region of the photo: each region counts 1/K, as in eq. 6 of cs229.

    Args:
        styles: what was measured of each; their weights are shared out anew among those that have a region.
        positions: the photo's regions by number; None is all of it.
        blend: by losses, a target a style; else one target of averaged statistics.
    """
    found = {region: [style for style in styles if region in style.regions] for region in positions}
    regions = [region for region, having in found.items() if having]
    targets = []
    for region in regions:
        where, total = positions[region], sum(style.weight for style in found[region])
        shares = [(style.weight / total, _within(style.regions[region], where)) for style in found[region]]
        if blend != "loss":
            shares = [(1.0, _mean(shares))]
        targets += [StyleTarget(statistics, share / len(regions), where) for share, statistics in shares]
    return targets


def _within(statistics: StyleStatistics, where: Positions | None) -> StyleStatistics:
    return {layer: values for layer, values in statistics.items() if where is None or layer in where}


def _mean(shares: Sequence[tuple[float, StyleStatistics]]) -> StyleStatistics:
    """Weighted mean, layer by layer, over those that have the layer."""
    if len(shares) == 1:
        return shares[0][1]
    layers = dict.fromkeys(layer for _, statistics in shares for layer in statistics)
    mean: StyleStatistics = {}
    for layer in layers:
        having = [(share, statistics[layer]) for share, statistics in shares if layer in statistics]
        total = sum(share for share, _ in having)
        parts = zip(*(values for _, values in having), strict=True)
        weights = [share / total for share, _ in having]
        mean[layer] = tuple(
            torch.stack([weight * value for weight, value in zip(weights, part, strict=True)]).sum(0) for part in parts
        )
    return mean
