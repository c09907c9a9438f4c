"""Where an optimisation stands, what it tells on its way, and what comes of it.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fastnst.errors import DivergedError
from fastnst.exact.optimizers import PixelOptimizer
from fastnst.exact.pyramid import Level
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame
from fastnst.machine import installed_version, peak_memory_mb


@dataclass(frozen=True)
class Step:
    """One evaluation: its losses as they were optimised, unweighted except for `total`."""

    step: int
    """Counted from 1."""
    total: float
    content: float
    style: float
    total_variation: float
    elapsed_s: float
    """Seconds since the first evaluation began; those of an earlier run that this one goes on from count."""
    long_side: int
    """Size of the image, pixels: losses of different sizes do not compare."""
    fine_tune: bool = False
    """Judged by VGG-19 instead of the compact network: their losses do not compare either."""
    others: dict[str, float] = field(default_factory=dict)
    """Further terms by name, unweighted."""

    @classmethod
    def of(cls, step: int, losses: dict[str, float], elapsed_s: float, level: Level) -> "Step":
        """Of the losses by name, as `PerceptualLoss` gives them, at a level of the pyramid."""
        named = {name: losses[name] for name in ("total", "content", "style", "total_variation")}
        others = {name: losses[name] for name in losses if name not in named}
        return cls(
            step, **named, elapsed_s=elapsed_s, long_side=level.long_side, fine_tune=level.fine_tune, others=others
        )

    @property
    def losses(self) -> dict[str, float]:
        """All by name, "total" first."""
        named = {"total": self.total, "content": self.content, "style": self.style}
        return {**named, "total_variation": self.total_variation, **self.others}

    def compares_with(self, other: "Step") -> bool:
        """Whether one of the two losses can be called the lower one."""
        return (self.long_side, self.fine_tune) == (other.long_side, other.fine_tune)


@dataclass
class Trace:
    """The steps so far, and the image with the lowest total of those that compare with the last."""

    history: list[Step] = field(default_factory=list)
    best_image: Tensor = field(default_factory=lambda: torch.empty(0))
    interrupted: bool = False

    @property
    def best(self) -> Step:
        """The step with the lowest total of those that compare with the last one, the first of equals."""
        newest = self.history[-1]
        return min((step for step in self.history if step.compares_with(newest)), key=lambda step: step.total)

    def add(self, step: Step, image: Tensor) -> None:
        """Take a step in; `image` is kept, not copied.

        Raises DivergedError, naming the term and what to try, for a loss that is no finite number.
        """
        self._check_finite(step)
        self.history.append(step)
        if self.best is step:
            self.best_image = image

    def _check_finite(self, step: Step) -> None:
        options = {"content": "--content-weight", "style": "--style-weight", "total_variation": "--tv-weight"}
        before = self.history[-1].losses if self.history else {}
        for term, value in sorted(step.losses.items(), key=lambda one: one[0] == "total"):  # what it is made of first
            if not math.isfinite(value):
                was = f"it was {before[term]:.3g} a step earlier" if term in before else "from the start"
                raise DivergedError(
                    f"step {step.step}: the {term.replace('_', ' ')} loss is {value}, {was}; "
                    f"lower {options.get(term, 'the weights')}, or try --optimizer adam or --precision float32"
                )


@dataclass
class OptimizationRun:
    """Where an optimisation stands: all that must be known to go on with it."""

    levels: list[Level]
    descent: PixelOptimizer
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

    def next_image(self) -> Tensor | None:
        """What is evaluated next at the level at hand; None where all its steps are done."""
        if self.image is None or self.done >= self.levels[self.level].steps:
            return None
        return self.image.contiguous(memory_format=torch.channels_last)

    def end_level(self) -> None:
        """Turn to the next level."""
        self.level, self.done, self.image = self.level + 1, 0, None


@dataclass(frozen=True)
class OptimizeProgress:
    """Where an optimisation stands after a step."""

    last: Step
    best: Step
    """The step with the lowest total so far."""
    steps: int
    """Steps there will be, at all levels."""
    best_image: Tensor
    level: int
    """Index of the level at hand, of those that `plan_levels` gives."""
    done: int
    """Steps done at this level."""

    def best_frame(self) -> Frame:
        """The best picture so far."""
        return to_frame(self.best_image)


Callback: TypeAlias = Callable[[OptimizeProgress], None]


@dataclass(frozen=True)
class OptimizeResult:
    """The best picture of an optimisation, and how it came about."""

    frame: Frame
    """The picture with the lowest total."""
    losses: dict[str, float]
    """total, content, style and total_variation of `frame` as it stands, in float32."""
    best: Step
    """The step that `frame` is from."""
    history: list[Step]
    loss_weights: str
    """Which weights the loss network had."""
    hardware: str
    """What computed, and in which arithmetic."""
    style_weight: float
    """Weight of the style term: that of the settings, or what their strength came to."""
    elapsed_s: float
    """Seconds for all of it, loading the loss network included."""
    interrupted: bool
    """Ended by Ctrl-C before the last step."""
    planned_bytes: int
    """Memory that it was to take, estimated before the work."""


class OptimizeDivergedError(DivergedError):
    """A loss that left the finite numbers; `result` holds the best picture until then, None if there is none."""

    def __init__(self, message: str, result: OptimizeResult | None) -> None:
        super().__init__(message)
        self.result = result


def report(result: OptimizeResult, settings: OptimizeSettings) -> dict[str, Any]:
    """Settings, provenance, hardware, losses and every step, as values that JSON holds."""
    height, width = result.frame.shape[:2]
    return {
        "method": "exact",
        "fastnst": installed_version(),
        "torch": version("torch"),
        "settings": {name: _plain(value) for name, value in dataclasses.asdict(settings).items()},
        "style_weight": result.style_weight,
        "loss_weights": result.loss_weights,
        "hardware": result.hardware,
        "width": width,
        "height": height,
        "elapsed_s": result.elapsed_s,
        "interrupted": result.interrupted,
        "planned_memory_mb": result.planned_bytes / 2**20,
        "peak_memory_mb": peak_memory_mb(),
        "losses": result.losses,
        "best_step": result.best.step,
        "history": [_plain_step(step) for step in result.history],
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _plain_step(step: Step) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(step).items() if name != "others"} | step.others
