"""How far a training is, by steps or by the clock, and what a step is done with: learning rate, crops, batch."""

import math
from dataclasses import dataclass

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
        return done >= 1 - self.settings.fine_tune - _ROUNDING

    def learning_rate(self, progress: ScheduleProgress, warm_up: float) -> float:
        """Learning rate of the step at a time: a linear warm-up, then half a cosine down to 0 after the last step.

        `warm_up` is the part of the training that the warm-up takes. The fine-tuning has a course of its own after
        that, from half of the rate on. With `lr_schedule` constant the rate is what it is.
        """
        done, after = progress.done, progress.after
        highest = self.settings.learning_rate
        if self.settings.lr_schedule == "constant":
            return highest
        begin = 1 - self.settings.fine_tune
        if not 0 < begin < 1:
            return highest * _course(done, after, warm_up)
        if self.fine_tunes(done):
            rest = self.settings.fine_tune
            return (
                highest * FINE_TUNING_RATE * _course((done - begin) / rest, (after - begin) / rest, FINE_TUNING_WARM_UP)
            )
        return highest * _course(done / begin, after / begin, warm_up / begin)


def _course(done: float, after: float, warm_up: float) -> float:
    """Share of the highest rate in a step: up in a line over the part `warm_up`, then down along half a cosine."""
    if done < warm_up:
        return min(1.0, after / warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / max(1e-9, 1 - warm_up))))
