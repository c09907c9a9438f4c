"""The thread that stylizes the newest picture, with the style and the controls that are chosen at that moment; and the
size at which it keeps up with the frame rate that the user asked for.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width) in pixels.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

from fastnst.backends.contract import MAX_STRENGTH
from fastnst.errors import FastNSTError
from fastnst.inference.pipeline import StylePipeline
from fastnst.io.images import Frame
from fastnst.io.styles import StyleChoice
from fastnst.webcam.capture import Newest, Shot
from fastnst.webcam.settings import Controls, split_view

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
        """Begin small: the first measurements then let the size grow at once; a given long side is always kept."""
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


# How often a thread that waits for pictures looks whether it should end.
_WAIT_S = 0.2
_JOIN_S = 5.0


@dataclass(frozen=True)
class StylizedShot:
    """A picture ready to be shown."""

    shot: Shot
    picture: Frame
    """As large as the camera's."""

    size: tuple[int, int]
    """At which the network stylized."""

    controls: Controls
    style: str
    """Name of the style that stylized it."""

    mixed: tuple[tuple[str, float], ...] = ()
    """Styles that its network can mix, each with its share; none where it knows one style."""

    most: float = 1.0
    """The largest strength that its network takes."""

    words: str = ""
    """How it was stylized, for its file."""


class InferenceThread(threading.Thread):
    """Stylizes what `shots` holds; `stylized` holds its latest picture."""

    def __init__(
        self,
        pipeline: StylePipeline,
        styles: Mapping[str, StyleChoice],
        shots: Newest[Shot],
        keeper: SizeKeeper,
        *,
        controls: Controls,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare; `start` begins, with controls whose style the pipeline has; network files are known by name."""
        super().__init__(name="inference", daemon=True)
        self.stylized: Newest[StylizedShot] = Newest()
        self.controls = controls
        """What is asked for; set by the caller at any time."""

        self.note = ""
        """What the viewer should know: a style that is being loaded, or cannot be."""

        self._pipeline, self._shots, self._keeper, self._clock = pipeline, shots, keeper, clock
        self._names, self._choices = list(styles), list(styles.values())
        self._style, self._tried = self._names[controls.style], controls.style
        self._weights = pipeline.weights
        self._ending = threading.Event()

    def run(self) -> None:
        """Stylize until there are no more pictures; what goes wrong is raised in whoever takes from `stylized`."""
        error: BaseException | None = None
        try:
            while not (self._ending.is_set() or self._shots.ended):
                shot = self._shots.take(_WAIT_S)
                if shot is None:
                    continue
                controls = self.controls
                if controls.style != self._tried:
                    self._try_switch(controls.style)
                started = self._clock()
                self._keeper.fit((shot.frame.shape[0], shot.frame.shape[1]))
                size = self._keeper.size
                shares = controls.shares(self._pipeline.session.style_names, self._weights)
                asked: dict[str, Any] = {"size": size, "style_weights": shares}
                asked |= {"strength": controls.strength, "preserve_color": controls.preserve_color}
                picture = self._pipeline(shot.frame, **asked)
                picture = split_view(picture, shot.frame) if controls.split else picture
                self._keeper.note((self._clock() - started) * 1000, self._clock())
                self.stylized.put(self._describe(shot, picture, controls, asked))
        except BaseException as caught:
            error = caught
        finally:
            self.stylized.close(error)

    def stop(self) -> None:
        """End the thread after the picture at hand."""
        self._ending.set()
        if self.is_alive():
            self.join(_JOIN_S)

    def _describe(
        self,
        shot: Shot,
        picture: Frame,
        controls: Controls,
        asked: dict[str, Any],
    ) -> StylizedShot:
        session, own = self._pipeline.session, (shot.frame.shape[0], shot.frame.shape[1])
        mixed = tuple(zip(session.style_names, asked["style_weights"] or (), strict=False))
        most = MAX_STRENGTH if session.takes_strength else 1.0
        size, words = self._pipeline.painted_size(own, asked["size"]), self._pipeline.describe(own, **asked)
        return StylizedShot(shot, picture, size, controls, self._style, mixed, most, words)

    def _try_switch(self, style: int) -> None:
        """Load another style; if that fails, say so and go on with the one there is."""
        self._tried, choice = style, self._choices[style]
        if choice.path != self._pipeline.session.path:
            self.note = f"loading {self._names[style]}"
            try:
                self._pipeline.switch(choice.path)
            except FastNSTError as error:
                self.note = str(error)
                return
            self._keeper.restart()
        self.note, self._style, self._weights = "", self._names[style], choice.weights
