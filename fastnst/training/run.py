"""One training put together: what is trained, on which pictures, for which objective, and how far it has come."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fastnst.training.checkpoint import CHECKPOINT, TrainState, save_checkpoint, update_ema
from fastnst.training.data import Batch, ContentImages, Portion, content_batches
from fastnst.training.distributed import Processes
from fastnst.training.objective import TrainingObjective
from fastnst.training.schedule import Clock, Schedule, ScheduleProgress, StepSchedule, TimeSchedule
from fastnst.training.settings import TrainSettings, plain

_KEPT_STEP_S = 0.7
"""Of the running mean of a step's seconds."""

GRADIENT_SMOOTHING = 0.95
"""Of the running mean of the gradient's length."""

GRADIENT_CLIPPING = 2.0
"""A gradient that is so many times longer than the last ones is cut to that: a few batches have one that a network does
not recover from for a hundred steps (docs/research/training.md)."""

GPU_EVERY = 25
"""Steps between two that are timed on a GPU: each part must then be waited for, which costs a little."""


class Stopwatch:
    """Splits a step's time over its parts: seconds by name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, float] = {}
        """Seconds of the parts of the newest step that was timed."""
        self._steps, self._running, self._last = 0, False, 0.0

    def start(self) -> None:
        """Begin a step."""
        self._running = self.device.type == "cpu" or self._steps % GPU_EVERY == 0
        self._steps += 1
        self.parts = {}
        self._last = self._now()

    def lap(self, part: str) -> None:
        """End a part of the step: the time since the last call counts to it."""
        if not self._running:
            return
        now = self._now()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        if self._running and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass
class TrainingRun:
    """A training in progress, as one of its processes has it."""

    settings: TrainSettings
    folder: Path
    device: torch.device
    dtype: torch.dtype | None
    """Arithmetic of the networks under autocast; None is float32."""
    processes: Processes
    state: TrainState
    first_objective: TrainingObjective
    fine_tuning_objective: TrainingObjective
    """What the last part of the training is for, and what judges the held-out pictures; it may be the same."""
    pace: StepSchedule | TimeSchedule
    images: ContentImages
    held_out: list[Tensor]
    """Pictures that are kept out of training, each (1, 3, H, W)."""
    style_sha256: str
    loss_weights: str
    """Which weights the loss network has."""
    began: float
    """The time, by time.monotonic, at which this training would have begun had it never stopped."""
    per_pixel: dict[TrainingObjective, float]
    """Multiply-adds of an update for each pixel of its pictures, by what it is for."""
    stopwatch: Stopwatch
    clock: Clock = field(init=False)
    schedule: Schedule = field(init=False)
    progress: ScheduleProgress = field(init=False)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.settings)
        self.clock = Clock(self.state.elapsed_s, self.state.begun_s)
        self.tick(0.0)
        if self.state.step == 0:
            self.state.begun_s = self.clock.begun_s = self.clock.elapsed_s
        self.progress = self.pace.at(self.state.step, self.clock)

    def batches(self) -> Iterator[Batch]:
        """This process's content pictures for the steps to come."""
        return content_batches(
            self.images,
            self._portions(),
            self.settings.workers,
            rank=self.processes.rank,
            world_size=self.processes.count,
            pin_memory=self.device.type == "cuda",
        )

    @property
    def objective(self) -> TrainingObjective:
        """What the next step is for."""
        fine_tunes = self.schedule.fine_tunes(self.progress.done)
        return self.fine_tuning_objective if fine_tunes else self.first_objective

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return self.state.rate_factor * self.schedule.learning_rate(self.progress, self.pace.warm_up)

    @property
    def validation_is_due(self) -> bool:
        """Whether the held-out pictures are to be painted now."""
        return self.state.step % self.settings.preview_every == 0 or self.progress.finished

    def count(self, batch: Batch, gradient: float) -> int:
        """Note that a batch was learnt from, with a gradient so long; returns the pictures over all processes."""
        state, pictures = self.state, batch.size
        mean = state.gradient or gradient
        state.gradient = GRADIENT_SMOOTHING * mean + (1 - GRADIENT_SMOOTHING) * min(gradient, GRADIENT_CLIPPING * mean)
        side = batch.images.shape[2]
        state.multiply_adds += self.per_pixel[self.objective] * pictures * side * side
        state.step += 1
        state.images += pictures
        state.skipped |= dict(batch.skipped)
        if state.ema is not None:
            update_ema(state.ema, state.network, self.settings.ema_decay, state.step)
        return pictures

    def tick(self, took_s: float, *, stop: bool = False) -> bool:
        """Read the clock after a step that took so long; returns whether the main process wants to stop."""
        clock = self.clock
        step_s = _KEPT_STEP_S * clock.step_s + (1 - _KEPT_STEP_S) * took_s if clock.step_s else took_s
        read = [time.monotonic() - self.began, step_s, self.pace.reserve_s, float(stop)]
        clock.elapsed_s, clock.step_s, self.pace.reserve_s, stopping = self.processes.broadcast(read)
        self.state.elapsed_s = clock.elapsed_s
        self.progress = self.pace.at(self.state.step, clock)
        return bool(stopping)

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.state, plain(self.settings), self.style_sha256)

    def _portions(self) -> Iterator[Portion]:
        step, first = self.state.step, self.state.images
        while not (progress := self.pace.at(step, self.clock)).finished:
            stage = self.schedule.stage(progress.done)
            yield Portion(first, stage.batch, stage.crop)
            step, first = step + 1, first + stage.batch
