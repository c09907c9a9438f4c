"""Spatial control: regions of a photo and of its styles, matched by the colours of their masks.

A mask is a picture, uint8 (H, W, 3) RGB, in which each region is painted in a colour of its own, the same in every mask
of one painting. JPEG noise, anti-aliased edges and colours that are slightly off are allowed for. H and W are height
and width of a picture in pixels, h and w those of a feature map.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, one_hot

from fastnst.errors import InputError, SettingError
from fastnst.exact.settings import OptimizeSettings, Style, check_frame, crop_to
from fastnst.io.images import Frame, fit_long_side
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.terms import Positions

Labels: TypeAlias = npt.NDArray[np.int64]
Colours: TypeAlias = npt.NDArray[np.float64]

LONGEST_SIDE = 1024
"""Masks are read at this long side at most, pixels."""

SAME_COLOUR = 60.0
"""Colors nearer than this are one region: Euclidean, of 0..255. Hand-drawn ones differ by less, others by more."""

FLAT = 24
"""Levels that neighbors within a region may differ by, from JPEG; the pixels of an edge differ by more."""

SMALLEST_SHARE = 0.005
"""A color that covers less of every mask is no region of its own."""

MOST_REGIONS = 24

FEW = 64
"""Pixels of the smallest mask that must have a flat area."""

_ROUNDS = 20


@dataclass(frozen=True)
class Regions:
    """The regions of several masks."""

    colours: Frame
    """Color of each region, uint8 (K, 3)."""

    labels: tuple[Labels, ...]
    """Number of the region at each pixel, 0..K-1, one array (H, W) a mask."""

    def share(self, mask: int, region: int) -> float:
        """Part of a mask that a region covers."""
        return float((self.labels[mask] == region).mean())

    def name(self, region: int) -> str:
        """A region's colour as #rrggbb."""
        return colour_name(self.colours[region])


