"""A style picture: its part in the whole, its regions, the shape it is brought into; and several in one picture.

Blending by statistics or by losses is the same for formulas that divide every style alike, such as the papers': the
gradient of sum_s w_s |G - A_s|^2 is that of |G - sum_s w_s A_s|^2. Balanced losses are relative to each style's own
energy |A_s|^2, and there the two differ, to opposite sides: the plain mean of the matrices is nearer to the style of
more energy, the sum of the losses to that of less. So matrices that are averaged for a balanced loss are weighed by
w_s / |A_s|, halfway between: with equal weights the mean is then equally far from each of two styles.

Frames are uint8 (H, W, 3) RGB, H height and W width; sizes are (height, width) in pixels.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.losses.terms import Positions, StyleReference, StyleTarget

SMALLEST_SIDE = 8
"""Pixels that the longer side of a photo or a style picture has at least, before it is resized."""

Fit = Literal["keep", "crop", "square"]
Array = TypeVar("Array", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Style:
    """A style picture and its part in the whole."""

    frame: Frame
    """The picture, uint8 (H, W, 3) RGB."""

    weight: float = 1.0
    """Its share; the weights of all styles are scaled to a sum of 1."""

    mask: Frame | str | None = None
    """Its regions, each painted in a colour of its own, (H, W, 3) of the picture's shape; or one colour, #rrggbb, for
    all of it. None: all of it serves every region of the photo."""


Styles: TypeAlias = Frame | Style | Sequence[Frame | Style]


def share_out(styles: Styles) -> list[Style]:
    """Styles with weights that sum to 1, and masks that are pictures; those of weight 0 are left out.

    Raises InputError for what is no picture, SettingError without styles and for weights that cannot be.
    """
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    for style in given:
        check_picture(style.frame, "style picture")
        if not 0 <= style.weight < math.inf:
            raise SettingError(f"a style has weight {style.weight}; expected a number from 0 on")
    # Relative to the largest one first: a sum of huge ones would be infinite.
    largest = max((style.weight for style in given), default=0.0)
    if not largest:
        raise SettingError("no style has a weight above 0; give at least one style, e.g. --style painting.jpg")
    shares = [style.weight / largest for style in given]
    total = sum(shares)
    return [
        replace(style, weight=share / total, mask=_drawn(style))
        for style, share in zip(given, shares, strict=True)
        if share
    ]


def check_picture(frame: Frame, what: str) -> Frame:
    """Return a picture as it is, or raise InputError, calling it `what`, where it is none or too small to be one."""
    height, width = check_frame(frame).shape[:2]
    if max(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the {what} is {width}x{height} pixels, of which enlarging makes no picture; "
            f"expected a longer side of at least {SMALLEST_SIDE}"
        )
    return frame


def check_frame(frame: Frame) -> Frame:
    """Return a frame as it is, or raise InputError for an array that is none."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise InputError(
            f"an array of {frame.dtype} {frame.shape} is no picture; expected uint8 (height, width, 3) RGB"
        )
    return frame


def is_colour(text: str) -> bool:
    """Whether a text is a colour, #rrggbb."""
    return re.fullmatch("#[0-9a-fA-F]{6}", text) is not None


def fitted_size(frame: npt.NDArray[Any], long_side: int, fit: Fit) -> tuple[int, int]:
    """Size of a picture, (H, W, ...), at a long side of that many pixels: of its own shape, or a square."""
    size = (1, 1) if fit == "square" else (frame.shape[0], frame.shape[1])
    return fit_long_side(size, long_side)


def crop_to(frame: Array, shape: tuple[int, ...]) -> Array:
    """The largest middle part of a picture, (H, W, ...), that has the proportions of shape = (height, width, ...)."""
    height, width = frame.shape[:2]
    scale = min(height / shape[0], width / shape[1])
    tall, wide = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(frame[top : top + tall, left : left + wide])  # type: ignore[return-value]


def _drawn(style: Style) -> Frame | None:
    if not isinstance(style.mask, str):
        return style.mask
    if not is_colour(style.mask):
        raise InputError(f"a style's mask is {style.mask!r}; expected a picture or a colour such as #ff0000")
    return np.broadcast_to(np.frombuffer(bytes.fromhex(style.mask[1:]), np.uint8), style.frame.shape)


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
