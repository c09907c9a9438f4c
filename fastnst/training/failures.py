"""Watching a training for the failures that feed-forward networks are known for.

H height, W width in pixels; frames are uint8 (H, W, 3) RGB. docs/training.md says where the limits come from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fastnst.io.images import Frame
from fastnst.metrics.artifacts import PERIODS, blob_share, border_excess, grid_energy

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
    """Finds losses that are no numbers or run away, and pictures of one flat colour, from each step's figures."""

    def __init__(self) -> None:
        self._steps, self._running, self._lowest = 0, 0.0, math.inf

    def fault(self, values: Mapping[str, float]) -> str | None:
        """What is wrong with a step, given its losses and `spread`, in words; None where all is well."""
        for name in ("content", "style", "total_variation", "total", *values):
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
            return f"the pictures are {'black' if level < 0.1 else 'white' if level > 0.9 else 'one flat colour'}"
        return None


class PictureGuard:
    """Finds blobs, borders and lattices in the held-out pictures, and says each once."""

    def __init__(self) -> None:
        self._clean: set[str] = set()
        self._said: set[str] = set()

    def faults(self, painted: Sequence[Frame], photos: Sequence[Frame]) -> tuple[list[str], bool]:
        """Flaws that were not said yet, in words, and whether one has come over pictures that were clean of it.

        Clean is less than half of the limit: what only goes to and fro about it is no failure, nor is what was there
        from the start, as a network that has hardly begun may be full of lattices.
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
        "lattice": Flaw(grid, GRID, f"a lattice: {grid:.0%} of the fine detail repeats every {periods} px"),
    }
