"""The failures that feed-forward networks are known for: how they are found, and the way back to a good state.

H height, W width in pixels; frames are uint8 (H, W, 3) RGB. docs/train.md says where the limits come from.
"""

import copy
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastnst.errors import DivergedError
from fastnst.io.images import Frame
from fastnst.metrics.artifacts import PERIODS, blob_share, border_excess, grid_energy
from fastnst.training.checkpoint import TrainState
from fastnst.training.objective import Objective
from fastnst.training.run import Monitor, TrainingRun, Validation

RISE = 3.0
"""A loss that has risen to so many times its lowest, both smoothed, runs away."""

SMOOTHING = 0.9
"""Of the loss's running mean: about ten steps long."""

SETTLED = 50
"""Steps after the start from which a loss's rise and flat pictures count."""

FLAT = 0.02
"""Standard deviation of a picture's levels, of 1, below which nothing can be seen in it; photographs have 0.2."""

BORDER, GRID, BLOBS = 4.0, 0.05, 0.02
"""Limits of the artefacts' means over the held-out pictures: twice what the acceptance gate allows of a border, what
can be seen of a grid, and one fiftieth of a picture."""


KEEP_EVERY = 50
"""Steps between two states that are kept. The older of the last two is gone back to: a failure shows late."""

MOST_RESCUES = 3


def spread(stylized: Tensor) -> dict[str, Tensor]:
    """Mean level and standard deviation of painted pictures, (B, 3, H, W), as they are shown: clamped to [0, 1]."""
    shown = stylized.detach().float().clamp(0, 1).flatten(1)
    return {"level": shown.mean(), "spread": shown.std(dim=1).mean()}


def length(network: nn.Module) -> Tensor:
    """Length of the vector of all weights, (): a finite number where all of them are."""
    norms = torch._foreach_norm([value.detach() for value in network.parameters()])
    whole: Tensor = torch.stack(norms).norm()
    return whole


class LossGuard:
    """Finds losses that are no numbers or run away, and pictures of one flat color, from each step's figures."""

    def __init__(self) -> None:
        self._steps, self._running, self._lowest = 0, 0.0, math.inf

    def fault(self, values: Mapping[str, float]) -> str | None:
        """What is wrong with a step, given its losses and `spread`, in words; None where all is well."""
        first = [name for name in ("content", "style", "total_variation", "total") if name in values]
        for name in (*first, *values):
            if not math.isfinite(values[name]):
                return f"the {name.replace('_', ' ')} loss is {values[name]}"
        self._steps += 1
        keep = min(SMOOTHING, 1 - 1 / self._steps)
        self._running = keep * self._running + (1 - keep) * values["total"]
        if self._steps < SETTLED:
            return None
        self._lowest = min(self._lowest, self._running)
        if self._running > RISE * self._lowest:
            return f"the loss ran away, from {self._lowest:.3g} to {self._running:.3g}"
        if values["spread"] < FLAT:
            level = values["level"]
            return f"the pictures are {'black' if level < 0.1 else 'white' if level > 0.9 else 'one flat color'}"
        return None


class PictureGuard:
    """Finds blobs, borders and checkerboards in the held-out pictures, and says each once."""

    def __init__(self) -> None:
        self._clean: set[str] = set()
        self._said: set[str] = set()

    def faults(self, painted: Sequence[Frame], photos: Sequence[Frame]) -> tuple[list[str], bool]:
        """Flaws that were not said yet, in words, and whether one has come over pictures that were clean of it.

        Clean is less than half of the limit: what only goes to and fro about it is no failure, nor is what was there
        from the start, as a network that has hardly begun may be full of them.
        """
        found = measure_flaws(painted, photos)
        over = {name for name, flaw in found.items() if flaw.value > flaw.limit}
        below = {name for name, flaw in found.items() if flaw.value < flaw.limit / 2}
        words = [found[name].words for name in found if name in over - self._said]
        came = bool(over & self._clean)
        self._clean = (self._clean | below) - over
        self._said = (self._said | over) - below
        return words, came

    def forget(self) -> None:
        """Look at what comes next as if for the first time."""
        self._clean, self._said = set(), set()


@dataclass(frozen=True)
class Flaw:
    """An artefact's mean over some pictures, its limit, and what to say of it."""

    value: float
    limit: float
    words: str


def measure_flaws(painted: Sequence[Frame], photos: Sequence[Frame]) -> dict[str, Flaw]:
    """The artefacts of painted pictures beside their photos, by name."""
    pairs = list(zip(painted, photos, strict=True))
    blobs = float(np.mean([blob_share(one, photo) for one, photo in pairs]))
    border = float(np.mean([border_excess(one, photo) for one, photo in pairs]))
    grid = max(float(np.mean([grid_energy(one, period) for one in painted])) for period in PERIODS)
    periods = " or ".join(map(str, PERIODS))
    return {
        "blobs": Flaw(blobs, BLOBS, f"blobs: {blobs:.0%} of the held-out pictures is flat or saturated"),
        "border": Flaw(border, BORDER, f"borders: lines along the edges, {border:.1f} times those inside"),
        "checkerboard": Flaw(grid, GRID, f"a checkerboard: {grid:.0%} of the fine detail repeats every {periods} px"),
    }


