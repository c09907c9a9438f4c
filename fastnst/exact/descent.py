"""Two ways down a loss, each asked for the next pixels after every evaluation.

Images are float32 (1, 3, H, W) RGB in [0, 1]; both ways keep them there.
"""

from collections import deque
from typing import Protocol

import torch
from torch import Tensor

# A step is taken back where the loss rises by more than this part of it: bfloat16 moves the loss by some 0.001 of it.
TOLERATED_RISE = 0.01
# Mean change of a pixel in the very first step, before any curvature is known: one level of 255.
FIRST_CHANGE = 1 / 255
MOST_HALVINGS = 4


class Descent(Protocol):
    """A way down: told the loss and its gradient where it stands, it says which image to evaluate next."""

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """Return the next image to evaluate, new memory; the arguments are left as they are."""
        ...


class AdamDescent:
    """Adam (Kingma and Ba 2015), the pixels clamped to [0, 1] after each update."""

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
        self._end, self._steps, self._done = learning_rate if end is None else end, steps, 0
        self._betas, self._epsilon = betas, epsilon
        self._pixels = torch.empty(0)
        self._adam: torch.optim.Adam | None = None

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:  # noqa: ARG002 - Adam needs no loss
        """Return the next image to evaluate."""
        if self._adam is None:
            self._pixels = image.clone()
            self._adam = torch.optim.Adam([self._pixels], lr=1, betas=self._betas, eps=self._epsilon)
        share = min(1.0, self._done / self._steps)
        self._adam.param_groups[0]["lr"] = self.learning_rate + (self._end - self.learning_rate) * share
        self._done += 1
        self._pixels.copy_(image)
        self._pixels.grad = gradient
        self._adam.step()
        return self._pixels.clamp(0, 1)


class LBFGSDescent:
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) in the box [0, 1].

    Full steps without a line search, as each evaluation is dear; a step after which the loss has risen is halved.
    Differs from torch.optim.LBFGS: pixels at a bound that the loss pushes outwards are left out of the direction, and
    curvature is learnt from the change that was made, not from the one before clamping.
    """

    def __init__(self, learning_rate: float = 1.0, history: int = 100) -> None:
        self.learning_rate = learning_rate
        self._pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
        self._stand: tuple[Tensor, float, Tensor] | None = None
        self._halvings = 0

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """Return the next image to evaluate."""
        if self._stand is not None:
            origin, before, gradient_before = self._stand
            self._learn(image - origin, gradient - gradient_before)
            if loss > before * (1 + TOLERATED_RISE):
                return self._shorten(origin, image, gradient_before)
        self._stand, self._halvings = (image, loss, gradient), 0
        return self._advance(image, gradient)

    def _shorten(self, origin: Tensor, image: Tensor, gradient: Tensor) -> Tensor:
        self._halvings += 1
        if self._halvings <= MOST_HALVINGS:
            return (origin + image) / 2
        # What was learnt is wrong here: start again as if this were the first step.
        self._pairs.clear()
        self._halvings = 0
        return self._advance(origin, gradient)

    def _learn(self, change: Tensor, gradient_change: Tensor) -> None:
        curvature = float((change * gradient_change).sum())
        # Of no use where the loss does not curve upwards; the size of float32's noise decides what counts as upwards.
        if curvature > 1e-7 * float(change.norm() * gradient_change.norm()):
            self._pairs.append((change, gradient_change, curvature))

    def _advance(self, image: Tensor, gradient: Tensor) -> Tensor:
        stuck = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        change = self._newton(-gradient.masked_fill(stuck, 0)).masked_fill_(stuck, 0)
        if not self._pairs:
            change *= FIRST_CHANGE / max(float(change.abs().mean()), 1e-30)
        return (image + change * self.learning_rate).clamp(0, 1)

    def _newton(self, direction: Tensor) -> Tensor:
        """Multiply by the inverse Hessian that the pairs describe: the two-loop recursion, algorithm 7.4."""
        if not self._pairs:
            return direction
        parts = []
        for change, gradient_change, curvature in reversed(self._pairs):
            part = (change * direction).sum() / curvature
            parts.append(part)
            direction = direction - part * gradient_change
        change, gradient_change, curvature = self._pairs[-1]
        direction = direction * (curvature / gradient_change.square().sum())
        for (change, gradient_change, curvature), part in zip(self._pairs, reversed(parts), strict=True):
            direction = direction + (part - (gradient_change * direction).sum() / curvature) * change
        return direction
