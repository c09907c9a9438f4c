"""What a comparison of the fast and the exact method found, and how it is to be made. Knows nothing of torch.

H and W are height and width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from fastnst.errors import SettingError
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame
from fastnst.losses.settings import LOOK, LOSS, RESEARCH, SCHEDULE, LossNetworkChoice, LossSettings

TABLE_STEPS = (100, 300, 500)
"""Steps of the exact method that Johnson et al. (2016) compare with in their table 1."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings(LossSettings):
    """How the exact method is run beside the fast one; the loss is that of the network's training."""

    loss_network: Annotated[LossNetworkChoice, LOSS] = "vgg19"
    """Loss network: what judges the pictures, and what the exact method goes through."""

    steps: int = 500
    """Optimizer steps: those of the exact method."""

    style_size: Annotated[int, LOOK] = 512
    """Longest side of the style picture, pixels; that of the network's training, or the two aim at different
    strokes."""

    optimizer: Annotated[Literal["lbfgs", "adam"], SCHEDULE] = "lbfgs"
    """Optimizer: that of the exact method."""

    init: Annotated[Literal["content", "noise"], SCHEDULE] = "content"
    """What the picture starts as: the photo, or white noise."""

    seed: Annotated[int, RESEARCH] = 0
    """Random seed: of the noise."""

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise SettingError(f"--steps is {self.steps}; expected at least 2")
        self.exact(1)  # it checks the others

    def exact(self, size: int) -> OptimizeSettings:
        """The exact method's own settings for a long side of `size` pixels."""
        shared = {field.name: getattr(self, field.name) for field in fields(self)}
        return OptimizeSettings(size=size, **shared)


@dataclass(frozen=True)
class Judged:
    """A picture's losses: unweighted terms and their weighted sum."""

    total: float
    content: float
    style: float
    total_variation: float


@dataclass(frozen=True)
class CurvePoint:
    """The exact method after a step."""

    step: int
    elapsed_s: float
    """Seconds of optimization alone, the judging left out."""

    losses: Judged
    """Of the best picture so far."""


@dataclass(frozen=True)
class Comparison:
    """One photo at one size, painted both ways."""

    photo: str
    size: int
    """Long side, pixels."""

    content: Frame
    """The photo at that size."""

    content_losses: Judged
    """Of the photo itself: what both methods start from."""

    fast: Frame
    fast_losses: Judged
    fast_s: float
    """Median seconds of the network, from uint8 to uint8, warmed up."""

    exact: dict[int, Frame]
    """The exact method's pictures by step."""

    curve: Sequence[CurvePoint]
    step_s: float
    """Median seconds of one exact step."""

    @property
    def matched(self) -> CurvePoint | None:
        """Where the exact method's total first falls to the fast one's; None: not within the steps that were run."""
        return next((point for point in self.curve if point.losses.total <= self.fast_losses.total), None)

    def at(self, step: int) -> CurvePoint | None:
        """The exact method after a step; None where that step was not judged."""
        index = bisect_left(self.curve, step, key=lambda point: point.step)
        return self.curve[index] if index < len(self.curve) and self.curve[index].step == step else None

    def exact_s(self, steps: int) -> float:
        """Seconds of that many exact steps: measured, or the median step times steps where they were not run."""
        point = self.at(steps)
        return point.elapsed_s if point is not None else steps * self.step_s

    def speed_up(self, steps: int) -> float:
        """How many times faster the network is than that many exact steps."""
        return self.exact_s(steps) / self.fast_s


def judged_steps(steps: int) -> set[int]:
    """Steps whose picture is judged: each to 40, then about every twentieth part, those of table 1 and the last."""
    return {step for step in range(1, steps + 1) if step % max(1, step // 20) == 0} | set(shown_steps(steps))


def shown_steps(steps: int) -> list[int]:
    """Steps whose picture is shown: those of table 1 that were run, and the last."""
    return sorted({step for step in TABLE_STEPS if step <= steps} | {steps})
