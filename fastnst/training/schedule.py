"""What each step of a training is done with: learning rate, size of the crops, pictures in a batch."""

import math
from dataclasses import dataclass

from fastnst.training.progress import Moment
from fastnst.training.settings import SMALLEST_CROP, TrainSettings

POLISH_RATE = 0.5
"""Highest learning rate of what is polished, of the training's."""

POLISH_WARM_UP = 0.1
"""Part of the polishing that its warm-up takes."""

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
        if done < settings.small_first:
            crop = settings.small_crop or max(SMALLEST_CROP, settings.crop // 32 * 16)
            return Stage(crop, settings.small_batch or settings.batch)
        return Stage(settings.crop, settings.batch)

    def polishes(self, done: float) -> bool:
        """Whether the step that is next when `done` is done goes through VGG-19, after others through compact."""
        return done >= 1 - self.settings.polish - _ROUNDING

    def learning_rate(self, moment: Moment, warm_up: float) -> float:
        """Learning rate of the step at a moment: a linear warm-up, then half a cosine down to 0 after the last step.

        `warm_up` is the part of the training that the warm-up takes. What is polished has a course of its own after
        that, from half of the rate on. With `decay` constant the rate is what it is.
        """
        done, after = moment.done, moment.after
        highest = self.settings.learning_rate
        if self.settings.decay == "constant":
            return highest
        begin = 1 - self.settings.polish
        if not 0 < begin < 1:
            return highest * _course(done, after, warm_up)
        if self.polishes(done):
            rest = self.settings.polish
            return highest * POLISH_RATE * _course((done - begin) / rest, (after - begin) / rest, POLISH_WARM_UP)
        return highest * _course(done / begin, after / begin, warm_up / begin)


def _course(done: float, after: float, warm_up: float) -> float:
    """Share of the highest rate in a step: up in a line over the part `warm_up`, then down along half a cosine."""
    if done < warm_up:
        return min(1.0, after / warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / max(1e-9, 1 - warm_up))))
