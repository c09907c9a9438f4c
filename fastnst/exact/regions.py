"""Regions of colour masks: which pixel belongs to which, the same numbers in every mask of one painting.

A mask is a picture, uint8 (H, W, 3) RGB, in which each region is painted in a colour of its own. JPEG noise,
anti-aliased edges and colours that are slightly off are allowed for. H and W are height and width in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError
from fastnst.io.images import Frame, fit_long_side

Labels: TypeAlias = npt.NDArray[np.int64]
Colours: TypeAlias = npt.NDArray[np.float64]

LONGEST_SIDE = 1024
"""Masks are read at this long side at most, pixels."""

SAME_COLOUR = 60.0
"""Colours nearer than this are one region: Euclidean, of 0..255. Hand-drawn ones differ by less, others by more."""

FLAT = 24
"""Levels that neighbours within a region may differ by, from JPEG; the pixels of an edge differ by more."""

SMALLEST_SHARE = 0.005
"""A colour that covers less of every mask is no region of its own."""

MOST_REGIONS = 24

FEW = 64
"""Pixels of the smallest mask that must have a flat area."""

_ROUNDS = 20


@dataclass(frozen=True)
class Regions:
    """The regions of several masks."""

    colours: Frame
    """Colour of each region, uint8 (K, 3)."""

    labels: tuple[Labels, ...]
    """Number of the region at each pixel, 0..K-1, one array (H, W) a mask."""

    def share(self, mask: int, region: int) -> float:
        """Part of a mask that a region covers."""
        return float((self.labels[mask] == region).mean())

    def name(self, region: int) -> str:
        """A region's colour as #rrggbb."""
        return colour_name(self.colours[region])


def find_regions(masks: Sequence[Frame], count: int | None = None) -> Regions:
    """Find the regions of all masks together by K-means on their colours (as cs229, section 4, does).

    Only pixels that look like their neighbours vote and are labelled by their colour; pixels of edges and specks belong
    to the nearest region. So an edge between black and white does not fall to a grey region.

    Args:
        masks: uint8 (H, W, 3) RGB each, of any sizes; larger ones are read at `LONGEST_SIDE`.
        count: K; None counts the colours that cover `SMALLEST_SHARE` of a mask or more.

    Raises InputError for a mask without flat colours, or with too many.
    """
    small = [_shrink(mask) for mask in masks]
    flat = [_is_flat(mask) for mask in small]
    colours, weights = _count_colours(small, flat)
    # Of a few pixels none need look like its neighbours.
    if not len(colours) or any(not where.any() and where.size >= FEW for where in flat):
        raise InputError("a mask has no area of one colour; paint each region flat, in a colour of its own")
    centres = _leaders(colours, weights, count)
    if len(centres) > MOST_REGIONS:
        raise InputError(
            f"the masks have {len(centres)} colours; expected at most {MOST_REGIONS}. Paint each region flat, in a "
            "colour of its own, or say how many there are with --regions"
        )
    centres = _k_means(colours, weights.max(1), centres)
    labels = tuple(_label(mask, where, centres) for mask, where in zip(small, flat, strict=True))
    return Regions(np.rint(centres).astype(np.uint8), labels)


def colour_name(colour: npt.NDArray[np.uint8]) -> str:
    """A colour, uint8 (3,), as #rrggbb."""
    return "#" + "".join(f"{level:02x}" for level in colour.tolist())


def resize_labels(labels: Labels, size: tuple[int, int]) -> Labels:
    """Labels at another size = (height, width): each pixel takes the one at its middle."""
    resized: Labels = labels[_middles(labels.shape[:2], size)]
    return resized


def _middles(old: tuple[int, ...], new: tuple[int, int]) -> tuple[Labels, ...]:
    """Rows and columns, for indexing, of the old pixels at the middles of new ones."""
    return np.ix_(
        *(((np.arange(count) + 0.5) * length / count).astype(int) for count, length in zip(new, old, strict=True))
    )


def _shrink(mask: Frame) -> Frame:
    size = mask.shape[0], mask.shape[1]
    small: Frame = mask[_middles(size, fit_long_side(size, LONGEST_SIDE))]
    return small if max(size) > LONGEST_SIDE else mask


