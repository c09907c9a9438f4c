"""Training a feed-forward network (Johnson et al. 2016) with the perceptual loss: `train_network` is all of a step.

Images are float (B, 3, H, W) RGB in [0, 1].
"""

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from fastnst.io.tensors import quiet_tensorboard
from fastnst.losses.weights import hardware
from fastnst.machine import flag_on_signals
from fastnst.training.checkpoint import Resume, check_folder
from fastnst.training.failures import Failures, length, spread
from fastnst.training.processes import is_main, joined, usual_device
from fastnst.training.results import Saving, TrainResult
from fastnst.training.run import GRADIENT_CLIPPING, Monitor, TrainingRun, Validation, validate
from fastnst.training.settings import TrainSettings
from fastnst.training.setup import Setup


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands after a step."""

    step: int
    steps: int
    """Steps in all; with a budget of time, as far as is known."""
    done: float
    """Part of the training that is done, 0 to 1."""
    losses: dict[str, float]
    images_per_s: float
    skipped: dict[str, str]
    """Content pictures that could not be used so far, and why."""

    @classmethod
    def of(cls, run: TrainingRun, losses: dict[str, float], images_per_s: float) -> "TrainProgress":
        """Of a run, after a step with these losses at this speed."""
        progress, state = run.progress, run.state
        return cls(state.step, progress.steps, progress.done, losses, images_per_s, state.skipped)


OnStep: TypeAlias = Callable[[TrainProgress], None]


@dataclass(frozen=True)
class TrainCallbacks:
    """What is called while a training runs, by its first process alone.

    Examples:
        >>> callbacks = TrainCallbacks(on_note=print)
        >>> callbacks.on_note("going back to step 200")
        going back to step 200
    """

    on_step: OnStep = lambda _: None
    on_validation: Callable[[Validation], None] = lambda _: None
    """After the held-out pictures were stylized."""
    on_note: Callable[[str], None] = lambda _: None
    """With one line on what the user should know: plans, failures, what was done about them."""


def train_network(
    run: TrainingRun, callbacks: TrainCallbacks, interrupt: threading.Event, monitor: Monitor | None
) -> None:
    """Train until all is done; the checkpoint is the last thing written. Only the main process has a monitor."""
    state, processes, stopwatch = run.state, run.processes, run.stopwatch
    network, optimizer = processes.wrap(state.network), state.optimizer
    failures, saving = Failures(run, callbacks.on_note), Saving(run, callbacks.on_note)
    while not run.progress.finished:
        stopwatch.start()
        for batch in run.batches():
            # Data: content pictures.
            started, objective, learning_rate = time.monotonic(), run.objective, run.learning_rate
            images = batch.images.to(run.device, memory_format=torch.channels_last, non_blocking=True).float() / 255
            stopwatch.lap("data")

            # Forward, loss, backward, update.
            losses, stylized = objective(network, images, batch.samples, state.step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.zero_grad(set_to_none=True)
            share = processes.weight(len(batch.samples), batch.size)
            (losses.total * share).backward()  # type: ignore[no-untyped-call]
            limit = GRADIENT_CLIPPING * state.gradient if state.gradient else math.inf
            gradient = nn.utils.clip_grad_norm_(state.network.parameters(), limit)
            optimizer.step()

            # What came of it, the mean of all processes: here a GPU is waited for, once.
            sizes = {"gradient": gradient, "weights": length(state.network)}
            values = processes.mean({"total": losses.total, **losses.values, **spread(stylized), **sizes}, share)
            stopwatch.lap("update")
            failure = failures.of_step(values)
            if failure is None:
                pictures, took_s = run.count(batch, values["gradient"]), time.monotonic() - started
                stopping = run.tick(took_s, stop=interrupt.is_set())
                failures.note_good_step(objective)

                # Log, and look at the held-out pictures now and then.
                if monitor is not None:
                    means = {name: values[name] for name in ("total", *losses.values)}
                    speed = {"train/learning_rate": learning_rate, "speed/images_per_s": pictures / took_s}
                    monitor.log_step(state.step, means, values, speed, stopwatch.parts)
                    callbacks.on_step(TrainProgress.of(run, means, pictures / took_s))
                if run.validation_is_due:
                    seen = None if monitor is None else _validate(run, monitor, saving, callbacks)
                    failure = failures.of_pictures(seen)
            if failure is not None:
                failures.go_back(failure, monitor)  # to a good state, with half the learning rate
                break

            # Save.
            if monitor is not None:
                saving.save_if_due(last=stopping or run.progress.finished)
            if stopping and not run.progress.finished:
                raise KeyboardInterrupt
            if run.progress.finished:
                break
            stopwatch.start()
    if monitor is not None and state.validated_step != state.step:  # resumed after its time was up
        _validate(run, monitor, saving, callbacks)


def _validate(run: TrainingRun, monitor: Monitor, saving: Saving, callbacks: TrainCallbacks) -> Validation:
    state, started = run.state, time.monotonic()
    seen = validate(run)
    saving.early_export.validation_s = time.monotonic() - started
    known = {"step": state.step, "seconds": round(state.elapsed_s, 3), "images": state.images}
    state.losses.append({**known, "multiply_adds": state.multiply_adds, **seen.losses})
    monitor.log_validation(seen, state.losses)
    callbacks.on_validation(seen)
    return seen


def run_training(
    settings: TrainSettings,
    content: Path,
    folder: Path,
    *,
    resume: Resume = False,
    on_step: OnStep | None = None,
    callbacks: TrainCallbacks | None = None,
    device: torch.device | None = None,
    began: float | None = None,
) -> TrainResult:
    """Train a network on the settings' style picture with the pictures below `content`; state is kept in `folder`.

    Started by torchrun, all processes call this, train together, and get the same network. `began` is the time by
    time.monotonic from which a budget counts; by default now.

    Raises OutputError where the folder already holds a training and `resume` is not asked for, CheckpointError
    where it does not fit, InputError without usable pictures, WeightsError, DivergedError.
    """
    began = time.monotonic() if began is None else began
    callbacks = callbacks or TrainCallbacks(on_step=on_step or (lambda _: None))
    device = device or usual_device()
    if is_main():  # which writes there, and may have by now where another process looks
        check_folder(folder, resume=resume)
    with joined(device) as processes:
        if not processes.is_main:
            callbacks = TrainCallbacks()
        setup = Setup(settings, content, folder, device=device, processes=processes, say=callbacks.on_note)
        run = setup.run(began, resume=resume)
        with flag_on_signals(signal.SIGINT) as interrupt:
            if processes.is_main:
                with quiet_tensorboard(), Monitor(folder, run.state.step, callbacks.on_note) as monitor:
                    train_network(run, callbacks, interrupt, monitor)
            else:
                train_network(run, callbacks, interrupt, None)
    state = run.state
    return TrainResult(
        network=state.shown.eval(),
        losses=state.losses[-1] if state.losses else {},
        steps=state.step,
        images=state.images,
        elapsed_s=state.elapsed_s,
        multiply_adds=state.multiply_adds,
        style_weight=state.style_weight,
        skipped=state.skipped,
        loss_weights=run.loss_weights,
        hardware=hardware(device, run.dtype),
        settings=run.settings,
    )
