"""Training a feed-forward network on one style picture (Johnson et al. 2016) with the perceptual loss.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fastnst.errors import CheckpointError, DivergedError, OutputError
from fastnst.images import Frame, fit_long_side, read_frame, resize_frame
from fastnst.networks.kinds import build_network
from fastnst.networks.model import load_model
from fastnst.networks.network import StyleNetwork
from fastnst.perceptual.losses import lattice_pattern
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import autocast, hardware, resolve_precision
from fastnst.perceptual.weights import load_loss_network
from fastnst.tensors import to_image
from fastnst.training.checkpoint import CHECKPOINT, TrainState, load_checkpoint, save_checkpoint
from fastnst.training.content import ContentImages, content_batches, held_out
from fastnst.training.interrupt import deferred_interrupt
from fastnst.training.settings import TrainSettings
from fastnst.training.watch import Watcher

WARM_UP_STEPS = 50
HELD_OUT_COUNT = 4
# Settings that may differ between a run and the one that goes on with its checkpoint.
FREE_ON_RESUME = {
    "style",  # the picture's content is compared instead
    "start",
    "name",
    "licence",
    "content",
    "loss_weights",
    "workers",
    "preview_every",
    "checkpoint_every_s",
    "precision",
}


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


def check_folder(folder: Path, *, resume: bool) -> None:
    """Raise OutputError where a new training would overwrite the one that `folder` holds."""
    if (folder / CHECKPOINT).exists() and not resume:
        raise OutputError(f"{folder}: holds a training already; go on with --resume {folder}, or choose another -o")


def learning_rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate of an update, counted from 0: linear warm-up, then half a cosine down to 0 after the last one."""
    warm_up = min(WARM_UP_STEPS, settings.steps)
    if step < warm_up:
        return settings.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, settings.steps - warm_up)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


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
    checkpoint = folder / CHECKPOINT
    style = read_frame(settings.style)
    dtype = resolve_precision(settings.precision, device)
    loss_network, loss_weights = load_loss_network(settings, device)
    loss = PerceptualLoss(loss_network, settings)
    state = new_state(settings, device)
    if resume:
        _continue(checkpoint, state, settings, style)
    held = held_out(content, HELD_OUT_COUNT, settings.crop)
    images = ContentImages(content, settings.crop, settings.seed, exclude=held.names)
    state.skipped |= dict(held.skipped)
    started = time.monotonic() - state.elapsed_s
    saved_s = state.elapsed_s
    with (
        Watcher(folder, torch.split(held.images.to(device).float() / 255, 1), state.step) as watcher,
        deferred_interrupt() as interrupt,
    ):
        with autocast(device, dtype):
            size = fit_long_side(style.shape[:2], settings.style_size)
            style_reference = loss.measure_style(to_image(resize_frame(style, size)).to(device))
        batches = content_batches(
            images, settings.batch, state.step, settings.steps - state.step, workers=settings.workers
        )
        for batch, skipped in batches:
            step_started = time.monotonic()
            image = batch.to(device, memory_format=torch.channels_last).float() / 255
            with autocast(device, dtype):
                stylized = state.network(image)
                terms = loss.terms(stylized, loss.measure_content(image), style_reference)
            lattice = lattice_pattern(stylized, state.network.stride).mean()
            total = terms.total + settings.lattice_weight * lattice
            losses = terms.floats() | {"total": float(total.detach()), "lattice": float(lattice.detach())}
            _check_finite(losses, state.step, folder)
            learning_rate = _update(state, total, settings)
            state.step += 1
            state.elapsed_s = time.monotonic() - started
            state.skipped |= dict(skipped)
            rate = len(batch) / (time.monotonic() - step_started)
            watcher.step(state.step, losses, learning_rate, rate)
            if on_step:
                on_step(Progress(state.step, settings.steps, losses, rate, state.skipped))
            if state.step % settings.preview_every == 0 or state.step == settings.steps:
                with autocast(device, dtype):
                    measured = watcher.preview(state.step, state.network, loss, style_reference)
                state.losses.append({"step": state.step, **measured})
            due = state.elapsed_s - saved_s > settings.checkpoint_every_s
            if due or interrupt.requested or state.step == settings.steps:
                save_checkpoint(checkpoint, state, plain(settings), _digest(style))
                saved_s = state.elapsed_s
            if interrupt.requested:
                raise KeyboardInterrupt
    network, losses = state.network.eval(), state.losses[-1]
    return TrainResult(network, losses, state.elapsed_s, state.skipped, loss_weights, hardware(device, dtype))


def new_state(settings: TrainSettings, device: torch.device) -> TrainState:
    """Network and optimiser before the first step; the same seed gives the same weights on every device."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.network_spec)
    if settings.start is not None:
        trained, info = load_model(settings.start)
        if info.network != settings.network_spec:
            raise CheckpointError(
                f"{settings.start}: a network of {_described(info.network)} ({info.style}); asked for is one of "
                f"{_described(settings.network_spec)}"
            )
        network.load_state_dict(trained.state_dict())
    network.to(memory_format=torch.channels_last).to(device).train()
    return TrainState(network, torch.optim.Adam(network.parameters(), settings.learning_rate))


def _described(spec: dict[str, int | str]) -> str:
    return " ".join(f"{name} {value}" for name, value in spec.items())


def plain(settings: TrainSettings) -> dict[str, Any]:
    """Settings as values that JSON and TOML hold; what is unset is left out."""
    values = dataclasses.asdict(settings)
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def _digest(style: Frame) -> str:
    return hashlib.sha256(style.tobytes()).hexdigest()


def _continue(checkpoint: Path, state: TrainState, settings: TrainSettings, style: Frame) -> None:
    saved, style_sha256 = load_checkpoint(checkpoint, state)
    if style_sha256 != _digest(style):
        raise CheckpointError(
            f"{checkpoint}: was trained on another style picture than {settings.style}; give that one"
        )
    for name, value in plain(settings).items():
        if name not in FREE_ON_RESUME and name in saved and saved[name] != value:
            raise CheckpointError(
                f"{checkpoint}: was trained with {name} = {saved[name]}, now it is {value}; leave that setting out"
            )


def _check_finite(losses: dict[str, float], step: int, folder: Path) -> None:
    bad = [name for name in ("content", "style", "total_variation") if not math.isfinite(losses[name])]
    if bad:
        raise DivergedError(
            f"step {step + 1}: the {bad[0].replace('_', ' ')} loss is {losses[bad[0]]}; go on from the last good "
            f"state with --resume {folder}, if it comes again with --precision float32 or a lower --learning-rate"
        )


def _update(state: TrainState, total: Tensor, settings: TrainSettings) -> float:
    learning_rate = learning_rate_at(state.step, settings)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return learning_rate
