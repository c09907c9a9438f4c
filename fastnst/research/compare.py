"""The fast network beside the exact method: the same photo, the same loss, the same size (Johnson et al. 2016, 4.1).

Both are judged alike: the picture as it is saved, uint8, by the loss network in float32. "Exact after N steps" is the
picture with the lowest loss of the first N.

H and W are height and width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeAlias

import torch

from fastnst.exact.engine import minimize
from fastnst.exact.objective import PixelObjective
from fastnst.exact.pyramid import initial_image
from fastnst.exact.result import OptimizeProgress, Trace
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import hardware, load_loss_network, resolve_precision
from fastnst.research.judge import EvaluatedNetwork
from fastnst.research.settings import CompareSettings

# Runs of the fast network: some to warm up, then at least so many, and more while they take no longer than a second.
_WARM_UPS, _LEAST_RUNS, _MOST_RUNS, _RUNS_S = 2, 5, 50, 1.0

# What the fast network may run on beside the exact method on a device of torch's.
_PROVIDERS_OF = {"cpu": ("cpu", "openvino"), "cuda": ("cuda", "tensorrt"), "mps": ("coreml",)}

OnStep: TypeAlias = Callable[[str, int, int, int], None]
"""Called after each exact step with the photo's name, the size, the step and the number of steps."""


TABLE_STEPS = (100, 300, 500)
"""Steps of the exact method that Johnson et al. (2016) compare with in their table 1."""


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


class Comparer:
    """Compares one network with the exact method for one style image; loads the loss network once."""

    def __init__(self, network: EvaluatedNetwork, style: Frame, settings: CompareSettings) -> None:
        """Prepare the loss that a network was trained with, on the same style image, uint8 (H, W, 3).

        Raises WeightsError where the loss network's weights cannot be had.
        """
        self.network, self.settings = network, settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = resolve_precision(settings.precision, self.device)
        loss_network, self.loss_weights = load_loss_network(settings, self.device)
        self._loss = PerceptualLoss(loss_network, settings)
        self.style = resize_long_side(style, settings.style_size)
        """The style image at the size that it is measured at."""

    @property
    def exact_hardware(self) -> str:
        """What computes the exact method, and in which arithmetic."""
        return hardware(self.device, self.dtype)

    @property
    def fast_hardware(self) -> str:
        """What computes the fast network, and in which arithmetic."""
        choice = str(self.network.paint.stylizer.choice)
        return f"{choice} (ONNX Runtime, float32)" if choice == "cpu" else choice

    @property
    def same_hardware(self) -> bool:
        """Both methods run on the same processor, so that their seconds compare."""
        return self.network.paint.stylizer.provider in _PROVIDERS_OF.get(self.device.type, ())

    def run(
        self, photos: Sequence[tuple[str, Frame]], sizes: Sequence[int], on_step: OnStep | None = None
    ) -> Iterator[Comparison]:
        """Compare photo by photo and size by size, each when it is asked for.

        Raises InputError: a picture too small for the loss network; DivergedError: a loss that is no finite number;
        KeyboardInterrupt: Ctrl-C; what was yielded before is whole.
        """
        for name, photo in photos:
            for size in sizes:
                yield self.compare(name, photo, size, on_step)

    def compare(self, name: str, photo: Frame, size: int, on_step: OnStep | None = None) -> Comparison:
        """Paint one photo both ways at a long side of `size` pixels; errors as `run`."""
        content = resize_long_side(photo, size)
        image = to_image(content).to(self.device)
        objective = PixelObjective(self._loss, image, to_image(self.style).to(self.device), self.dtype)
        fast, fast_s = time_painting(self.network.paint, content)
        settings, trace = self.settings.exact(size), Trace()
        objective.evaluate(image)  # warms up, as the fast network is
        recorder = CurveRecorder(objective, settings.steps, on_step and partial(on_step, name, size))
        minimize(objective, initial_image(image, settings), settings, trace, recorder)
        if trace.interrupted:
            raise KeyboardInterrupt
        return Comparison(
            photo=name,
            size=size,
            content=content,
            content_losses=judge(objective, content, self.device),
            fast=fast,
            fast_losses=judge(objective, fast, self.device),
            fast_s=fast_s,
            exact=recorder.frames,
            curve=recorder.curve,
            step_s=median(recorder.durations),
        )


class CurveRecorder:
    """A callback of the exact method that keeps the losses of its pictures, and the time without its own."""

    def __init__(
        self, objective: PixelObjective, steps: int, on_step: Callable[[int, int], None] | None = None
    ) -> None:
        self._objective, self._on_step = objective, on_step
        self._judged, self._shown = judged_steps(steps), set(shown_steps(steps))
        self._resumed = time.perf_counter()
        self._elapsed = 0.0
        self.curve: list[CurvePoint] = []
        self.frames: dict[int, Frame] = {}
        self.durations: list[float] = []

    def __call__(self, progress: OptimizeProgress) -> None:
        """Take a step in."""
        self.durations.append(time.perf_counter() - self._resumed)
        self._elapsed += self.durations[-1]
        step = progress.last.step
        if step in self._judged:
            frame = to_frame(progress.best_image)
            self.curve.append(
                CurvePoint(step, self._elapsed, judge(self._objective, frame, progress.best_image.device))
            )
            if step in self._shown:
                self.frames[step] = frame
        if self._on_step is not None:
            self._on_step(step, progress.steps)
        self._resumed = time.perf_counter()


def judge(objective: PixelObjective, frame: Frame, device: torch.device) -> Judged:
    """Losses of a frame of the objective's size, in float32."""
    return Judged(**objective.judge(to_image(frame).to(device)))


def time_painting(paint: Callable[[Frame], Frame], frame: Frame) -> tuple[Frame, float]:
    """Paint a frame and return it with the median seconds of several runs after warming up."""
    for _ in range(_WARM_UPS):
        painted = paint(frame)
    seconds: list[float] = []
    while len(seconds) < _LEAST_RUNS or (sum(seconds) < _RUNS_S and len(seconds) < _MOST_RUNS):
        started = time.perf_counter()
        painted = paint(frame)
        seconds.append(time.perf_counter() - started)
    return painted, median(seconds)
