"""Whether a step of a training fits into memory, told before the first one: the system would end it without a line.

What a step keeps for its gradient is found out on two small batches: it grows with the pixels. Images are float
(B, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from fastnst.errors import SettingError
from fastnst.losses.compact import CompactFeatures
from fastnst.losses.precision import kept_bytes
from fastnst.machine import available_memory
from fastnst.training.objective import Paint, TrainingObjective
from fastnst.training.schedule import SMALLEST_PLANNED_CROP
from fastnst.training.settings import SMALLEST_CROP, TrainSettings

# Of the small batches: every second picture is painted twice where flicker is trained against.
_BATCH = 2
_WIDTH = 16
# Bytes a pixel of johnson's 16 channels, from above: where so much is free, nothing needs to be found out.
_MOST_PER_PIXEL = 12_000
# Peak of a step's resident memory over what autograd keeps: gradients on the way back, and what the allocator holds.
# Measured 1.0 to 1.4 in a warm process, and more at the first step.
_OVER_KEPT = 2.0
# Kernels prepared at the first step, TensorBoard, pictures that are read: measured 125 MB before the first step.
_FURTHER_BYTES = 150e6
# Peak of measuring a style picture over its features, with the copies that the terms make: measured 2.3 to 3.0 with the
# compact network, not yet with VGG.
_STYLE_COPIES = 3.0


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step takes beside what the process holds."""

    fixed: float
    per_pixel: float

    def __call__(self, batch: int, crop: int) -> float:
        """For a batch of square crops, side in pixels."""
        return self.fixed + self.per_pixel * batch * crop**2


def check_step(
    settings: TrainSettings,
    make_objective: Callable[[], TrainingObjective],
    paint: Paint,
    style_pixels: int,
    *,
    processes: int = 1,
) -> None:
    """Raise SettingError, naming a batch and a crop that fit, where a step takes more memory than is free.

    Args:
        settings: the training's, with its largest crops.
        make_objective: the loss, on the CPU, of style pictures that may be small; asked for where memory may be short.
        paint: the network.
        style_pixels: of the largest style picture as it is measured.
        processes: how many share a batch.
    """
    batch, free = -(-settings.batch_size // processes), available_memory()
    width = int(settings.network_spec["width"])
    most = _MOST_PER_PIXEL * max(1, width / _WIDTH) * max(batch * settings.crop_size**2, style_pixels / 4)
    if free > _FURTHER_BYTES + most:
        return
    if free < _FURTHER_BYTES:
        raise SettingError(
            f"training needs {_FURTHER_BYTES / 1e9:.2f} GB of memory beside its steps, {free / 1e9:.2f} GB are free; "
            "end other programs or raise the limit"
        )
    objective = make_objective()
    _check_style(settings, objective, style_pixels, free)
    needed = measure_step(objective, paint)
    if needed(batch, settings.crop_size) <= free:
        return
    raise SettingError(
        f"a step with --batch-size {settings.batch_size} and --crop-size {settings.crop_size} takes about "
        f"{needed(batch, settings.crop_size) / 1e9:.2f} GB of memory, {free / 1e9:.2f} GB are free; "
        f"{_remedy(needed, free, batch, settings.crop_size, processes)}"
    )


def _check_style(settings: TrainSettings, objective: TrainingObjective, pixels: int, free: int) -> None:
    """Measuring a style picture keeps the features of all layers, without gradients."""
    side = max(SMALLEST_CROP, objective.loss.network.smallest_side)
    with torch.no_grad():
        sizes = [layer.numel() * 4 for layer in objective.loss.network(torch.rand(1, 3, side, side)).values()]
    copies = _STYLE_COPIES if isinstance(objective.loss.network, CompactFeatures) else 1.0
    needed = _FURTHER_BYTES + copies * pixels * (sum(sizes) + 2 * max(sizes)) / side**2
    if needed > free:
        fitting = int(settings.style_size * ((free - _FURTHER_BYTES) / (needed - _FURTHER_BYTES)) ** 0.5)
        raise SettingError(
            f"a style picture of --style-size {settings.style_size} takes about {needed / 1e9:.2f} GB of memory, "
            f"{free / 1e9:.2f} GB are free; --style-size {max(1, fitting)} fits"
        )


def _remedy(needed: StepMemory, free: int, batch: int, crop: int, processes: int) -> str:
    """The largest crop for the batch, unless that is small: rather fewer pictures, then."""
    least = min(crop, SMALLEST_PLANNED_CROP)
    for count in (*range(batch, 0, -1), 0):
        side = _largest_crop(needed, free, max(1, count), crop)
        if side >= (least if count else SMALLEST_CROP):
            return f"--batch-size {max(1, count) * processes} --crop-size {side} fits"
    least_bytes = needed(1, SMALLEST_CROP)
    return f"even --batch-size {processes} --crop-size {SMALLEST_CROP} takes {least_bytes / 1e9:.2f} GB"


def _largest_crop(needed: StepMemory, free: int, batch: int, crop: int) -> int:
    """Side of the largest crop that fits, a multiple of 8; 0 where none does."""
    return next((side for side in range(crop, SMALLEST_CROP - 1, -8) if needed(batch, side) <= free), 0)


def measure_step(objective: TrainingObjective, paint: Paint) -> StepMemory:
    """Find out what a step keeps, on two small batches."""
    smallest = max(SMALLEST_CROP, objective.loss.network.smallest_side)
    sides = smallest, 2 * smallest
    kept = [_kept_bytes(objective, paint, side) for side in sides]
    pixels = [_BATCH * side**2 for side in sides]
    per_pixel = (kept[1] - kept[0]) / (pixels[1] - pixels[0])
    fixed = max(0.0, kept[0] - per_pixel * pixels[0])
    return StepMemory(_FURTHER_BYTES + _OVER_KEPT * fixed, _OVER_KEPT * per_pixel)


def _kept_bytes(objective: TrainingObjective, paint: Paint, side: int) -> int:
    """Bytes of all that autograd keeps in one evaluation."""
    images = torch.rand(_BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    return kept_bytes(lambda: objective(paint, images, range(_BATCH)))
