"""A camera stylized live: the newest frame wins, so that what is seen is never older than it must be.

Three threads: one captures, one paints, this one shows and listens to keys; a recording has a fourth. Between them lie
buffers of one. H height, W width in pixels; times are seconds of one clock.
"""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TypeAlias

from fastnst.inference.pipeline import StylePipeline
from fastnst.io.styles import StyleChoice
from fastnst.machine import flag_on_signals
from fastnst.webcam.capture import Camera, Capture
from fastnst.webcam.devices import Screen
from fastnst.webcam.inference_thread import InferenceThread, SizeKeeper, StylizedShot
from fastnst.webcam.outlets import Dashboard, Meter, Outlets
from fastnst.webcam.settings import MIXING, Action, WebcamResult, WebcamSettings, action_of, change_controls

Clock: TypeAlias = Callable[[], float]

# How long to wait for a picture before the window is looked after.
_POLL_S = 0.01
# A picture without change is shown again so often: the window stays alive, a message appears.
_REFRESH_S = 0.2


def run_webcam(
    styles: Mapping[str, StyleChoice],
    open_pipeline: Callable[[], StylePipeline],
    open_camera: Callable[[], Camera],
    screen: Screen,
    settings: WebcamSettings,
    *,
    tell: Callable[[str], None] = lambda _words: None,
    clock: Clock = time.perf_counter,
) -> WebcamResult:
    """Stylize a camera's pictures until the user quits, Ctrl-C, or the end of a film that stands in for the camera.

    Network files are known by name, for the keys. The pipeline is opened with the style to begin with, and the camera
    again when it was lost; `tell` is called with a line when something happens: camera lost and found, file written.

    Raises StyleError where the style cannot be loaded; InputError where the camera cannot be opened, or a film not be
    read on; OutputError where the recording's name cannot be; SettingError for no virtual camera, or a strength or a
    mix that a network does not take.
    """
    with ExitStack() as stack:
        ending = stack.enter_context(flag_on_signals(signal.SIGINT, signal.SIGTERM))
        stack.callback(screen.close)
        outlets = Outlets(settings.folder, settings.fps, tell)
        stack.callback(outlets.close)
        if settings.record is not None:
            outlets.record_into(settings.record, overwrite=settings.overwrite)
        if settings.virtual_camera:
            outlets.feed_virtual_camera()
        capture = Capture(open_camera, clock=clock)
        keeper = SizeKeeper(settings.fps, long_side=settings.long_side)
        pipeline = stack.enter_context(open_pipeline())
        pipeline.steady(settings.steady)
        controls = settings.controls
        inference = InferenceThread(pipeline, styles, capture.newest, keeper, controls=controls, clock=clock)
        stack.callback(inference.stop)
        inference.start()
        stack.callback(capture.stop)
        capture.start()
        show = _Show(list(styles), capture, inference, screen=screen, outlets=outlets, tell=tell, clock=clock)
        while not (ending.is_set() or show.over(settings)):
            show.step()
        ended_s = clock()
        outlets.close()
        return show.result(ended_s, pipeline.choice.provider)


class _Show:
    """What happens in the main thread: showing, keys, messages."""

    def __init__(
        self,
        styles: list[str],
        capture: Capture,
        inference: InferenceThread,
        *,
        screen: Screen,
        outlets: Outlets,
        tell: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._styles, self._capture, self._inference = styles, capture, inference
        self._screen, self._outlets, self._tell, self._clock = screen, outlets, tell, clock
        self._meter = Meter()
        self._dashboard = Dashboard(styles, self._meter)
        self._last: StylizedShot | None = None
        self._trouble, self._quit = "", False
        self._started_s = clock()
        self._refreshed_s = self._started_s

    def over(self, settings: WebcamSettings) -> bool:
        """Whether nothing more is to be shown."""
        return (
            self._quit
            or self._inference.stylized.ended
            or (settings.frames is not None and self._meter.shown >= settings.frames)
            or (settings.seconds is not None and self._clock() - self._started_s >= settings.seconds)
            # Without a screen a file was all there was to be.
            or (bool(self._outlets.failures) and not self._screen.visible)
        )

    def step(self) -> None:
        """Show the next picture if there is one, and do what the keys ask for."""
        stylized = self._inference.stylized.take(_POLL_S)
        self._watch()
        if stylized is not None:
            self._last = stylized
            self._notice(self._outlets.send(stylized.picture, stylized.shot.captured_s))
            self._refresh()
        elif self._clock() - self._refreshed_s > _REFRESH_S:
            self._refresh()
        keys = self._screen.pressed()  # which also draws
        if stylized is not None:
            self._meter.note(stylized.shot.captured_s, self._clock())
        for key in keys:
            self._press(key)

    def result(self, ended_s: float, provider: str) -> WebcamResult:
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
            provider=provider,
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
                note=self._inference.note,
                recorded_s=self._outlets.recorded_s,
            )
            self._screen.show(composed)

    def _notice(self, words: str) -> None:
        self._dashboard.notice(words, self._clock())

    def _press(self, key: str) -> None:
        mixes, most = (len(self._last.mixed), self._last.most) if self._last else (0, 1.0)
        self._inference.controls = change_controls(self._inference.controls, key, len(self._styles), mixes, most)
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
                self._notice(self._outlets.snapshot(self._last.picture, self._last.style, self._last.words))
            case Action.RECORD if self._last is not None:
                self._notice(self._outlets.toggle_recording(self._last.style))
        if action in MIXING and mixes < 2:
            self._notice("this network knows one style: nothing to mix")
        self._dashboard.renew()
        self._refreshed_s = 0.0