@dataclass(frozen=True)
class Snapshot:
    """A copy of what the updates change."""

    step: int
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Any]
    gradient: float


class Rescue:
    """Good states of a training, kept in memory."""

    def __init__(self, state: TrainState) -> None:
        self.state = state
        self._kept: deque[Snapshot] = deque([_copy(state)], maxlen=2)
        self._clean = self._kept[0]

    @property
    def exhausted(self) -> bool:
        """Whether it was tried as often as makes sense."""
        return self.state.rescues >= MOST_RESCUES

    def keep(self) -> None:
        """Remember the state where it is time to; call after each good step."""
        if self.state.step % KEEP_EVERY == 0:
            self._kept.append(_copy(self.state))

    def keep_clean(self) -> None:
        """Remember the state as one whose pictures were looked at and found clean."""
        self._clean = _copy(self.state)

    def go_back(self, *, clean: bool = False) -> None:
        """Put back the older of the last two kept states, or the last clean one, and halve the learning rate.

        The pictures are not gone back over: what comes next is others.
        """
        kept = self._clean if clean else self._kept[0]
        state = self.state
        state.network.load_state_dict(kept.network)
        if state.ema is not None:
            state.ema.load_state_dict(kept.ema)
        state.optimizer.load_state_dict(copy.deepcopy(kept.optimizer))
        state.step, state.gradient = kept.step, kept.gradient
        state.losses = [entry for entry in state.losses if entry["step"] <= kept.step]
        state.rescues += 1
        state.rate_factor /= 2
        self._kept = deque([kept], maxlen=2)
        if self._clean.step > kept.step:
            self._clean = kept


def _copy(state: TrainState) -> Snapshot:
    return Snapshot(
        state.step,
        _clone(state.network.state_dict()),
        _clone(state.ema.state_dict()) if state.ema is not None else {},
        copy.deepcopy(state.optimizer.state_dict()),
        state.gradient,
    )


def _clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


@dataclass(frozen=True)
class Failure:
    """Something that went wrong in a training, in words."""

    words: str
    grave: bool
    """Whether it cannot go on from here; else the pictures have a flaw that they did not have before."""


class Failures:
    """Watches a run, and takes it back to a good state where it fails."""

    def __init__(self, run: TrainingRun, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.losses, self.pictures, self.rescue = LossGuard(), PictureGuard(), Rescue(run.state)

    def of_step(self, values: Mapping[str, float]) -> Failure | None:
        """What is wrong with an update, given its losses, `spread`, and the "weights" and the "gradient" by length."""
        words = self.losses.fault({name: values[name] for name in values if name not in ("weights", "gradient")})
        if words is None and not math.isfinite(values["weights"]):
            words = "the weights are no longer numbers"
        return None if words is None else Failure(words, grave=True)

    def note_good_step(self, objective: Objective) -> None:
        """Keep the state where it is time to; `objective` is what the step was for."""
        if self.run.objective is not objective:  # another loss network judges from now on: its figures are others
            self.losses = LossGuard()
            self.run.state.gradient = self.run.clock.step_s = 0.0
        self.rescue.keep()

    def of_pictures(self, seen: Validation | None) -> Failure | None:
        """What has come over the held-out pictures; the main process, which has seen them, decides for all."""
        words, spoilt = "", False
        if seen is not None:
            flaws, spoilt = self.pictures.faults(seen.painted, seen.photos)
            words = "; ".join(flaws)
        spoilt = spoilt and not self.rescue.exhausted and not self.run.progress.finished
        (go_back,) = self.run.processes.broadcast([float(spoilt)])
        if go_back:
            return Failure(words, grave=False)
        if words:
            self.say(f"Step {self.run.state.step}: {words}.")
        self.rescue.keep_clean()
        return None

    def go_back(self, failure: Failure, monitor: Monitor | None) -> None:
        """Return to a good state, with half the learning rate; raises DivergedError where that did not help before."""
        run, state, failed = self.run, self.run.state, self.run.state.step + failure.grave
        if self.rescue.exhausted:
            raise DivergedError(
                f"step {failed}: {failure.words}, after {MOST_RESCUES} returns to a good state with half the learning "
                f"rate each; train anew with --precision float32, a lower --learning-rate or a lower --style-weight "
                f"(the last checkpoint is in {run.folder})"
            )
        self.rescue.go_back(clean=not failure.grave)
        self.losses = LossGuard()
        self.pictures.forget()
        run.tick(run.clock.step_s)
        if monitor is not None:
            monitor.start_at(state.step)
        self.say(
            f"Step {failed}: {failure.words}; going on from step {state.step} with {state.rate_factor:g} of the "
            "learning rate."
        )
