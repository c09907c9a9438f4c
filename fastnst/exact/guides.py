"""Spatial control: the regions of a photo and of its styles, matched by the colours of their masks.

H and W are height and width of a picture in pixels, h and w those of a feature map; frames and masks are uint8
(H, W, 3) RGB.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, one_hot

from fastnst.errors import InputError, SettingError
from fastnst.exact.regions import Labels, Regions, find_regions, resize_labels
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Style, check_frame, crop_to
from fastnst.io.images import Frame
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.terms import Positions

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
                "a picture or, for a style that serves one region, its colour such as #ff0000"
            )
        if settings.style_blend == "image":
            raise SettingError("--style-blend image knows no regions; with masks take gram or loss")
        _check_shape(content_mask, photo, "--content-mask", "photo")
        for style in styles:
            if style.mask is not None:
                _check_shape(style.mask, style.frame, "--style-mask", "style picture")
        found = find_regions([content_mask, *(mask for mask in masks if not isinstance(mask, str))], settings.regions)
        given = iter(found.labels[1:])
        labels = tuple(None if style.mask is None else next(given) for style in styles)
        wanted, orphans = _match(found, all(part is not None for part in labels), settings)
        if settings.fit == "crop":
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
            f"the photo's mask has a region of colour {found.name(missing[0])} ({found.share(0, missing[0]):.1%} of it)"
            f" that no style mask has (they have {', '.join(map(found.name, known))}); paint it there, or choose "
            "--missing-regions whole (all of the style serves it) or plain (it gets no style)"
        )
    if settings.missing_regions == "plain":
        there = [region for region in there if region not in missing]
        if not there:
            raise InputError("the photo's mask and the style masks have no colour in common: nothing would be painted")
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

    A deep position sees a wide field: near a border also the neighbours of its region, whose style would leak in.
    So it takes part only where its region fills `guard` or more of that field, weighted as the field is: for a stack of
    3 x 3 convolutions it is bell-shaped, the repeated mean over 3 x 3 positions (Luo et al. 2016, "Understanding the
    effective receptive field"). Gatys et al. (2017, "Controlling perceptual factors", section 4.2) erode for the same
    reason; the form is ours.

    Args:
        labels: region of each pixel, (H, W).
        regions: how many there are.
        sizes: (h, w) of each layer.
        guard: smallest share, 0 to 1. At 0 each position belongs to the region that covers most of it.
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
