"""What an optimisation starts from, coarse to fine: a picture is painted small, enlarged, and painted over.

Large strokes are cheap to lay at a small size, and a loss network sees no further than its field of view, some 150
pixels: what is to look alike across a large picture must be laid while it is small.

Images are float32 (1, 3, H, W) RGB in [0, 1].
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fastnst.errors import InputError, SettingError
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame, resize_frame
from fastnst.io.tensors import to_frame, to_image

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

    `settings.steps` are for the smallest size; larger ones get fewer, in inverse proportion to their long side: what is
    left to do there is ever finer, and each step is dearer. The last `settings.fine_tune_steps` of all are levels of
    their own. Raises SettingError for more levels than pixels.
    """
    factor = settings.pyramid_factor
    count = settings.pyramid_levels or _fitting(settings.size, factor)
    sides = [round(settings.size / factor**index) for index in reversed(range(count))]
    if sides[0] < 1 or len(set(sides)) < count:
        raise SettingError(
            f"--pyramid-levels {count} by a factor of {factor:g} leaves {sides[0]} pixels at the smallest; give fewer"
        )
    levels = [Level(side, max(1, round(settings.steps * sides[0] / side))) for side in sides]
    return _fine_tuned(levels, settings.fine_tune_steps)


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


FAST = "fast:"
"""Before the name of a trained style."""


def initial_image(photo: Tensor, settings: OptimizeSettings) -> Tensor:
    """What the optimisation starts from, of the photo's size, (1, 3, H, W).

    The photo, noise, a picture file, or `fast:STYLE`: the photo as the trained network of that style paints it. The
    noise is uniform and, for one seed and size, the same on every device.

    Raises InputError for a bad file, StyleError for a style that is not there.
    """
    if settings.init == "content":
        return photo
    if settings.init == "noise":
        generator = torch.Generator().manual_seed(settings.seed)
        return torch.rand(photo.shape, generator=generator).to(photo.device)
    name = str(settings.init)
    if name.startswith(FAST):
        return _painted(photo, name.removeprefix(FAST))
    height, width = photo.shape[2:]
    return to_image(resize_frame(read_frame(settings.init), (height, width))).to(photo.device)


def check_init(settings: OptimizeSettings) -> None:
    """Raise InputError for an initial picture that is not there, before any work."""
    init = settings.init
    if isinstance(init, Path) and not str(init).startswith(FAST) and not init.exists():
        raise InputError(f"{init}: no such file; --init expects content, noise, fast:STYLE or a picture file")


def _painted(photo: Tensor, style: str) -> Tensor:
    # ONNX Runtime is imported for this alone.
    from fastnst.inference.stylizer import Stylizer  # noqa: PLC0415

    with Stylizer(style) as stylizer:
        return to_image(stylizer(to_frame(photo))).to(photo.device)
