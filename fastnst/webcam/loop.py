"""A camera painted live: the newest frame wins, so that what is seen is never older than it must be.

Three threads: one captures, one paints, this one shows and listens to keys; a recording has a fourth. Between them lie
buffers of one. H height, W width in pixels; times are seconds of one clock.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from fastnst.backends.mixing import StyleChoice
from fastnst.inference.masks import Mask
from fastnst.webcam.capture import Camera, Capture
from fastnst.webcam.dashboard import Dashboard
from fastnst.webcam.ending import ending_on_signals
from fastnst.webcam.keys import MIXING, Action, action_of, change_look
from fastnst.webcam.look import Look
from fastnst.webcam.meter import Meter
from fastnst.webcam.outlets import Outlets
from fastnst.webcam.painter import Network, Painted, Painter
from fastnst.webcam.screen import Screen
from fastnst.webcam.size import SizeKeeper

Clock: TypeAlias = Callable[[], float]

# How long to wait for a picture before the window is looked after.
_POLL_S = 0.01
# A picture without change is shown again so often: the window stays alive, a message appears.
_REFRESH_S = 0.2


@dataclass(frozen=True, kw_only=True)
class WebcamSettings:
    """What the user asks for."""

    fps: float = 30
    """Frames a second to hold by painting smaller."""

    long_side: int | None = None
    """Paint at this size always, pixels; None: as large as the frame rate allows."""

    look: Look = field(default_factory=Look)
    mask: Mask | None = None
    """Where the chosen style goes, and after it each of `regional`; None: everywhere."""

    regional: Sequence[StyleChoice] = ()
    """Styles of regions of the mask."""

    record: Path | None = None
    """Record into this file from the start."""

    overwrite: bool = False
    """Replace that file if it is there."""

    folder: Path = Path()
    """Where snapshots and recordings that keys ask for go."""

    virtual_camera: bool = False
    frames: int | None = None
    """End after so many pictures were shown."""

    seconds: float | None = None
    """End after so long."""


@dataclass(frozen=True, kw_only=True)
class WebcamResult:
    """What happened."""

    captured: int
    """Pictures that the camera gave."""

    shown: int
    elapsed_s: float
    latency_ms: float
    """From capture to screen, median."""

    slow_latency_ms: float
    """95 of 100 pictures were faster."""

    size: tuple[int, int]
    """At which the network painted last, (height, width)."""

    files: tuple[Path, ...]
    """Snapshots and recordings."""

    failures: tuple[str, ...]
    """Snapshots and recordings that could not be written, each with the reason."""


def run_webcam(
    styles: Mapping[str, Path],
    load: Callable[[Path], Network],
    open_camera: Callable[[], Camera],
    screen: Screen,
    settings: WebcamSettings,
    *,
    tell: Callable[[str], None] = lambda _words: None,
    clock: Clock = time.perf_counter,
) -> WebcamResult:
    """Paint a camera's pictures until the user quits, Ctrl-C, or the end of a film that stands in for the camera.

    Args:
        styles: network files by name, for the keys.
        load: makes a network of a file, such as `Stylizer`.
        open_camera: opens the camera; again when it was lost. Raises InputError.
        screen: where to show.
        settings: what the user asks for.
        tell: called with a line when something happens: camera lost and found, file written.
        clock: seconds.

    Raises:
        StyleError: the style cannot be loaded.
        InputError: the camera cannot be opened, or a film not be read on.
        OutputError: the recording's name cannot be.
        SettingError: there is no virtual camera, or a strength or a mix that a network does not take.
    """
    with ExitStack() as stack:
        ending = stack.enter_context(ending_on_signals())
        stack.callback(screen.close)
        outlets = Outlets(settings.folder, settings.fps, tell)
        stack.callback(outlets.close)
        if settings.record is not None:
            outlets.record_into(settings.record, overwrite=settings.overwrite)
        if settings.virtual_camera:
            outlets.feed_virtual_camera()
        capture = Capture(open_camera, clock=clock)
        keeper = SizeKeeper(settings.fps, long_side=settings.long_side)
        painter = Painter(
            styles,
            load,
            capture.newest,
            keeper,
            look=settings.look,
            mask=settings.mask,
            regional=settings.regional,
            clock=clock,
        )
        stack.callback(painter.stop)
        painter.start()
        stack.callback(capture.stop)
        capture.start()
        show = _Show(list(styles), capture, painter, screen=screen, outlets=outlets, tell=tell, clock=clock)
        while not (ending.wanted or show.over(settings)):
            show.step()
        ended_s = clock()
        outlets.close()
        return show.result(ended_s)


class _Show:
    """What happens in the main thread: showing, keys, messages."""

    def __init__(
        self,
        styles: list[str],
        capture: Capture,
        painter: Painter,
        *,
        screen: Screen,
        outlets: Outlets,
        tell: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._styles, self._capture, self._painter = styles, capture, painter
        self._screen, self._outlets, self._tell, self._clock = screen, outlets, tell, clock
        self._meter = Meter()
        self._dashboard = Dashboard(styles, self._meter)
        self._last: Painted | None = None
        self._trouble, self._quit = "", False
        self._started_s = clock()
        self._refreshed_s = self._started_s

    def over(self, settings: WebcamSettings) -> bool:
        """Whether nothing more is to be shown."""
        return (
            self._quit
            or self._painter.painted.ended
            or (settings.frames is not None and self._meter.shown >= settings.frames)
            or (settings.seconds is not None and self._clock() - self._started_s >= settings.seconds)
            # Without a screen a file was all there was to be.
            or (bool(self._outlets.failures) and not self._screen.visible)
        )

    def step(self) -> None:
        """Show the next picture if there is one, and do what the keys ask for."""
        painted = self._painter.painted.take(_POLL_S)
        self._watch()
        if painted is not None:
            self._last = painted
            self._notice(self._outlets.send(painted.picture, painted.shot.captured_s))
            self._refresh()
        elif self._clock() - self._refreshed_s > _REFRESH_S:
            self._refresh()
        keys = self._screen.pressed()  # which also draws
        if painted is not None:
            self._meter.note(painted.shot.captured_s, self._clock())
        for key in keys:
            self._press(key)

    def result(self, ended_s: float) -> WebcamResult:
        """Say how it went until `ended_s`."""
        return WebcamResult(
            captured=self._capture.captured,
            shown=self._meter.shown,
            elapsed_s=ended_s - self._started_s,
            latency_ms=self._meter.latency_share_ms(0.5),
            slow_latency_ms=self._meter.latency_share_ms(0.95),
            size=self._last.size if self._last else (0, 0),
            files=tuple(self._outlets.files),
            failures=tuple(self._outlets.failures),
        )

    def _watch(self) -> None:
        """Tell of a camera that is lost or found again, once each."""
        trouble = self._capture.trouble()
        if trouble != self._trouble:
            self._tell(trouble or "the camera is back")
            self._trouble = trouble

    def _refresh(self) -> None:
        """Show the latest picture with the words that belong on it."""
        self._refreshed_s = self._clock()
        if self._screen.visible:
            composed = self._dashboard.compose(
                self._last,
                self._refreshed_s,
                trouble=self._trouble,
                note=self._painter.note,
                recorded_s=self._outlets.recorded_s,
            )
            self._screen.show(composed)

    def _notice(self, words: str) -> None:
        self._dashboard.notice(words, self._clock())

    def _press(self, key: str) -> None:
        mixes, most = (len(self._last.mixed), self._last.most) if self._last else (0, 1.0)
        self._painter.look = change_look(self._painter.look, key, len(self._styles), mixes, most)
        action = action_of(key)
        match action:
            case Action.QUIT:
                self._quit = True
            case Action.HELP:
                self._dashboard.shows_help = not self._dashboard.shows_help
            case Action.STATUS:
                self._dashboard.shows_status = not self._dashboard.shows_status
            case Action.FULL_SCREEN:
                self._screen.toggle_full_screen()
            case Action.SNAPSHOT if self._last is not None:
                self._notice(self._outlets.snapshot(self._last.picture, self._last.style))
            case Action.RECORD if self._last is not None:
                self._notice(self._outlets.toggle_recording(self._last.style))
        if action in MIXING and mixes < 2:
            self._notice("this network knows one style: nothing to mix")
        self._dashboard.renew()
        self._refreshed_s = 0.0
