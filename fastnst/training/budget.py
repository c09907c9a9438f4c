"""A training that ends in time: a few steps are timed on this machine, then crops are chosen that leave enough steps.

The learning rate and the small crops follow the clock from then on (`pace.TimePace`), so a machine that gets slower
only makes fewer steps.
"""

import copy
import time
from dataclasses import dataclass, replace

import torch

from fastnst.networks.network import StyleNetwork
from fastnst.training.objective import Objective
from fastnst.training.pace import RESERVE_S, in_words
from fastnst.training.schedule import Schedule
from fastnst.training.settings import TrainSettings

GOOD_STEPS = 600
"""Fewer, and smaller crops bring more than they cost."""

SMALLEST_PLANNED_CROP = 128
FEW_STEPS = 100

_TIMED_STEPS = 2


@dataclass(frozen=True)
class Plan:
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


def plan(
    settings: TrainSettings, left_s: float, second_per_pixel: float, *, reserve_s: float = RESERVE_S, processes: int = 1
) -> Plan:
    """Choose crop and batch for a time: the settings' own where 600 steps fit, else the largest with which they do.

    Args:
        settings: the training's; their crop is the largest that is chosen, their batch too.
        left_s: seconds there are, with what comes after the last step.
        second_per_pixel: what a step takes for each pixel of a content picture.
        reserve_s: seconds to leave for what comes after the last step.
        processes: how many share a batch equally.
    """
    train_s = max(0.0, left_s - reserve_s)
    smallest = min(settings.crop, SMALLEST_PLANNED_CROP)
    sides = [settings.crop, *range((settings.crop - 1) // 32 * 32, smallest - 1, -32)]
    choices = [(side, settings.batch) for side in sides] + [
        (sides[-1], batch) for batch in range(settings.batch - processes, 0, -processes)
    ]
    for crop, batch in choices:
        step_s = second_per_pixel * _mean_pixels(settings, crop, batch)
        if train_s / step_s >= GOOD_STEPS:
            break
    return Plan(crop, batch, step_s, train_s, reserve_s)


def time_steps(network: StyleNetwork, objective: Objective, images: torch.Tensor) -> float:
    """Seconds that an update takes for each pixel of the images, (B, 3, H, W); the network is left as it is."""
    trial = copy.deepcopy(network)
    took = []
    for _ in range(1 + _TIMED_STEPS):  # the first one also prepares memory and kernels
        started = time.monotonic()
        objective(trial, images, range(len(images))).total.backward()  # type: ignore[no-untyped-call]
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        took.append(time.monotonic() - started)
    return min(took[1:]) / (len(images) * images.shape[2] * images.shape[3])


def _mean_pixels(settings: TrainSettings, crop: int, batch: int) -> float:
    """Pixels of a step's content pictures, on average over the time: small crops first take their part of it."""
    schedule = Schedule(replace(settings, crop=crop, batch=batch))
    small, large = schedule.stage(0.0), schedule.stage(1.0)
    part = settings.small_first
    # Of a time, not of the steps: the parts' steps add up, so their rates are averaged.
    rate = part / (small.batch * small.crop**2) + (1 - part) / (large.batch * large.crop**2)
    return 1 / rate
