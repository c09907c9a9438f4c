"""How much memory an optimisation takes, told before it begins, and how it is kept within bounds.

What a step keeps for its gradient is found out on two small pictures: it grows with the pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import Module

from fastnst.errors import SettingError
from fastnst.exact.pyramid import plan_levels
from fastnst.exact.settings import OptimizeSettings
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.precision import autocast
from fastnst.machine.resources import available_memory

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
    """Find out what a step keeps, on two small pictures.

    Args:
        loss: what is minimised, with its network.
        dtype: arithmetic of the network; None is float32.
        device: where it computes.
    """
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
    network = loss.network
    weights = {id(weight) for weight in network.parameters()} if isinstance(network, Module) else set()
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in weights:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), autocast(image.device, dtype):
        losses = loss(image.clone().requires_grad_(), content, style)
    # Until here all of it was alive, so that no address stands for two.
    del losses
    return sum(kept.values())


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

    Args:
        footprint: of a step.
        settings: size, optimizer, history, and `max_memory` if it is limited.
        pixels_at: pixels of the photo and of the largest style picture at each --size.
        device: whose memory it is.

    Raises SettingError, naming the nearest size that would fit, where it cannot be.
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
