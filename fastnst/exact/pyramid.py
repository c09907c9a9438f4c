"""Coarse to fine: a picture is painted small first, enlarged, and painted over at each larger size.

Large strokes are cheap to lay at a small size, and a loss network sees no further than its field of view, some 150
pixels: what is to look alike across a large picture must be laid while it is small.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate

from fastnst.errors import SettingError
from fastnst.exact.settings import OptimizeSettings

# Long side, in pixels, that the smallest level has at least where the number of levels is left open.
COARSEST = 512


@dataclass(frozen=True)
class Level:
    """One size of the pyramid, or the part of it that one loss network judges."""

    long_side: int
    """Pixels."""

    steps: int
    """Evaluations of the loss and its gradient at this level."""

    fine_tune: bool = False
    """Judged by VGG-19 instead of the compact network: the end of a run with `fine_tune`."""


def plan_levels(settings: OptimizeSettings) -> list[Level]:
    """The sizes that a picture is painted at, the smallest first, and the steps at each.

    `settings.steps` are for the smallest size; larger ones get fewer, in inverse proportion to their long side: what
    is left to do there is ever finer, and each step is dearer. The last `settings.fine_tune` of all are levels of their
    own. Raises SettingError for more levels than pixels.
    """
    factor = settings.scale_factor
    count = settings.scales or _fitting(settings.size, factor)
    sides = [round(settings.size / factor**index) for index in reversed(range(count))]
    if sides[0] < 1 or len(set(sides)) < count:
        raise SettingError(
            f"--scales {count} by a factor of {factor:g} leaves {sides[0]} pixels at the smallest; give fewer scales"
        )
    levels = [Level(side, max(1, round(settings.steps * sides[0] / side))) for side in sides]
    return _fine_tuned(levels, settings.fine_tune)


def _fine_tuned(levels: list[Level], steps: int) -> list[Level]:
    """The same levels, the last steps of them marked: the level in which these begin is split."""
    split: list[Level] = []
    for level in reversed(levels):
        last = min(steps, level.steps)
        steps -= last
        parts = [Level(level.long_side, level.steps - last), Level(level.long_side, last, fine_tune=True)]
        split = [part for part in parts if part.steps] + split
    return split


def enlarge(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample an image, or what belongs to its pixels, to size = (height, width): (1, C, H, W), bicubic."""
    # Without antialias torch takes another cubic (a = -0.75), which ripples on slopes; this one is Pillow's.
    return interpolate(values, size=size, mode="bicubic", align_corners=False, antialias=True)


def repaint(coarse: Tensor, photo_coarse: Tensor, photo: Tensor) -> Tensor:
    """Begin a level where the last one ended: its painting over the larger photo, (1, 3, H, W) in [0, 1].

    What is enlarged is the change from the small photo: so the start has the large photo's detail and is not blurred.
    """
    size = (photo.shape[2], photo.shape[3])
    return (photo + enlarge(coarse - photo_coarse, size)).clamp_(0, 1)


def _fitting(size: int, factor: float) -> int:
    count = 1
    while round(size / factor**count) >= COARSEST:
        count += 1
    return count
