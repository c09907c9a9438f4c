"""Training a feed-forward network on one style picture (Johnson et al. 2016) with the perceptual loss."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from fastnst.errors import DivergedError, OutputError
from fastnst.losses.precision import hardware
from fastnst.models.network import StyleNetwork
from fastnst.training.distributed import joined, usual_device
from fastnst.training.early_exports import EarlyExport
from fastnst.training.failures import LossGuard, PictureGuard, length, spread
from fastnst.training.interrupt import Interrupt, deferred_interrupt
from fastnst.training.loader import Batch
from fastnst.training.monitor import Look, Watcher, look
from fastnst.training.rescue import MOST_RESCUES, Rescue
from fastnst.training.resume import check_folder
from fastnst.training.run import Run
from fastnst.training.settings import TrainSettings
from fastnst.training.setup import Setup


@dataclass(frozen=True)
class Progress:
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


Callback: TypeAlias = Callable[[Progress], None]

_WEIGHTS, _GRADIENT = "weights", "gradient"


@dataclass(frozen=True)
class TrainCallbacks:
    """What is called while a training runs, by its first process alone."""

    on_step: Callback = lambda _: None
    on_look: Callable[[Look], None] = lambda _: None
    """After the held-out pictures were painted."""
    on_note: Callable[[str], None] = lambda _: None
    """With one line on what the user should know: plans, failures, what was done about them."""


@dataclass(frozen=True)
class TrainResult:
    """A trained network and what is known about its training."""

    network: StyleNetwork
    losses: dict[str, float]
    """Losses on the held-out pictures at the end."""
    steps: int
    images: int
    elapsed_s: float
    multiply_adds: float
    """Arithmetic of all updates, with those of the network it started from where that says."""
    style_weight: float
    skipped: dict[str, str]
    loss_weights: str
    """Which weights the loss network had."""
    hardware: str
    """What computed, and in which arithmetic."""
    settings: TrainSettings
    """The settings, with what a budget has chosen."""


def train(
    settings: TrainSettings,
    content: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callback | None = None,
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
    calls = callbacks or TrainCallbacks(on_step=on_step or (lambda _: None))
    device = device or usual_device()
    check_folder(folder, resume=resume)
    with joined(device) as processes:
        if not processes.leads:
            calls = TrainCallbacks()
        run = Setup(settings, content, folder, device=device, processes=processes, say=calls.on_note).run(
            began, resume=resume
        )
        with deferred_interrupt() as interrupt:
            if processes.leads:
                with Watcher(folder, run.state.step, calls.on_note) as watcher:
                    Loop(run, interrupt, calls, watcher).go()
            else:
                Loop(run, interrupt, calls, None).go()
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


@dataclass(frozen=True)
class Fault:
    """Something that went wrong in a training, in words."""

    words: str
    grave: bool
    """Whether it cannot go on from here; else the pictures have a flaw that they did not have before."""


class Loop:
    """The steps of a training, and what happens between them. Only the first process has a watcher."""

    def __init__(self, run: Run, interrupt: Interrupt, calls: TrainCallbacks, watcher: Watcher | None) -> None:
        self.run, self.interrupt, self.calls, self.watcher = run, interrupt, calls, watcher
        self.losses, self.pictures, self.rescue = LossGuard(), PictureGuard(), Rescue(run.state)
        self.early = EarlyExport(run, calls.on_note)
        self.stopping = False
        self._saved_s = run.state.elapsed_s

    def go(self) -> None:
        """Train until all is done; the checkpoint is the last thing written."""
        run = self.run
        while not run.moment.finished:
            run.stopwatch.start()
            for batch in run.batches():
                fault = self._step(batch) or self._look()
                if fault is not None:
                    self._go_back(fault)
                    break
                self._save()
                if self.stopping and not run.moment.finished:
                    raise KeyboardInterrupt
                if run.moment.finished:
                    break
                run.stopwatch.start()
        seen = run.state.losses[-1]["step"] if run.state.losses else -1
        if self.watcher is not None and seen != run.state.step:  # gone on with after its time was up
            self._show(self.watcher)

    def _step(self, batch: Batch) -> Fault | None:
        """Make one update, and see whether it was a good one: last, so that a GPU is waited for once."""
        run, state = self.run, self.run.state
        started, aim = time.monotonic(), run.aim
        run.stopwatch.lap("data")
        losses, stylized = run.forward(batch)
        learning_rate = run.update(losses.total)
        lengths = {_WEIGHTS: length(run.state.network), _GRADIENT: run.gradient}
        values = run.processes.mean({"total": losses.total, **losses.values} | spread(stylized) | lengths)
        weights, gradient = values.pop(_WEIGHTS), values.pop(_GRADIENT)
        words = self.losses.fault(values)
        if words is None and not math.isfinite(weights):
            words = "the weights are no longer numbers"
        if words is not None:
            return Fault(words, grave=True)
        run.note_gradient(gradient)
        run.stopwatch.lap("update")
        pictures = run.count(batch)
        took_s = time.monotonic() - started
        self.stopping = run.tick(took_s, stop=self.interrupt.requested)
        if run.aim is not aim:  # another loss network judges from now on: its losses, gradients and times are others
            self.losses = LossGuard()
            state.gradient = run.clock.step_s = 0.0
        self.rescue.keep()
        if self.watcher is not None:
            means = {name: values[name] for name in ("total", *losses.values)}
            self.watcher.scalars(
                state.step,
                {f"train/{name}": value for name, value in means.items()}
                | {"train/learning_rate": learning_rate, "speed/images_per_s": pictures / took_s}
                | {"train/gradient": gradient}
                | {"output/level": values["level"], "output/spread": values["spread"]}
                | {f"seconds/{part}": seconds for part, seconds in run.stopwatch.parts.items()},
            )
            moment = run.moment
            self.calls.on_step(Progress(state.step, moment.steps, moment.done, means, pictures / took_s, state.skipped))
        return None

    def _look(self) -> Fault | None:
        """Where it is time to: paint the held-out pictures, and look for flaws that were not there before."""
        run = self.run
        if run.state.step % run.settings.preview_every and not run.moment.finished:
            return None
        words, spoilt = "", False
        if self.watcher is not None:
            seen = self._show(self.watcher)
            flaws, spoilt = self.pictures.faults(seen.painted, seen.photos)
            words = "; ".join(flaws)
        spoilt = spoilt and not self.rescue.exhausted and not run.moment.finished
        (go_back,) = run.processes.decided([float(spoilt)])
        if go_back:
            return Fault(words, grave=False)
        if words:
            self.calls.on_note(f"Step {run.state.step}: {words}.")
        self.rescue.keep_clean()
        return None

    def _show(self, watcher: Watcher) -> Look:
        run, state = self.run, self.run.state
        started = time.monotonic()
        seen = look(run)
        self.early.look_s = time.monotonic() - started
        known = {"step": state.step, "seconds": round(state.elapsed_s, 3), "images": state.images}
        state.losses.append({**known, "multiply_adds": state.multiply_adds, **seen.losses})
        watcher.seen(seen, state.losses)
        self.calls.on_look(seen)
        return seen

    def _go_back(self, fault: Fault) -> None:
        """Return to a good state, with half the learning rate; raises DivergedError where that did not help before."""
        run, state, failed = self.run, self.run.state, self.run.state.step + fault.grave
        if self.rescue.exhausted:
            raise DivergedError(
                f"step {failed}: {fault.words}, after {MOST_RESCUES} returns to a good state with half the learning "
                f"rate each; train anew with --precision float32, a lower --learning-rate or a lower --style-weight "
                f"(the last checkpoint is in {run.folder})"
            )
        self.rescue.go_back(clean=not fault.grave)
        self.losses = LossGuard()
        self.pictures.forget()
        run.tick(run.clock.step_s)
        if self.watcher is not None:
            self.watcher.start_at(state.step)
        self.calls.on_note(
            f"Step {failed}: {fault.words}; going on from step {state.step} with {state.rate_factor:g} of the "
            "learning rate."
        )

    def _save(self) -> None:
        """Write the checkpoint where it is time to. A full disk is waited out, but for the last one."""
        run, now_s = self.run, self.run.clock.elapsed_s
        if self.watcher is None:
            return
        last = self.stopping or run.moment.finished
        if last or now_s - self._saved_s > run.settings.checkpoint_every_s:
            self._saved_s = now_s
            try:
                run.save()
            except OutputError as error:
                if last:
                    raise
                again_s = run.settings.checkpoint_every_s
                self.calls.on_note(f"{error}; training goes on, the next try is in {again_s:.0f} s.")
        if not last:
            self.early.write_if_due()
