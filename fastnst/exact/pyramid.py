"""The sizes that an optimization paints at, coarse to fine, what it starts from, and how much memory that takes.

A picture is painted small, enlarged, and painted over. Large strokes are cheap to lay at a small size, and a loss
network sees no further than its field of view, some 150 pixels: what is to look alike across a large picture must be
laid while it is small. What a step keeps for its gradient is found out on two small pictures: it grows with the pixels.

Images are float32 (1, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import interpolate

from fastnst.errors import InputError, SettingError
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame, resize_frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import autocast, kept_bytes
from fastnst.machine import available_memory

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


# Sides of the two small pictures, pixels.
_SMALL, _LESS_SMALL = 64, 128
# Images, 12 bytes a pixel each, that a step holds beside those of the optimizer: photo, image, best image, the next
# one, gradient, direction, and copies on the way.
_IMAGE_BYTES, _IMAGES = 12, 9
# What the optimizer holds whatever its history: where lbfgs stands and the gradient there; adam's moments and a copy.
_OWN_IMAGES = {"lbfgs": 2, "adam": 3}
LEAST_HISTORY = 5
"""Steps that lbfgs is left to remember where memory is short: with fewer it gets slow."""
# Python, torch and the loss network, where the system does not say what the process holds.
_PROCESS_BYTES = 700e6
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Footprint:
    """Bytes that a step takes beside the images: at the end of the way forward, and while gradients come back."""

    fixed: float
    """Whatever the size of the picture: Gram matrices, weights in half precision."""

    per_pixel: float

    reference_per_pixel: float
    """Measuring a picture in float32, without a gradient."""


def measure_footprint(loss: PerceptualLoss, dtype: torch.dtype | None, device: torch.device) -> Footprint:
    """Find out what a step keeps, on two small pictures; `dtype` is the arithmetic of the network, None is float32."""
    smallest = loss.network.smallest_side
    sides = [max(_SMALL, smallest), max(_LESS_SMALL, 2 * smallest)]
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, side, side, generator=generator).to(device) for side in sides]
    kept = [_kept_bytes(loss, image, dtype) for image in images]
    pixels = [side * side for side in sides]
    per_pixel = (kept[1] - kept[0]) / (pixels[1] - pixels[0])
    with torch.no_grad(), autocast(device, dtype):
        features = loss.network(images[0])
    values = sum(feature.numel() for feature in features.values()) / pixels[0]
    widest = max(feature.numel() for feature in features.values()) / pixels[0]
    size = max(feature.element_size() for feature in features.values())
    # The gradients of all layers that are compared are there before the network's own way back begins, which then holds
    # the gradients of what goes into a layer and of what comes out.
    back = (values + 2 * widest) * size
    return Footprint(kept[0] - per_pixel * pixels[0], per_pixel + back, (values + widest) * 4)


def largest(footprints: Sequence[Footprint]) -> Footprint:
    """What must be there for any of several loss networks."""
    return Footprint(
        max(one.fixed for one in footprints),
        max(one.per_pixel for one in footprints),
        max(one.reference_per_pixel for one in footprints),
    )


def _kept_bytes(loss: PerceptualLoss, image: Tensor, dtype: torch.dtype | None) -> int:
    """Bytes of all that autograd keeps in one evaluation, weights aside."""
    content, style = loss.measure_content(image), loss.measure_style(image)
    weights = loss.network.parameters() if isinstance(loss.network, Module) else ()

    def evaluate() -> object:
        with autocast(image.device, dtype):
            return loss(image.clone().requires_grad_(), content, style)

    return kept_bytes(evaluate, weights)


@dataclass(frozen=True)
class MemoryPlan:
    """What an optimisation will take."""

    peak_bytes: int
    """Most resident memory of the process, estimated; on an accelerator, its memory."""

    limit_bytes: int | None
    """What there is, or what the settings allow; None: not known."""

    history: int
    """Steps that lbfgs may remember within that."""

    def __str__(self) -> str:
        """The estimate in words."""
        return f"about {self.peak_bytes / _GIGABYTE:.1f} GB of memory"


def plan_memory(
    footprint: Footprint,
    settings: OptimizeSettings,
    pixels_at: Callable[[int], tuple[int, int]],
    device: torch.device,
) -> MemoryPlan:
    """Fit an optimisation into memory: lbfgs remembers fewer steps where there is not enough for all.

    `pixels_at` gives the pixels of the photo and of the largest style picture at each --size. Raises SettingError,
    naming the nearest size that would fit, where it cannot be.
    """
    limit = available(device) if settings.max_memory is None else int(settings.max_memory * _GIGABYTE)

    # A run that is shorter than the history never fills it; small levels do, but are small.
    steps = sum(level.steps for level in plan_levels(settings) if level.long_side == settings.size)

    def peak(size: int, history: int) -> int:
        return _peak(footprint, pixels_at(size), replace(settings, history=min(history, steps)), device)

    needed = peak(settings.size, settings.history)
    if limit is None or needed <= limit:
        return MemoryPlan(needed, limit, settings.history)
    least = settings.history if settings.optimizer == "adam" else min(LEAST_HISTORY, settings.history)
    for history in range(settings.history - 1, least - 1, -1):
        needed = peak(settings.size, history)
        if needed <= limit:
            return MemoryPlan(needed, limit, history)
    fitting = _largest_size(lambda size: peak(size, least) <= limit, settings.size)
    wish = f"--size {fitting} fits" if fitting else f"even --size 32 takes {peak(32, least) / _GIGABYTE:.2f} GB"
    photo, style = pixels_at(settings.size)
    if not fitting and style > photo:
        wish += "; give a smaller --style-size or --stroke"
    origin = "free" if settings.max_memory is None else "allowed by --max-memory"
    raise SettingError(
        f"--size {settings.size} takes about {needed / _GIGABYTE:.2f} GB of memory, {limit / _GIGABYTE:.2f} GB are "
        f"{origin}; {wish}"
    )


def fitting_size(
    footprint: Footprint,
    settings: OptimizeSettings,
    pixels_at: Callable[[int], tuple[int, int]],
    device: torch.device,
) -> int:
    """The largest size, up to that of the settings, at which an optimisation fits into memory; 32 where none does."""

    def fits(size: int) -> bool:
        try:
            plan_memory(footprint, replace(settings, size=size), pixels_at, device)
        except SettingError:
            return False
        return True

    return settings.size if fits(settings.size) else _largest_size(fits, settings.size) or 32


def _largest_size(fits: Callable[[int], bool], too_large: int) -> int | None:
    """The largest size below `too_large` that fits, from 32 on; None where there is none."""
    fitting, size = 31, too_large
    while size - fitting > 1:
        middle = (fitting + size) // 2
        fitting, size = (middle, size) if fits(middle) else (fitting, middle)
    return fitting if fitting > 31 else None


def available(device: torch.device) -> int | None:
    """Bytes that the process may hold in all, what it holds already included; None: not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
    free = available_memory() if device.type == "cpu" else None
    return None if free is None else free + held_bytes()


def held_bytes() -> int:
    """Resident memory of this process at present."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return int(_PROCESS_BYTES)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), int(_PROCESS_BYTES))


def _peak(footprint: Footprint, pixels: tuple[int, int], settings: OptimizeSettings, device: torch.device) -> int:
    photo, style = pixels
    pairs = 2 * settings.history if settings.optimizer == "lbfgs" else 0
    images = _IMAGE_BYTES * photo * (_IMAGES + _OWN_IMAGES[settings.optimizer] + pairs)
    step = images + photo * footprint.per_pixel
    judged = images + photo * footprint.reference_per_pixel
    measured = _IMAGE_BYTES * photo + max(photo, style) * (footprint.reference_per_pixel + _IMAGE_BYTES)
    held = held_bytes() if device.type == "cpu" else 0
    return int(held + footprint.fixed + max(step, judged, measured))
