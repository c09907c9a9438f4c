"""One training put together: what is trained, what for, on which pictures, and the update of one step.

Images are float (B, 3, H, W) RGB in [0, 1].
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastnst.images import Frame, read_frame
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import resolve_precision
from fastnst.perceptual.weights import load_loss_network
from fastnst.training.batches import Batch, Portion, content_batches
from fastnst.training.checkpoint import CHECKPOINT, save_checkpoint
from fastnst.training.content import ContentImages, held_out
from fastnst.training.objective import Objective, Terms
from fastnst.training.resume import go_on
from fastnst.training.schedule import Schedule, StepPace
from fastnst.training.settings import TrainSettings, plain
from fastnst.training.state import TrainState, new_state

HELD_OUT_COUNT = 4


@dataclass
class Run:
    """A training in progress."""

    settings: TrainSettings
    folder: Path
    device: torch.device
    dtype: torch.dtype | None
    """Arithmetic of the networks under autocast; None is float32."""
    state: TrainState
    objective: Objective
    schedule: Schedule
    pace: StepPace
    images: ContentImages
    held_out: list[Tensor]
    """Pictures that are kept out of training, each (1, 3, H, W)."""
    style_sha256: str
    loss_weights: str
    """Which weights the loss network has."""

    def batches(self) -> Iterator[Batch]:
        """The content pictures of the steps to come."""
        return content_batches(self.images, self._portions(), self.settings.workers)

    def forward(self, batch: Batch) -> Terms:
        """Paint a batch and judge the result."""
        images = batch.images.to(self.device, memory_format=torch.channels_last).float() / 255
        return self.objective(self.state.network, images, batch.samples)

    def update(self, total: Tensor) -> float:
        """Change the weights so that the loss falls; returns the learning rate."""
        step, pace, optimizer = self.state.step, self.pace, self.state.optimizer
        learning_rate = self.schedule.learning_rate(pace.done(step), pace.done(step + 1), pace.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return learning_rate

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.state, plain(self.settings), self.style_sha256)

    def _portions(self) -> Iterator[Portion]:
        step, first = self.state.step, self.state.images
        while step < self.pace.steps:
            stage = self.schedule.stage(self.pace.done(step))
            yield Portion(first, stage.batch, stage.crop)
            step, first = step + 1, first + stage.batch


def set_up(settings: TrainSettings, content: Path, folder: Path, device: torch.device, *, resume: bool) -> Run:
    """Load and measure all that a training needs; with `resume` it stands where the folder's checkpoint does.

    Raises InputError, WeightsError, CheckpointError.
    """
    style = read_frame(settings.style)
    dtype = resolve_precision(settings.precision, device)
    loss_network, loss_weights = load_loss_network(settings, device)
    state = new_state(settings, device)
    if resume:
        go_on(folder / CHECKPOINT, state, settings, digest(style))
    held = held_out(content, HELD_OUT_COUNT, settings.crop)
    state.skipped |= dict(held.skipped)
    loss = PerceptualLoss(loss_network, settings)
    return Run(
        settings=settings,
        folder=folder,
        device=device,
        dtype=dtype,
        state=state,
        objective=Objective(loss, style, settings, stride=state.network.stride, device=device, dtype=dtype),
        schedule=Schedule(settings),
        pace=StepPace(settings.steps),
        images=ContentImages(content, settings.crop, settings.seed, exclude=held.names),
        held_out=list(torch.split(held.images.to(device).float() / 255, 1)),
        style_sha256=digest(style),
        loss_weights=loss_weights,
    )


def digest(style: Frame) -> str:
    """SHA-256 of a picture's pixels."""
    return hashlib.sha256(style.tobytes()).hexdigest()
