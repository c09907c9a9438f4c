"""Spatial control: the regions of a photo and of its styles, matched by the colours of their masks.

H and W are height and width; frames and masks are uint8 (H, W, 3) RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fastnst.errors import InputError, SettingError
from fastnst.exact.positions import region_positions
from fastnst.exact.regions import Labels, Regions, find_regions, resize_labels
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.shapes import crop_to
from fastnst.exact.style import Style, check_frame
from fastnst.io.images import Frame
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.terms import Positions

PRESENT = 0.001
"""A region is in a picture if it covers that share of it; less is noise at an edge."""
SAME_SHAPE = 0.02
"""Part by which a mask's proportions may differ from its picture's: rounding, once it is resized."""


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
