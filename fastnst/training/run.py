"""One training put together: what is trained, on which pictures, for which objective, how far it has come; and what it
shows of that: TensorBoard events, a table of losses, a sheet of stylized held-out pictures.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import OutputError
from fastnst.io.files import atomic_path, write_atomically
from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame
from fastnst.training.checkpoint import CHECKPOINT, TrainState, save_checkpoint, update_ema
from fastnst.training.data import Batch, ContentImages, Portion, content_batches
from fastnst.training.objective import ImitationObjective, Objective, TrainingObjective
from fastnst.training.processes import Processes
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
    imitation: ImitationObjective | None
    """What the first part is for, where there is a teacher."""
    pace: StepSchedule | TimeSchedule
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
    def objective(self) -> Objective:
        """What the next step is for."""
        if self.imitation is not None and self.progress.done < self.settings.imitation_fraction:
            return self.imitation
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


SHEET, TABLE = "preview.png", "losses.csv"


@dataclass(frozen=True)
class Validation:
    """The held-out pictures as a network paints them."""

    step: int
    photos: list[Frame]
    """Where the network knows several styles, once for each."""

    painted: list[Frame]
    losses: dict[str, float]
    """Means over the pictures, by name; with several styles, content and style of each as well, as "style munch"."""

    def sheet(self) -> Frame:
        """All photos above, what became of them below, uint8 (H, W, 3)."""
        columns = [np.concatenate(pair, axis=0) for pair in zip(self.photos, self.painted, strict=True)]
        sheet: Frame = np.concatenate(columns, axis=1)
        return sheet


def validate(run: TrainingRun) -> Validation:
    """Paint the held-out pictures, one by one, and measure the results."""
    network = run.state.shown.eval()
    painted: list[Frame] = []
    by_style: dict[str, dict[str, float]] = {}
    for number, style in enumerate(run.settings.style_names):
        measured = []
        for image in run.held_out:
            stylized, losses = run.fine_tuning_objective.measure(network, image, number)
            painted.append(to_frame(stylized))
            measured.append(losses)
        by_style[style] = {name: float(np.mean([row[name] for row in measured])) for name in measured[0]}
    network.train()
    each = list(by_style.values())
    means = {name: float(np.mean([losses[name] for losses in each])) for name in each[0]}
    if len(each) > 1:
        means |= {f"{term} {style}": by_style[style][term] for style in by_style for term in ("content", "style")}
    return Validation(run.state.step, [to_frame(image) for image in run.held_out] * len(each), painted, means)


class Monitor:
    """Keeps all that is shown in the training's folder; a disk that is full ends no training, it is said once."""

    def __init__(self, folder: Path, first_step: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._said = False
        self._writer: SummaryWriter | None = None
        self.start_at(first_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start_at(self, step: int) -> None:
        """Write events from after `step` on; those of later steps, which are done again, are dropped."""
        self._close()

        def open_writer() -> None:
            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1 if step else None)

        self._try(open_writer)

    def log_step(
        self,
        step: int,
        losses: Mapping[str, float],
        values: Mapping[str, float],
        speed: Mapping[str, float],
        seconds: Mapping[str, float],
    ) -> None:
        """Note the losses of a step, what else is known of it, and the seconds of its parts."""
        self._scalars(
            step,
            {f"train/{name}": value for name, value in losses.items()}
            | dict(speed)
            | {"train/gradient": values["gradient"]}
            | {"output/level": values["level"], "output/spread": values["spread"]}
            | {f"seconds/{part}": value for part, value in seconds.items()},
        )

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if (writer := self._writer) is not None:

            def write() -> None:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)

            self._try(write)

    def log_validation(self, seen: Validation, rows: Sequence[Mapping[str, float]]) -> None:
        """Keep the held-out pictures as they were painted, and the table of all their losses so far."""
        sheet = seen.sheet()
        self._scalars(seen.step, {f"held-out/{name}": value for name, value in seen.losses.items()})
        if (writer := self._writer) is not None:

            def write() -> None:
                writer.add_image("held-out", sheet, seen.step, dataformats="HWC")
                writer.flush()

            self._try(write)
        self._try(lambda: _write_sheet(self.folder / SHEET, sheet))
        self._try(lambda: write_atomically(self.folder / TABLE, _table(rows)))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, OutputError) as error:
            self._writer = None
            if not self._said:
                self._said = True
                self.say(
                    f"{self.folder}: TensorBoard events and previews cannot be kept ({error}); training continues."
                )

    def _close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()


def _write_sheet(path: Path, sheet: Frame) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _table(rows: Sequence[Mapping[str, float]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
