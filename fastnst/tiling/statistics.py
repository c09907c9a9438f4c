"""Means and variances of a network's normalisations: measured on a picture, given to another."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Statistics of all normalisations of a network, in the order of its graph."""

    means: tuple[Numbers, ...]
    """One (C,) for each normalisation with C channels."""

    variances: tuple[Numbers, ...]
    """The same; divided by the number of pixels, as InstanceNormalization does."""


class Moments:
    """Sums over the tiles of a picture, by channel, of x - shift and of its square.

    With a shift near the mean, the variance is no small difference of large numbers (Chan, Golub and LeVeque 1983).
    """

    def __init__(self, shift: Numbers) -> None:
        """Start with nothing; shift (C,) should lie near the mean."""
        self.shift = shift
        self._count = 0
        self._sum, self._squares = np.zeros_like(shift), np.zeros_like(shift)

    def add(self, count: int, sums: npt.ArrayLike, squares: npt.ArrayLike) -> None:
        """Add a tile of `count` pixels: sums of x - shift and of (x - shift)^2, each (C,)."""
        self._count += count
        self._sum += np.asarray(sums, np.float64)
        self._squares += np.asarray(squares, np.float64)

    def mean(self) -> Numbers:
        """Mean by channel, (C,)."""
        return self.shift + self._sum / self._count

    def variance(self) -> Numbers:
        """Variance by channel, (C,); not below 0."""
        moved = self._sum / self._count
        return np.maximum(self._squares / self._count - moved**2, 0.0)
