"""The size at which the network paints, found so that it keeps up with the frame rate that the user asked for.

Sizes are (height, width) in pixels.
"""

import math
from collections import deque
from statistics import median
from typing import TypeAlias

Size: TypeAlias = tuple[int, int]

SMALLEST = 160
"""Long side below which pictures are not reduced."""

STEP = 16
"""Sides are multiples of this: all strides of networks divide it, and few sizes mean few plans on a GPU."""

# Share of the time between two frames that painting may take: the rest is for capture and screen.
_BUDGET = 0.9
# A change aims at this share of the budget, so that it does not have to be taken back at once.
_AIM = 0.8
# Measurements that a decision rests on: their median, for a single one may have been held up by anything.
_WINDOW = 8
# So far over the budget, three will do: a network ten times too slow would take seconds for eight.
_URGENT, _URGENT_WINDOW = 1.5, 3
# The first picture of a new size costs extra (memory, plans).
_WARM_UP = 1
# Seconds before the size may grow again; doubled each time that growing was a mistake.
_REST_S, _LONGEST_REST_S = 2.0, 60.0
# Having to shrink so soon after growing makes it a mistake.
_MISTAKE_S = 10.0


def sizes_below(full: Size) -> list[Size]:
    """Return the sizes to choose from, smallest first: sides multiples of 16, the long one from 160; `full` is last.

    The aspect ratio is kept as nearly as multiples of 16 allow; pictures are stretched back when they are shown.
    """
    long_side, short_side = max(full), min(full)
    sizes = []
    for long in range(SMALLEST, long_side, STEP):
        short = max(STEP, round(long * short_side / long_side / STEP) * STEP)
        sizes.append((short, long) if full[0] < full[1] else (long, short))
    return [*sizes, full]


class SizeKeeper:
    """Chooses the size from how long each picture took."""

    def __init__(self, fps: float, *, long_side: int | None = None) -> None:
        """Begin small: the first measurements then let the size grow at once.

        Args:
            fps: frames a second that are wanted.
            long_side: paint at this size always; None: adapt.
        """
        self._budget_ms = 1000 / fps * _BUDGET
        self._long_side = long_side
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._skip, self._rest_s = 0, _REST_S
        self._may_grow_s = self._grew_s = -math.inf
        self._full: Size = (0, 0)
        self._sizes: list[Size] = []
        self.size: Size = (0, 0)
        """The size to stylize at, once `fit` was called."""

    def fit(self, full: Size) -> None:
        """Take note of the size of the camera's pictures, which may be another after it was plugged in again."""
        if full == self._full:
            return
        self._full = full
        if self._long_side is None:
            self._sizes = sizes_below(full)
            wanted = max(self.size)
        else:
            scale = min(1.0, self._long_side / max(full))
            self._sizes = [(max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))]
            wanted = self._long_side
        self.size = max((size for size in self._sizes if max(size) <= wanted), key=_area, default=self._sizes[0])
        self.restart()

    def restart(self) -> None:
        """Forget what was measured, because another network paints from now on."""
        self._times.clear()
        self._skip = _WARM_UP
        self._may_grow_s = -math.inf

    def note(self, elapsed_ms: float, now_s: float) -> None:
        """Take note of how long a picture of this size took, and choose the next one's size."""
        if self._skip:
            self._skip -= 1
            return
        self._times.append(elapsed_ms)
        recent = list(self._times)
        if len(recent) == _WINDOW and median(recent) > self._budget_ms:
            self._shrink(median(recent), now_s)
        elif len(recent) >= _URGENT_WINDOW and median(recent[-_URGENT_WINDOW:]) > _URGENT * self._budget_ms:
            self._shrink(median(recent[-_URGENT_WINDOW:]), now_s)
        elif len(recent) == _WINDOW and now_s >= self._may_grow_s:
            self._grow(median(recent), now_s)

    def _shrink(self, typical_ms: float, now_s: float) -> None:
        smaller = [size for size in self._sizes if _area(size) < _area(self.size)]
        if not smaller:
            self._times.clear()
            return
        mistake = now_s - self._grew_s < _MISTAKE_S
        self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S) if mistake else _REST_S
        fitting = [size for size in smaller if _area(size) <= self._affordable(typical_ms)]
        self._change(fitting[-1] if fitting else smaller[0], now_s)

    def _grow(self, typical_ms: float, now_s: float) -> None:
        larger = [size for size in self._sizes if _area(self.size) < _area(size) <= self._affordable(typical_ms)]
        if larger:
            self._grew_s = now_s
            self._change(larger[-1], now_s)

    def _affordable(self, typical_ms: float) -> float:
        """Pixels that can be painted in time, if the time goes by their number."""
        return _area(self.size) * _AIM * self._budget_ms / max(typical_ms, 1e-3)

    def _change(self, size: Size, now_s: float) -> None:
        self.size = size
        self._times.clear()
        self._skip, self._may_grow_s = _WARM_UP, now_s + self._rest_s


def _area(size: Size) -> int:
    return size[0] * size[1]
