"""Several styles in one picture: which statistics they make together.

Blending by statistics or by losses is the same for formulas that divide every style alike, such as the papers': the
gradient of sum_s w_s |G - A_s|^2 is that of |G - sum_s w_s A_s|^2. Balanced losses are relative to each style's own
energy |A_s|^2, and there the two differ, to opposite sides: the plain mean of the matrices is nearer to the style of
more energy, the sum of the losses to that of less. So matrices that are averaged for a balanced loss are weighed by
w_s / |A_s|, halfway between: with equal weights the mean is then equally far from each of two styles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastnst.exact.style import Style, crop_to
from fastnst.io.images import resize_frame
from fastnst.losses.terms import Positions, StyleReference, StyleTarget

Blend = Literal["gram", "loss", "image"]


@dataclass(frozen=True)
class MeasuredStyle:
    """A style, measured."""

    weight: float
    regions: dict[int, StyleReference]
    """Statistics by number of the region; those it lacks are left out."""


def blend_images(styles: Sequence[Style]) -> list[Style]:
    """One style whose picture is the weighted mean of all, each cropped to the first one's shape and size."""
    shape = styles[0].frame.shape
    resized = [resize_frame(crop_to(style.frame, shape), (shape[0], shape[1])) for style in styles]
    mean = sum(style.weight * frame.astype(np.float64) for style, frame in zip(styles, resized, strict=True))
    return [replace(styles[0], frame=np.rint(mean).astype(np.uint8), weight=1.0)]


def make_targets(
    styles: Sequence[MeasuredStyle], positions: dict[int, Positions | None], blend: Blend, *, even: bool = False
) -> list[StyleTarget]:
    """Targets of each region of the photo: each region counts 1/K, as in eq. 6 of cs229.

    Args:
        styles: what was measured of each; their weights are shared out anew among those that have a region.
        positions: the photo's regions by number; None is all of it.
        blend: by losses, a target a style; else one target of averaged statistics.
        even: the statistics are weighed so that each style's share is relative to its energy.
    """
    found = {region: [style for style in styles if region in style.regions] for region in positions}
    regions = [region for region, having in found.items() if having]
    targets = []
    for region in regions:
        where, total = positions[region], sum(style.weight for style in found[region])
        shares = [(style.weight / total, _within(style.regions[region], where)) for style in found[region]]
        if blend != "loss":
            shares = [(1.0, _mean(shares, even=even))]
        targets += [StyleTarget(statistics, share / len(regions), where) for share, statistics in shares]
    return targets


def _within(statistics: StyleReference, where: Positions | None) -> StyleReference:
    return {layer: values for layer, values in statistics.items() if where is None or layer in where}


def _mean(shares: Sequence[tuple[float, StyleReference]], *, even: bool) -> StyleReference:
    """Weighted mean, layer by layer, over those that have the layer."""
    if len(shares) == 1:
        return shares[0][1]
    layers = dict.fromkeys(layer for _, statistics in shares for layer in statistics)
    mean: StyleReference = {}
    for layer in layers:
        having = [(share, statistics[layer]) for share, statistics in shares if layer in statistics]
        parts = zip(*(values for _, values in having), strict=True)
        mean[layer] = tuple(_weighted([share for share, _ in having], part, even=even) for part in parts)
    return mean


def _weighted(shares: Sequence[float], values: Sequence[Tensor], *, even: bool) -> Tensor:
    stacked, weights = torch.stack(list(values)), torch.tensor(shares, device=values[0].device)
    if even:
        norms = stacked.flatten(1).norm(dim=1)
        # A flat picture has next to no energy: without a bound it would outweigh all others.
        weights = weights / norms.clamp_min(1e-3 * float(norms.max()) + 1e-30)
    weights = weights / weights.sum()
    return (weights.view(-1, *[1] * (stacked.dim() - 1)) * stacked).sum(0)