def _is_flat(mask: Frame) -> npt.NDArray[np.bool_]:
    """Where a pixel differs little from the four beside it, (H, W)."""
    flat = np.ones(mask.shape[:2], bool)
    levels = mask.astype(np.int16)
    down = np.abs(np.diff(levels, axis=0)).max(2) <= FLAT
    across = np.abs(np.diff(levels, axis=1)).max(2) <= FLAT
    flat[1:] &= down
    flat[:-1] &= down
    flat[:, 1:] &= across
    flat[:, :-1] &= across
    return flat


def _count_colours(masks: list[Frame], flat: list[npt.NDArray[np.bool_]]) -> tuple[Colours, Colours]:
    """Colours of the flat pixels, (n, 3), the most frequent first, and their share of each mask, (n, masks)."""
    shares: dict[int, list[float]] = {}
    for index, (mask, where) in enumerate(zip(masks, flat, strict=True)):
        # The two lowest bits are left out: JPEG noise, and thousands of colours more.
        packed = (mask[where].astype(np.int64) >> 2) @ (1 << 12, 1 << 6, 1)
        for colour, count in zip(*np.unique(packed, return_counts=True), strict=True):
            shares.setdefault(int(colour), [0.0] * len(masks))[index] = count / where.size
    order = sorted(shares, key=lambda colour: (-max(shares[colour]), colour))
    colours = np.array([[colour >> 12, colour >> 6 & 63, colour & 63] for colour in order], float).reshape(-1, 3) * 4
    # 4 v + v / 16 takes 0..63 to 0..255, so that black and white stay what they are.
    return colours + np.floor(colours / 64), np.array([shares[colour] for colour in order]).reshape(-1, len(masks))


def _leaders(colours: Colours, weights: Colours, count: int | None) -> Colours:
    """First centres: colours far from all before them, in order of their share; those of too small a share left out."""
    found: list[int] = []
    shares: list[npt.NDArray[np.float64]] = []
    for index, colour in enumerate(colours):
        distances = np.linalg.norm(colours[found] - colour, axis=1)
        if found and distances.min() < SAME_COLOUR:
            shares[int(distances.argmin())] = shares[int(distances.argmin())] + weights[index]
        else:
            found.append(index)
            shares.append(weights[index])
    largest = [float(share.max()) for share in shares]
    order = sorted(range(len(found)), key=lambda index: -largest[index])
    if count is None:
        order = [index for index in order if largest[index] >= SMALLEST_SHARE] or order[:1]
    elif len(order) < count:
        raise InputError(f"the masks have {len(order)} colours, --regions is {count}; give {len(order)} or less")
    return colours[[found[index] for index in order[:count]]]


def _k_means(colours: Colours, weights: Colours, centres: Colours) -> Colours:
    for _ in range(_ROUNDS):
        nearest = _distances(colours, centres).argmin(1)
        sums = np.stack([np.bincount(nearest, weights * channel, len(centres)) for channel in colours.T], axis=1)
        totals = np.bincount(nearest, weights, len(centres))[:, None]
        moved = np.where(totals > 0, sums / np.maximum(totals, 1e-12), centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _label(mask: Frame, flat: npt.NDArray[np.bool_], centres: Colours) -> Labels:
    packed, index = np.unique(mask.astype(np.int64) @ (1 << 16, 1 << 8, 1), return_inverse=True)
    distances = _distances(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(float), centres)
    index = index.reshape(mask.shape[:2])
    nearest = distances.argmin(1)[index]
    near = (distances.min(1) < SAME_COLOUR)[index]
    # Also a pixel of a frequent colour may be an edge's. A mask too small to have anything flat is taken as it is.
    certain = next((where for where in (flat & near, near) if where.any()), np.ones_like(flat))
    return _fill(np.where(certain, nearest, -1))


def _fill(labels: Labels) -> Labels:
    """Give pixels without a label, -1, that of the nearest one that has one, in steps up, down, left and right."""
    labels = labels.copy()
    while (labels < 0).any():
        before = np.pad(labels, 1, constant_values=-1)
        for beside in (before[:-2, 1:-1], before[2:, 1:-1], before[1:-1, :-2], before[1:-1, 2:]):
            labels = np.where(labels < 0, beside, labels)
    return labels


def _distances(colours: Colours, centres: Colours) -> Colours:
    """Euclidean distances, (n, 3), (K, 3) -> (n, K)."""
    distances: Colours = np.linalg.norm(colours[:, None] - centres, axis=2)
    return distances
