"""Training a feed-forward network on one style picture (Johnson et al. 2016) with the perceptual loss."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from fastnst.errors import DivergedError
from fastnst.networks.network import StyleNetwork
from fastnst.perceptual.precision import hardware
from fastnst.training.batches import Batch
from fastnst.training.interrupt import deferred_interrupt
from fastnst.training.resume import check_folder
from fastnst.training.run import Run, set_up
from fastnst.training.settings import TrainSettings
from fastnst.training.watch import Watcher


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step."""

    step: int
    steps: int
    losses: dict[str, float]
    images_per_s: float
    skipped: dict[str, str]
    """Content pictures that could not be used so far, and why."""


Callback: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class TrainResult:
    """A trained network and what is known about its training."""

    network: StyleNetwork
    losses: dict[str, float]
    """Losses on the held-out pictures at the end."""
    elapsed_s: float
    skipped: dict[str, str]
    loss_weights: str
    """Which weights the loss network had."""
    hardware: str
    """What computed, and in which arithmetic."""


def train(
    settings: TrainSettings,
    content: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callback | None = None,
    device: torch.device | None = None,
) -> TrainResult:
    """Train a network on the settings' style picture with the pictures below `content`; state is kept in `folder`.

    Raises OutputError where the folder already holds a training and `resume` is not asked for, CheckpointError
    where it does not fit, InputError without usable pictures, WeightsError, DivergedError.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_folder(folder, resume=resume)
    run = set_up(settings, content, folder, device, resume=resume)
    state = run.state
    started = time.monotonic() - state.elapsed_s
    saved_s = state.elapsed_s
    with Watcher(folder, run.held_out, state.step) as watcher, deferred_interrupt() as interrupt:
        for batch in run.batches():
            progress = _step(run, batch, watcher)
            state.elapsed_s = time.monotonic() - started
            if on_step:
                on_step(progress)
            last = state.step == progress.steps
            if state.step % settings.preview_every == 0 or last:
                state.losses.append({"step": state.step, **watcher.preview(state.step, state.network, run.objective)})
            if state.elapsed_s - saved_s > settings.checkpoint_every_s or interrupt.requested or last:
                run.save()
                saved_s = state.elapsed_s
            if interrupt.requested:
                raise KeyboardInterrupt
    losses, computed_on = state.losses[-1], hardware(device, run.dtype)
    return TrainResult(state.network.eval(), losses, state.elapsed_s, state.skipped, run.loss_weights, computed_on)


def _step(run: Run, batch: Batch, watcher: Watcher) -> Progress:
    """Make one update; raises DivergedError, with the weights as they were, where the loss is not finite."""
    started = time.monotonic()
    state = run.state
    terms = run.forward(batch)
    losses = {name: float(value) for name, value in terms.values.items()}
    _check_finite(losses, state.step, run.folder)
    learning_rate = run.update(terms.total)
    state.step += 1
    state.images += len(batch.samples)
    state.skipped |= dict(batch.skipped)
    rate = len(batch.samples) / (time.monotonic() - started)
    watcher.step(state.step, losses, learning_rate, rate)
    return Progress(state.step, run.pace.steps, losses, rate, state.skipped)


def _check_finite(losses: dict[str, float], step: int, folder: Path) -> None:
    bad = [name for name in ("content", "style", "total_variation") if not math.isfinite(losses[name])]
    if bad:
        raise DivergedError(
            f"step {step + 1}: the {bad[0].replace('_', ' ')} loss is {losses[bad[0]]}; go on from the last good "
            f"state with --resume {folder}, if it comes again with --precision float32 or a lower --learning-rate"
        )