def find_regions(masks: Sequence[Frame], count: int | None = None) -> Regions:
    """Find the regions of masks, uint8 (H, W, 3) RGB of any sizes, by K-means on colours (as cs229, section 4, does).

    Only pixels that look like their neighbours vote and are labelled by their colour; pixels of edges and specks belong
    to the nearest region. So an edge between black and white does not fall to a grey region. Masks are read at
    `LONGEST_SIDE` at most. `count` is K; None counts the colours that cover `SMALLEST_SHARE` of a mask or more. Raises
    InputError for a mask without flat colours, or with too many.
    """
    small = [_shrink(mask) for mask in masks]
    flat = [_is_flat(mask) for mask in small]
    colours, weights = _count_colours(small, flat)
    # Of a few pixels none need look like its neighbours.
    if not len(colours) or any(not where.any() and where.size >= FEW for where in flat):
        raise InputError("a mask has no area of one color; fill each region with one color")
    centres = _leaders(colours, weights, count)
    if len(centres) > MOST_REGIONS:
        raise InputError(
            f"the masks have {len(centres)} colors; expected at most {MOST_REGIONS}. Fill each region with a "
            "color of its own, or say how many there are with --region-count"
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
        raise InputError(f"the masks have {len(order)} colors, --region-count is {count}; give {len(order)} or less")
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


PRESENT = 0.001
"""A region is in a picture if it covers that share of it; less is noise at an edge."""
SAME_SHAPE = 0.02
"""Part by which a mask's proportions may differ from its picture's: rounding, once it is resized."""

FEWEST = 4
"""Where fewer positions of a layer pass the guard, all whose own area lies mostly in the region take part."""


@dataclass(frozen=True)
class Guides:
    """The regions of a photo, and where each is found in the styles."""

    content: Labels
    """Region of each pixel of the photo's mask, (H, W)."""

    styles: tuple[Labels | None, ...]
    """The same for each style; None: all of the picture serves every region."""

    count: int
    """Regions that there are in all masks together."""

    wanted: tuple[int, ...]
    """Regions of the photo that get a style."""

    orphans: tuple[int, ...]
    """Those of `wanted` that no style has: they get all of every style."""

    guard: float

    @classmethod
    def of(
        cls, photo: Frame, styles: Sequence[Style], content_mask: Frame | None, settings: OptimizeSettings
    ) -> "Guides | None":
        """Match the regions; None where there are no masks.

        Raises InputError for masks that do not fit their pictures or each other, SettingError for a blend of pictures.
        """
        masks = [style.mask for style in styles if style.mask is not None]
        if content_mask is None and not masks:
            return None
        if content_mask is None or not masks:
            raise InputError(
                "regions need masks of both sides: --content-mask for the photo and --style-mask for the styles, "
                "a picture or, for a style that serves one region, its color such as #ff0000"
            )
        if settings.style_blend == "image":
            raise SettingError("--style-blend image knows no regions; with masks take gram or loss")
        _check_shape(content_mask, photo, "--content-mask", "photo")
        for style in styles:
            if style.mask is not None:
                _check_shape(style.mask, style.frame, "--style-mask", "style picture")
        found = find_regions(
            [content_mask, *(mask for mask in masks if not isinstance(mask, str))], settings.region_count
        )
        given = iter(found.labels[1:])
        labels = tuple(None if style.mask is None else next(given) for style in styles)
        wanted, orphans = _match(found, all(part is not None for part in labels), settings)
        if settings.aspect == "crop":
            labels = tuple(None if part is None else crop_to(part, photo.shape) for part in labels)
        return cls(found.labels[0], labels, len(found.colours), wanted, orphans, settings.mask_guard)

    def of_content(self, loss: PerceptualLoss, photo: Tensor) -> dict[int, Positions | None]:
        """Where each wanted region lies in a content image, (1, 3, H, W)."""
        found = self._positions(self.content, loss, photo)
        return {region: found[region] for region in self.wanted}

    def of_style(self, index: int, loss: PerceptualLoss, image: Tensor) -> dict[int, Positions | None]:
        """Where each wanted region lies in a style image, (1, 3, H, W); None is all of it, missing is nowhere."""
        labels = self.styles[index]
        if labels is None:
            return dict.fromkeys(self.wanted)
        found = self._positions(labels, loss, image)
        inside = {region: found[region] for region in self.wanted if found[region]}
        return {**inside, **dict.fromkeys(self.orphans)}

    def _positions(self, labels: Labels, loss: PerceptualLoss, image: Tensor) -> list[Positions]:
        at_size = resize_labels(labels, (image.shape[2], image.shape[3]))
        found = region_positions(at_size, self.count, loss.layer_sizes(image), self.guard)
        return [{layer: where.to(image.device) for layer, where in positions.items()} for positions in found]


def _match(found: Regions, every_style_has_a_mask: bool, settings: OptimizeSettings) -> tuple[tuple[int, ...], ...]:
    """Regions that get a style, and those of them that no style has."""
    numbers = range(len(found.colours))
    there = [region for region in numbers if found.share(0, region) >= PRESENT]
    if not every_style_has_a_mask:
        return tuple(there), ()
    masks = range(1, len(found.labels))
    missing = tuple(region for region in there if all(found.share(mask, region) < PRESENT for mask in masks))
    if missing and settings.missing_regions == "error":
        known = [region for region in numbers if any(found.share(mask, region) >= PRESENT for mask in masks)]
        raise InputError(
            f"the photo's mask has a region of color {found.name(missing[0])} ({found.share(0, missing[0]):.1%} of it)"
            f" that no style mask has (they have {', '.join(map(found.name, known))}); add it there, or choose "
            "--missing-regions whole (all of the style serves it) or plain (it gets no style)"
        )
    if settings.missing_regions == "plain":
        there = [region for region in there if region not in missing]
        if not there:
            raise InputError("the photo's mask and the style masks have no color in common: nothing would be stylized")
        return tuple(there), ()
    return tuple(there), missing


def _check_shape(mask: Frame | str, picture: Frame, option: str, what: str) -> None:
    assert not isinstance(mask, str)  # share_out has drawn them
    check_frame(mask)
    (height, width), (tall, wide) = mask.shape[:2], picture.shape[:2]
    if abs(height * wide / (width * tall) - 1) > SAME_SHAPE:
        raise InputError(
            f"{option} is {width}x{height} pixels, its {what} {wide}x{tall}: a mask has the shape of its picture, "
            "at any size; draw it on a copy of the picture"
        )


def region_positions(
    labels: Labels, regions: int, sizes: Mapping[str, tuple[int, int]], guard: float
) -> list[dict[str, Tensor]]:
    """Find the positions of each region at each layer, counted row by row, (n,); a layer without any is left out.

    A deep position sees a wide field: near a border also the neighbours of its region, whose style would leak in. So it
    takes part only where its region fills `guard` or more of that field, weighted as the field is: for a stack of 3 x 3
    convolutions it is bell-shaped, the repeated mean over 3 x 3 positions (Luo et al. 2016, "Understanding the
    effective receptive field"). Gatys et al. (2017, "Controlling perceptual factors", section 4.2) erode for the same
    reason; the form is ours.

    `labels` has the region of each pixel, (H, W); `sizes` are (h, w) of each layer; at a guard of 0 each position
    belongs to the region that covers most of it.
    """
    pixels = one_hot(torch.from_numpy(labels), regions).permute(2, 0, 1)[None].float()
    found: list[dict[str, Tensor]] = [{} for _ in range(regions)]
    for layer, size in sizes.items():
        covered = adaptive_avg_pool2d(pixels, size)
        seen, most = _blurred(covered, pixels)[0].flatten(1), covered[0].argmax(0).flatten()
        for region, positions in enumerate(found):
            mine = most == region
            safe = mine & (seen[region] >= guard)
            chosen = (safe if int(safe.sum()) >= FEWEST else mine).nonzero().flatten()
            if len(chosen):
                positions[layer] = chosen
    return found


def _blurred(covered: Tensor, pixels: Tensor) -> Tensor:
    """Part of each position's field of view that each region fills, from that of its own area, (1, K, h, w)."""
    # In VGG about one more convolution than halvings lies between the pixels and a layer, in its own positions:
    # the field of relu1_1 is 3 pixels wide, that of relu5_1 156 pixels or 10 positions.
    halvings = math.log2(max(1.0, *(own / less for own, less in zip(pixels.shape[2:], covered.shape[2:], strict=True))))
    for _ in range(1 + round(halvings)):
        covered = avg_pool2d(covered, 3, stride=1, padding=1, count_include_pad=False)
    return covered
