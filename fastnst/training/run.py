"""One training put together: what is trained, what for, on which pictures, and the update of one step.

Images are float (B, 3, H, W) RGB in [0, 1].
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from fastnst.losses.perceptual import Losses
from fastnst.training.checkpoint import CHECKPOINT, save_checkpoint
from fastnst.training.data import ContentImages
from fastnst.training.distributed import Processes
from fastnst.training.ema import update_average
from fastnst.training.loader import Batch, Portion, content_batches
from fastnst.training.objective import Objective, Paint
from fastnst.training.progress import Clock, Moment, StepPace, TimePace
from fastnst.training.schedule import Schedule
from fastnst.training.settings import TrainSettings, plain
from fastnst.training.state import TrainState
from fastnst.training.stopwatch import Stopwatch

LONGEST = 2.0
"""A gradient that is so many times longer than the last ones is cut to that: a few batches have one that a network does
not recover from for a hundred steps (docs/training.md)."""

_STEADY = 0.7  # of the running mean of a step's seconds
_STEADY_GRADIENT = 0.95


@dataclass
class Run:
    """A training in progress, as one of its processes has it."""

    settings: TrainSettings
    folder: Path
    device: torch.device
    dtype: torch.dtype | None
    """Arithmetic of the networks under autocast; None is float32."""
    processes: Processes
    state: TrainState
    objective: Objective
    polish: Objective
    """What the last part of the training is for, and what judges the held-out pictures; it may be the same."""
    pace: StepPace | TimePace
    images: ContentImages
    held_out: list[Tensor]
    """Pictures that are kept out of training, each (1, 3, H, W)."""
    style_sha256: str
    loss_weights: str
    """Which weights the loss network has."""
    began: float
    """The time, by time.monotonic, at which this training would have begun had it never stopped."""
    per_pixel: dict[Objective, float]
    """Multiply-adds of an update for each pixel of its pictures, by what it is for."""
    stopwatch: Stopwatch
    clock: Clock = field(init=False)
    moment: Moment = field(init=False)
    gradient: Tensor = field(init=False)
    """Length of the last step's gradient before it was cut, ()."""

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.settings)
        self._paint: Paint = self.processes.together(self.state.network)
        self.clock = Clock(self.state.elapsed_s, self.state.begun_s)
        self.tick(0.0)
        if self.state.step == 0:
            self.state.begun_s = self.clock.begun_s = self.clock.elapsed_s
        self.moment = self.pace.at(self.state.step, self.clock)

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

    def forward(self, batch: Batch) -> tuple[Losses, Tensor]:
        """Paint a batch and judge the result."""
        images = batch.images.to(self.device, memory_format=torch.channels_last, non_blocking=True).float() / 255
        return self.aim(self._paint, images, batch.samples)

    @property
    def aim(self) -> Objective:
        """What the next step is for."""
        return self.polish if self.schedule.polishes(self.moment.done) else self.objective

    def update(self, total: Tensor) -> float:
        """Change the weights so that the loss falls; returns the learning rate."""
        state = self.state
        learning_rate = state.rate_factor * self.schedule.learning_rate(self.moment, self.pace.warm_up)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        state.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        limit = LONGEST * state.gradient if state.gradient else math.inf
        self.gradient = nn.utils.clip_grad_norm_(state.network.parameters(), limit)
        state.optimizer.step()
        return learning_rate

    def note_gradient(self, length: float) -> None:
        """Remember how long a gradient was, before it was cut."""
        state = self.state
        mean = state.gradient or length
        state.gradient = _STEADY_GRADIENT * mean + (1 - _STEADY_GRADIENT) * min(length, LONGEST * mean)

    def count(self, batch: Batch) -> int:
        """Note that a batch was learnt from; returns the pictures of the step, over all processes."""
        state, pictures = self.state, len(batch.samples) * self.processes.count
        state.multiply_adds += self.per_pixel[self.aim] * pictures * batch.images.shape[2] * batch.images.shape[3]
        state.step += 1
        state.images += pictures
        state.skipped |= dict(batch.skipped)
        if state.average is not None:
            update_average(state.average, state.network, self.settings.average, state.step)
        return pictures

    def tick(self, took_s: float, *, stop: bool = False) -> bool:
        """Read the clock after a step that took so long; returns whether the leader wants to stop."""
        clock = self.clock
        step_s = _STEADY * clock.step_s + (1 - _STEADY) * took_s if clock.step_s else took_s
        told = [time.monotonic() - self.began, step_s, self.pace.reserve_s, float(stop)]
        clock.elapsed_s, clock.step_s, self.pace.reserve_s, stopping = self.processes.decided(told)
        self.state.elapsed_s = clock.elapsed_s
        self.moment = self.pace.at(self.state.step, clock)
        return bool(stopping)

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.state, plain(self.settings), self.style_sha256)

    def _portions(self) -> Iterator[Portion]:
        step, first = self.state.step, self.state.images
        while not (moment := self.pace.at(step, self.clock)).finished:
            stage = self.schedule.stage(moment.done)
            yield Portion(first, stage.batch, stage.crop)
            step, first = step + 1, first + stage.batch
