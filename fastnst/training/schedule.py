"""How far a training is, by steps or by the clock, and what a step is done with: learning rate, crops, batch.

A budget of time ends in time: a few steps are timed on this machine, then crops are chosen that leave enough steps. The
learning rate and the small crops follow the clock from then on, so a machine that gets slower only makes fewer steps.
"""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastnst.models.network import StyleNetwork
from fastnst.training.objective import Objective, TrainingObjective
from fastnst.training.settings import SMALLEST_CROP, TrainSettings

WARM_UP_STEPS = 50

WARM_UP_PART = 0.02
"""Of a training with a budget."""

RESERVE_S = 25.0
"""Seconds of a budget kept for what comes after the last step, until it is known what an export takes here."""


@dataclass(frozen=True)
class ScheduleProgress:
    """Where a training stands before a step."""

    done: float
    """Part of the training that is done, 0 to 1."""

    after: float
    """Part that is done after the step."""

    steps: int
    """Steps in all, as far as is known."""

    finished: bool
    """Whether there is no further step."""


@dataclass
class Clock:
    """Times of a training, in seconds, as its first process reads them."""

    elapsed_s: float = 0.0
    """Since it began, over all runs."""

    begun_s: float = 0.0
    """When the first step began."""

    step_s: float = 0.0
    """What a step takes at present, validation included."""


class StepSchedule:
    """A fixed number of steps."""

    reserve_s = 0.0

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.warm_up = min(WARM_UP_STEPS, steps) / steps

    def at(self, step: int, clock: Clock) -> ScheduleProgress:
        """Where a training stands after so many steps; the clock plays no part."""
        del clock
        return ScheduleProgress(step / self.steps, (step + 1) / self.steps, self.steps, step >= self.steps)


class TimeSchedule:
    """As many steps as fit into a time, however long each takes."""

    warm_up = WARM_UP_PART

    def __init__(self, budget_s: float, reserve_s: float = RESERVE_S) -> None:
        """Take the time for everything, and the part of it to be left for what comes after the last step."""
        self.budget_s, self.reserve_s = budget_s, reserve_s

    def at(self, step: int, clock: Clock) -> ScheduleProgress:
        """Where a training stands at a time."""
        left_s = self.budget_s - self.reserve_s - clock.elapsed_s
        total_s = max(1e-9, self.budget_s - self.reserve_s - clock.begun_s)
        done = min(1.0, max(0.0, 1 - left_s / total_s))
        step_s = max(1e-9, clock.step_s)
        steps = step + max(0, int(left_s / step_s))
        # One step at least is made: a result is better than none, however short the time.
        return ScheduleProgress(done, min(1.0, done + step_s / total_s), max(1, steps), left_s < step_s and step > 0)


def in_words(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 1 h 30 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


FINE_TUNING_RATE = 0.5
"""Highest learning rate of the fine-tuning, of the training's."""

FINE_TUNING_WARM_UP = 0.1
"""Part of the fine-tuning that its warm-up takes."""

_ROUNDING = 1e-9  # two thirds of the steps and 1 - 1/3 are not the same number


@dataclass(frozen=True)
class Stage:
    """The pictures of a step."""

    crop: int
    """Side, pixels."""

    batch: int
    """How many."""


class Schedule:
    """The plan of a training by the part of it that is done, from 0 to 1."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings

    def stage(self, done: float) -> Stage:
        """Crops and batch of the step that is next when `done` is done."""
        settings = self.settings
        if done < settings.progressive_resizing:
            crop = settings.progressive_crop_size or max(SMALLEST_CROP, settings.crop_size // 32 * 16)
            return Stage(crop, settings.progressive_batch_size or settings.batch_size)
        return Stage(settings.crop_size, settings.batch_size)

    def fine_tunes(self, done: float) -> bool:
        """Whether the step that is next when `done` is done goes through VGG-19, after others through compact."""
        return done >= 1 - self.settings.fine_tune_fraction - _ROUNDING

    def learning_rate(self, progress: ScheduleProgress, warm_up: float) -> float:
        """Learning rate of the step at a time: a linear warm-up, then half a cosine down to 0 after the last step.

        `warm_up` is the part of the training that the warm-up takes. The fine-tuning has a course of its own after
        that, from half of the rate on. With `lr_schedule` constant the rate is what it is.
        """
        done, after = progress.done, progress.after
        highest = self.settings.learning_rate
        if self.settings.lr_schedule == "constant":
            return highest
        begin = 1 - self.settings.fine_tune_fraction
        if not 0 < begin < 1:
            return highest * _course(done, after, warm_up)
        if self.fine_tunes(done):
            rest = self.settings.fine_tune_fraction
            return (
                highest * FINE_TUNING_RATE * _course((done - begin) / rest, (after - begin) / rest, FINE_TUNING_WARM_UP)
            )
        return highest * _course(done / begin, after / begin, warm_up / begin)


def _course(done: float, after: float, warm_up: float) -> float:
    """Share of the highest rate in a step: up in a line over the part `warm_up`, then down along half a cosine."""
    if done < warm_up:
        return min(1.0, after / warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / max(1e-9, 1 - warm_up))))


GOOD_STEPS: Mapping[str, int] = {"image": 600, "batch": 200}
"""By what statistics are taken over: fewer steps, and smaller crops bring more than they cost. Where a batch together
must have what the painting has, few large batches are better than many small ones, whose pictures get clouds."""

LEAST_BATCH: Mapping[str, int] = {"image": 1, "batch": 2}

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
        steps = f"{self.steps:,} step{'s' if self.steps > 1 else ''}"
        return (
            f"Budget {budget}: about {steps} of {self.batch} at {self.crop} px{few}, {self.step_s:.2g} s each here; "
            f"{in_words(self.reserve_s)} are kept for measuring and export."
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
    """Choose crop and batch for a time: the settings' own where enough steps fit, else the largest with which they do.

    `left_s` are the seconds there are, of which `reserve_s` stay for what comes after the last step. A step takes so
    many seconds for each pixel of a content picture, and others where it fine-tunes, if those are of another kind. So
    many processes share a batch equally.
    """
    train_s = max(0.0, left_s - reserve_s)
    smallest, least = min(settings.crop_size, SMALLEST_PLANNED_CROP), LEAST_BATCH[settings.statistics_over]
    sides = [settings.crop_size, *range((settings.crop_size - 1) // 32 * 32, smallest - 1, -32)]
    choices = [(side, settings.batch_size) for side in sides] + [
        (sides[-1], batch) for batch in range(settings.batch_size - processes, least - 1, -processes)
    ]
    for crop, batch in choices:
        step_s = 1 / _rate(replace(settings, crop_size=crop, batch_size=batch), second_per_pixel, fine_tune_per_pixel)
        if train_s / step_s >= GOOD_STEPS[settings.statistics_over]:
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


def multiply_adds_per_pixel(network: StyleNetwork, objective: Objective) -> float:
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
    for begin, end in pairwise(sorted({0.0, settings.progressive_resizing, 1 - settings.fine_tune_fraction, 1.0})):
        stage = schedule.stage(begin)
        per_pixel = fine_tune_per_pixel if fine_tune_per_pixel and schedule.fine_tunes(begin) else second_per_pixel
        rate += (end - begin) / (stage.batch * stage.crop**2 * per_pixel)
    return rate
