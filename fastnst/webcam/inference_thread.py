"""The thread that stylizes the newest picture, with the style and the controls that are chosen at that moment.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnst.backends.contract import MAX_STRENGTH
from fastnst.errors import FastNSTError
from fastnst.inference.pipeline import StylePipeline
from fastnst.io.images import Frame
from fastnst.webcam.capture import Newest, Shot
from fastnst.webcam.settings import Controls, split_view
from fastnst.webcam.size import SizeKeeper

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
        styles: Mapping[str, Path],
        shots: Newest[Shot],
        keeper: SizeKeeper,
        *,
        controls: Controls,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            pipeline: what stylizes, with the network of the style that `controls` name.
            styles: network files by name, for the controls.
            shots: where pictures come from.
            keeper: chooses the size to paint at.
            controls: what to begin with.
            clock: seconds.
        """
        super().__init__(name="inference", daemon=True)
        self.stylized: Newest[StylizedShot] = Newest()
        self.controls = controls
        """What is asked for; set by the caller at any time."""

        self.note = ""
        """What the viewer should know: a style that is being loaded, or cannot be."""

        self._pipeline, self._shots, self._keeper, self._clock = pipeline, shots, keeper, clock
        self._names, self._paths = list(styles), list(styles.values())
        self._style, self._tried = self._names[controls.style], controls.style
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
                size, shares = self._keeper.size, controls.shares(self._pipeline.session.style_names)
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
        self._tried = style
        self.note = f"loading {self._names[style]}"
        try:
            self._pipeline.switch(self._paths[style])
        except FastNSTError as error:
            self.note = str(error)
        else:
            self.note, self._style = "", self._names[style]
            self._keeper.restart()
