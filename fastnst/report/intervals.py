"""Means over photos with their 95 % intervals, by Student's t; shares with theirs, by Wilson."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

# 97.5 % quantiles of Student's t with 1, 2, ... 30 degrees of freedom.
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval around it: mean - margin to mean + margin."""

    mean: float
    margin: float
    """Half the interval's width; infinite for a single value, which tells nothing of the spread."""

    count: int
    """Values that the mean was taken over."""

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.margin

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.margin


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of at least one value, with mean +- t * s / sqrt(n): the photos are taken as a sample of all photos."""
    count = len(values)
    if count == 1:
        return Interval(float(values[0]), math.inf, 1)
    return Interval(fmean(values), t_quantile(count - 1) * stdev(values) / math.sqrt(count), count)


def paired_interval(given: Sequence[float], reference: Sequence[float]) -> Interval:
    """Mean of the differences given - reference, photo by photo: sharper than two intervals side by side."""
    return mean_interval([a - b for a, b in zip(given, reference, strict=True)])


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, count of total, by Wilson (1927): both ends, 0 to 1; of nothing, 0 and 1."""
    if total == 0:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf(0.975), count / total
    middle = share + z**2 / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (middle - margin) / scale), min(1.0, (middle + margin) / scale)


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t; above 30 degrees by Abramowitz and Stegun (1964), 26.7.5, to four digits."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2
