"""Going back to the last good state when a training fails, with half the learning rate."""

import copy
from collections import deque
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fastnst.training.state import TrainState

KEEP_EVERY = 50
"""Steps between two states that are kept. The older of the last two is gone back to: a failure shows late."""

MOST_RESCUES = 3


@dataclass(frozen=True)
class Snapshot:
    """A copy of what the updates change."""

    step: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]
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
        if state.average is not None:
            state.average.load_state_dict(kept.average)
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
        _clone(state.average.state_dict()) if state.average is not None else {},
        copy.deepcopy(state.optimizer.state_dict()),
        state.gradient,
    )


def _clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}
