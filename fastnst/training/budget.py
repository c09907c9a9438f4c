"""A training that ends in time: a few steps are timed on this machine, then crops are chosen that leave enough steps.

The learning rate and the small crops follow the clock from then on (`TimeSchedule`), so a machine that gets slower
only makes fewer steps.
"""

import copy
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastnst.models.network import StyleNetwork
from fastnst.training.objective import TrainingObjective
from fastnst.training.schedule import RESERVE_S, Schedule, in_words
from fastnst.training.settings import SMALLEST_CROP, TrainSettings

GOOD_STEPS = 600
"""Fewer, and smaller crops bring more than they cost."""

SMALLEST_PLANNED_CROP = 128
FEW_STEPS = 100

_TIMED_STEPS = 2


@dataclass(frozen=True)
class BudgetPlan:
    """What a budget comes to."""

    crop: int
    batch: int
    step_s: float
    """Seconds a step takes."""
    train_s: float
    """Seconds there are for steps."""
    reserve_s: float

    @property
    def steps(self) -> int:
        """How many steps that makes."""
        return max(1, int(self.train_s / self.step_s))

    def words(self, budget: str) -> str:
        """The plan in one line."""
        few = " (too few for more than a hint of the painting)" if self.steps < FEW_STEPS else ""
        return (
            f"Budget {budget}: about {self.steps:,} steps of {self.batch} at {self.crop} px{few}, {self.step_s:.2g} s "
            f"each here; {in_words(self.reserve_s)} are kept for measuring and export."
        )


def plan_budget(
    settings: TrainSettings,
    left_s: float,
    second_per_pixel: float,
    fine_tune_per_pixel: float | None = None,
    *,
    reserve_s: float = RESERVE_S,
    processes: int = 1,
) -> BudgetPlan:
    """Choose crop and batch for a time: the settings' own where 600 steps fit, else the largest with which they do.

    Args:
        settings: the training's; their crop is the largest that is chosen, their batch too.
        left_s: seconds there are, with what comes after the last step.
        second_per_pixel: what a step takes for each pixel of a content picture.
        fine_tune_per_pixel: the same of the steps that fine-tune, where those are of another kind.
        reserve_s: seconds to leave for what comes after the last step.
        processes: how many share a batch equally.
    """
    train_s = max(0.0, left_s - reserve_s)
    smallest = min(settings.crop_size, SMALLEST_PLANNED_CROP)
    sides = [settings.crop_size, *range((settings.crop_size - 1) // 32 * 32, smallest - 1, -32)]
    choices = [(side, settings.batch_size) for side in sides] + [
        (sides[-1], batch) for batch in range(settings.batch_size - processes, 0, -processes)
    ]
    for crop, batch in choices:
        step_s = 1 / _rate(replace(settings, crop_size=crop, batch_size=batch), second_per_pixel, fine_tune_per_pixel)
        if train_s / step_s >= GOOD_STEPS:
            break
    return BudgetPlan(crop, batch, step_s, train_s, reserve_s)


def time_steps(network: StyleNetwork, objective: TrainingObjective, images: torch.Tensor) -> float:
    """Seconds that an update takes for each pixel of the images, (B, 3, H, W); the network is left as it is."""
    trial = copy.deepcopy(network)
    took = []
    for _ in range(1 + _TIMED_STEPS):  # the first one also prepares memory and kernels
        started = time.monotonic()
        objective(trial, images, range(len(images)))[0].total.backward()  # type: ignore[no-untyped-call]
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        took.append(time.monotonic() - started)
    return min(took[1:]) / (len(images) * images.shape[2] * images.shape[3])


def multiply_adds_per_pixel(network: StyleNetwork, objective: TrainingObjective) -> float:
    """Multiply-adds of convolutions and matrix products in one update, for each pixel of a content picture.

    Of the network and the loss network, forwards and backwards. Counted by torch's own counter on one small picture;
    every part of it grows with the pixels.
    """
    trial = copy.deepcopy(network)
    device = next(trial.parameters()).device
    picture = torch.linspace(0, 1, 3 * SMALLEST_CROP**2, device=device).reshape(1, 3, SMALLEST_CROP, SMALLEST_CROP)
    with FlopCounterMode(display=False) as counter:
        objective(trial, picture, range(1))[0].total.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / 2 / SMALLEST_CROP**2


def _rate(settings: TrainSettings, second_per_pixel: float, fine_tune_per_pixel: float | None) -> float:
    """Steps a second, on average over the time: small crops first and the fine-tuning take their parts of it."""
    schedule = Schedule(settings)
    rate = 0.0
    for begin, end in pairwise(sorted({0.0, settings.progressive_resizing, 1 - settings.fine_tune, 1.0})):
        stage = schedule.stage(begin)
        per_pixel = fine_tune_per_pixel if fine_tune_per_pixel and schedule.fine_tunes(begin) else second_per_pixel
        rate += (end - begin) / (stage.batch * stage.crop**2 * per_pixel)
    return rate
