"""Two ways down a loss, each asked for the next pixels after every evaluation.

Images are float32 (1, 3, H, W) RGB in [0, 1]; both ways keep them there.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from fastnst.exact.lbfgs import LBFGSDescent
from fastnst.exact.pyramid import enlarge
from fastnst.exact.settings import OptimizeSettings

DescentState = dict[str, Tensor]


class PixelOptimizer(Protocol):
    """A way down: told the loss and its gradient where it stands, it says which image to evaluate next."""

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """Return the next image to evaluate, new memory; the arguments are left as they are."""
        ...

    def grow(self, size: tuple[int, int]) -> None:
        """Go on with images of another size, (height, width): what was learnt is carried over or forgotten."""
        ...

    def forget(self) -> None:
        """Go on from another image or down another loss: what was learnt does not hold there."""
        ...

    def state(self) -> DescentState:
        """All that changes, for a checkpoint: loaded into a new descent of the same settings, it goes on alike."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        ...


def new_descent(settings: OptimizeSettings) -> PixelOptimizer:
    """The way down that the settings name."""
    if settings.optimizer == "adam":
        return AdamDescent(
            settings.learning_rate or 10 / 255,
            settings.learning_rate_end,
            settings.learning_rate_steps or settings.steps,
            (settings.adam_beta1, settings.adam_beta2),
            settings.adam_epsilon,
        )
    return LBFGSDescent(settings.learning_rate or 1.0, settings.history)


class AdamDescent:
    """Adam (Kingma and Ba 2015, algorithm 1), the pixels clamped to [0, 1] after each update."""

    def __init__(
        self,
        learning_rate: float = 10 / 255,
        end: float | None = None,
        steps: int = 1,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-12,
    ) -> None:
        """Take Adam's settings; the learning rate falls linearly to `end` over that many steps, or stays (None)."""
        self.learning_rate = learning_rate
        self._end, self._steps = learning_rate if end is None else end, steps
        self._betas, self._epsilon = betas, epsilon
        self._done, self._updates = 0, 0
        self._mean = self._square = torch.empty(0)

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:  # noqa: ARG002 - Adam needs no loss
        """Return the next image to evaluate."""
        if not self._updates:
            self._mean, self._square = torch.zeros_like(image), torch.zeros_like(image)
        share = min(1.0, self._done / self._steps)
        learning_rate = self.learning_rate + (self._end - self.learning_rate) * share
        self._done, self._updates = self._done + 1, self._updates + 1
        first, second = self._betas
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (self._square / (1 - second**self._updates)).sqrt_().add_(self._epsilon)
        return torch.addcdiv(image, self._mean, size, value=-learning_rate / (1 - first**self._updates)).clamp_(0, 1)

    def grow(self, size: tuple[int, int]) -> None:
        """Enlarge the moments. The loss is a mean over pixels: a pixel's gradient shrinks as their number grows."""
        if self._updates:
            height, width = self._mean.shape[2:]
            share = height * width / (size[0] * size[1])
            self._mean = enlarge(self._mean, size) * share
            # The cubic overshoots: a square must not fall below 0.
            self._square = enlarge(self._square, size).clamp_(min=0) * share**2

    def forget(self) -> None:
        """Drop the moments; the learning rate goes on falling."""
        self._updates = 0
        self._mean = self._square = torch.empty(0)

    def state(self) -> DescentState:
        """The two moments and the number of updates."""
        counts = torch.tensor([self._done, self._updates])
        return {"counts": counts, "mean": self._mean, "square": self._square}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._done, self._updates = state["counts"].tolist()
        self._mean, self._square = state["mean"].clone(), state["square"].clone()
        if min(self._done, self._updates) < 0 or (self._updates and self._mean.ndim != 4):
            raise ValueError("the moments do not fit the number of updates")
