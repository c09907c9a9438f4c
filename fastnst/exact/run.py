"""An optimisation on its way, step by step: all that must be known to go on with it.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], channels innermost in memory.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.errors import DivergedError
from fastnst.exact.objective import Objective
from fastnst.exact.optimizers import Descent
from fastnst.exact.pyramid import Level
from fastnst.exact.result import Progress, Step, Trace


@dataclass
class Run:
    """Where an optimisation stands."""

    levels: list[Level]
    descent: Descent
    trace: Trace = field(default_factory=Trace)
    level: int = 0
    """Index of the level at hand; the number of levels when all is done."""
    done: int = 0
    """Steps done at this level."""
    image: Tensor | None = None
    """What is evaluated next; None before a level begins."""
    elapsed_s: float = 0.0
    """Seconds of all steps so far."""
    torn: bool = False
    """Within a step, where not all of this belongs together: not to be saved."""

    @property
    def steps(self) -> int:
        """Steps there will be: those done, and those to come."""
        return len(self.trace.history) - self.done + sum(level.steps for level in self.levels[self.level :])


OnStep: TypeAlias = Callable[[Progress], None]


def advance(run: Run, objective: Objective, on_step: OnStep | None = None) -> None:
    """Do the steps that are left of the level at hand, from `run.image` on, and turn to the next level.

    Raises DivergedError for a loss or a gradient that is no finite number.
    """
    if run.image is None:
        raise ValueError("a level begins with an image")
    level = run.levels[run.level]
    began = time.perf_counter() - run.elapsed_s
    while run.done < level.steps:
        image = run.image.contiguous(memory_format=torch.channels_last)
        losses, gradient = objective.evaluate(image)
        run.torn = True
        run.elapsed_s = time.perf_counter() - began
        run.trace.add(
            Step(
                len(run.trace.history) + 1,
                **losses,
                elapsed_s=run.elapsed_s,
                long_side=level.long_side,
                polish=level.polish,
            ),
            image,
        )
        run.done += 1
        if run.done < level.steps:
            run.image = _next(run, objective, image, gradient)
        run.torn = False
        if on_step is not None:
            trace = run.trace
            on_step(Progress(trace.history[-1], trace.best, run.steps, trace.best_image, run.level, run.done))
    run.level, run.done, run.image = run.level + 1, 0, None


def _next(run: Run, objective: Objective, image: Tensor, gradient: Tensor) -> Tensor:
    last = run.trace.history[-1]
    # Where a loss is finite its gradient may still overflow; told now, it is not blamed on the next step's loss.
    size = gradient.abs().sum().item()
    if not math.isfinite(size):
        raise DivergedError(f"step {last.step}: the gradient is {size}; lower the weights, or try --precision float32")
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    return objective.constrain(run.descent.propose(image, last.total, gradient))
