"""How far a training is: by steps, or by the clock where it has a budget of time."""

import re
from dataclasses import dataclass

from fastnst.errors import SettingError

WARM_UP_STEPS = 50

WARM_UP_PART = 0.02
"""Of a training with a budget."""

RESERVE_S = 25.0
"""Seconds of a budget kept for what comes after the last step, until it is known what an export takes here."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Moment:
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
    """What a step takes at present, looks at the pictures included."""


class StepPace:
    """A fixed number of steps."""

    reserve_s = 0.0

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.warm_up = min(WARM_UP_STEPS, steps) / steps

    def at(self, step: int, clock: Clock) -> Moment:
        """Where a training stands after so many steps; the clock plays no part."""
        del clock
        return Moment(step / self.steps, (step + 1) / self.steps, self.steps, step >= self.steps)


class TimePace:
    """As many steps as fit into a time, however long each takes."""

    warm_up = WARM_UP_PART

    def __init__(self, budget_s: float, reserve_s: float = RESERVE_S) -> None:
        """Take the time for everything, and the part of it to be left for what comes after the last step."""
        self.budget_s, self.reserve_s = budget_s, reserve_s

    def at(self, step: int, clock: Clock) -> Moment:
        """Where a training stands at a time."""
        left_s = self.budget_s - self.reserve_s - clock.elapsed_s
        total_s = max(1e-9, self.budget_s - self.reserve_s - clock.begun_s)
        done = min(1.0, max(0.0, 1 - left_s / total_s))
        step_s = max(1e-9, clock.step_s)
        steps = step + max(0, int(left_s / step_s))
        # One step at least is made: a result is better than none, however short the time.
        return Moment(done, min(1.0, done + step_s / total_s), max(1, steps), left_s < step_s and step > 0)


def seconds_in(duration: str) -> float:
    """Read a time like 90s, 20m or 1.5h; raises SettingError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", duration.strip().lower())
    if not found or float(found[1]) == 0:
        raise SettingError(f"--budget is {duration!r}; expected a time like 90s, 20m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def in_words(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 1 h 30 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
