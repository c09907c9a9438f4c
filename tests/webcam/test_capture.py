"""A camera that is read in its own thread: newest picture, lost and found, silent, hung, over."""

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.io.images import Frame
from fastnst.webcam import capture as capture_module
from fastnst.webcam.capture import HUNG_S, SILENT_S, CameraLostError, Capture, Newest, SourceEndedError
from fastnst.webcam.films import FilmPlayer, open_film_player


def test_the_newest_item_wins_and_is_waited_for() -> None:
    slot: Newest[int] = Newest()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0) == 3
    assert slot.take(0) is None
    slot: Newest[str] = Newest()
    threading.Timer(0.05, slot.put, ["late"]).start()
    assert slot.take(10) == "late"


def test_the_last_item_comes_before_the_end_and_before_an_error() -> None:
    slot: Newest[int] = Newest()
    slot.put(7)
    slot.close()
    assert not slot.ended
    assert slot.take(0) == 7
    assert slot.ended
    assert slot.take(0) is None
    slot: Newest[int] = Newest()
    slot.put(7)
    slot.close(ValueError("broken"))
    assert slot.take(0) == 7
    # A taker that looks for the end first would miss the error.
    assert not slot.ended
    with pytest.raises(ValueError, match="broken"):
        slot.take(0)


def test_an_end_wakes_a_waiting_taker() -> None:
    slot: Newest[int] = Newest()
    threading.Timer(0.05, slot.close).start()
    started = time.monotonic()
    assert slot.take(60) is None
    assert time.monotonic() - started < 50


def frame(value: int) -> Frame:
    return np.full((4, 6, 3), value, np.uint8)


class ScriptedCamera:
    """Gives, raises or waits for what a list says; then it is lost, or over if it is not live."""

    name = "camera 0"

    def __init__(self, *script: int | Exception | threading.Event, live: bool = True) -> None:
        self.script, self.live = list(script), live
        self.closed = threading.Event()

    def read(self) -> Frame:
        if not self.script:
            raise CameraLostError("nothing left in the script") if self.live else SourceEndedError
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, threading.Event):
            step.wait(30)
            return frame(99)
        return frame(step)

    def close(self) -> None:
        self.closed.set()


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, "did not happen within 20 s"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "RETRY_S", 0.01)


class Cameras:
    """Opens scripted cameras one after another; an error in the list is raised instead."""

    def __init__(self, *cameras: ScriptedCamera | InputError) -> None:
        self.waiting, self.opened = list(cameras), 0

    def __call__(self) -> ScriptedCamera:
        self.opened += 1
        camera = self.waiting.pop(0) if self.waiting else InputError("gone")
        if isinstance(camera, InputError):
            raise camera
        return camera


def test_the_newest_picture_wins_and_all_are_counted() -> None:
    capture = Capture(Cameras(ScriptedCamera(1, 2, 3, live=False)))
    capture.start()
    wait_until(lambda: capture.captured == 3)
    shot = capture.newest.take(1)
    assert shot is not None
    assert (shot.number, shot.frame[0, 0, 0]) == (2, 3)
    wait_until(lambda: capture.newest.ended)
    assert capture.trouble() == ""
    capture.stop()


def test_pictures_are_stamped_when_they_arrive() -> None:
    now = [5.0]
    gate = threading.Event()
    capture = Capture(Cameras(ScriptedCamera(gate, live=False)), clock=lambda: now[0])
    capture.start()
    now[0] = 8.25
    gate.set()
    shot = capture.newest.take(20)
    assert shot is not None
    assert shot.captured_s == 8.25


def test_unplugged_and_plugged_in_again() -> None:
    gate = threading.Event()
    first, second = ScriptedCamera(1, CameraLostError("unplugged")), ScriptedCamera(2, gate)
    cameras = Cameras(first, InputError("no camera"), InputError("no camera"), InputError("no camera"))
    capture = Capture(cameras)
    capture.start()
    wait_until(lambda: cameras.opened == 4)
    assert capture.trouble() == "camera 0 is gone. Waiting for it to be plugged in again"
    assert first.closed.is_set()
    cameras.waiting.append(second)
    wait_until(lambda: capture.captured == 2)
    assert capture.trouble() == ""
    gate.set()
    capture.stop()
    assert second.closed.wait(20)


def test_silence_is_noticed_within_two_seconds() -> None:
    now = [0.0]
    gate = threading.Event()
    camera = ScriptedCamera(1, gate, live=False)
    capture = Capture(Cameras(camera), clock=lambda: now[0])
    capture.start()
    wait_until(lambda: capture.captured == 1)
    now[0] = SILENT_S - 0.01
    assert capture.trouble() == ""
    now[0] = SILENT_S
    assert capture.trouble() == "camera 0 delivers no pictures"
    assert SILENT_S < 2
    gate.set()
    wait_until(lambda: capture.captured == 2)
    assert capture.trouble() == ""
    capture.stop()


def test_a_driver_that_hangs_is_left_behind() -> None:
    now = [0.0]
    gate, later = threading.Event(), threading.Event()
    hung, fresh = ScriptedCamera(1, gate), ScriptedCamera(2, later)
    cameras = Cameras(hung, fresh)
    capture = Capture(cameras, clock=lambda: now[0])
    capture.start()
    wait_until(lambda: capture.captured == 1)
    now[0] = HUNG_S + 0.1
    assert capture.trouble() == "camera 0 delivers no pictures"
    wait_until(lambda: capture.captured == 2)
    assert capture.trouble() == ""
    shot = capture.newest.take(0)
    assert shot is not None
    assert shot.frame[0, 0, 0] == 2
    # What the old driver gives when it wakes up is not wanted any more; its device is freed.
    gate.set()
    assert hung.closed.wait(20)
    assert capture.captured == 2
    assert not capture.newest.ended
    later.set()
    capture.stop()


def test_a_film_that_hangs_is_not_begun_again() -> None:
    now = [0.0]
    gate = threading.Event()
    cameras = Cameras(ScriptedCamera(1, gate, live=False))
    capture = Capture(cameras, clock=lambda: now[0])
    capture.start()
    wait_until(lambda: capture.captured == 1)
    now[0] = 100.0
    assert capture.trouble() == "camera 0 delivers no pictures"
    assert cameras.opened == 1
    gate.set()
    capture.stop()


def test_an_error_reaches_the_taker_after_the_last_picture() -> None:
    capture = Capture(Cameras(ScriptedCamera(1, InputError("film.mp4: cannot be read any further"))))
    capture.start()
    wait_until(lambda: capture.captured == 1)
    assert capture.newest.take(1) is not None
    with pytest.raises(InputError, match="cannot be read any further"):
        capture.newest.take(20)


def test_stop_frees_the_camera() -> None:
    camera = ScriptedCamera(*range(200))
    capture = Capture(Cameras(camera))
    capture.start()
    capture.stop()
    assert camera.closed.wait(20)


# A film as a camera, on a clock that the test turns.


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames at 10 a second, each brighter by 20 levels than the one before."""
    path = tmp_path_factory.mktemp("film") / "steps.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(10), width=32, height=16, pix_fmt="bgr0")
        for number in range(8):
            picture = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 20 * number, np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


class Clock:
    """Time that passes by sleeping, and by what the test adds."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


def play(film: Path, clock: Clock, *, loop: bool = False) -> FilmPlayer:
    return FilmPlayer(film, loop=loop, clock=clock, sleep=clock.sleep)


def test_frames_come_when_they_are_due(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    seen = []
    for _ in range(8):
        frame = player.read()
        seen.append((int(frame[0, 0, 0]) // 20, round(clock.now - 100, 3)))
    assert seen == [(number, number / 10) for number in range(8)]
    assert player.dropped == 0
    with pytest.raises(SourceEndedError):
        player.read()


def test_work_between_frames_shortens_the_wait(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 0.06
    player.read()
    assert clock.slept == [0.04]


def test_after_a_delay_it_catches_up_by_leaving_out(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 0.45  # frames 1 to 4 are due by now
    assert player.read()[0, 0, 0] == 20  # the next one, for nothing newer is decoded
    # 2 and 3 are late by more than a frame; 4 is late by 0.05 s and shown.
    assert player.read()[0, 0, 0] == 80
    assert player.dropped == 2
    player.read()
    assert clock.now == pytest.approx(100.5)


def test_after_a_long_delay_it_goes_on_from_where_it_is(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 60
    assert player.read()[0, 0, 0] == 20
    assert player.read()[0, 0, 0] == 40
    assert clock.now == pytest.approx(160.1)
    assert player.dropped == 0


def test_slow_decoding_leaves_nothing_out(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    player = play(film, clock)
    following = player._next

    def slow() -> object:
        clock.now += 0.15
        return following()

    monkeypatch.setattr(player, "_next", slow)
    assert [int(player.read()[0, 0, 0]) // 20 for _ in range(8)] == list(range(8))


def test_a_loop_goes_on_in_time(film: Path) -> None:
    clock = Clock()
    player = play(film, clock, loop=True)
    seen = [int(player.read()[0, 0, 0]) // 20 for _ in range(19)]
    assert seen == [*range(8), *range(8), *range(3)]
    assert clock.now == pytest.approx(101.8)


def test_a_turned_film_is_shown_upright(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    player = play(film, Clock())
    object.__setattr__(player._film, "orientation", turned)
    assert player.read().shape == (32, 16, 3)


def test_no_film(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--camera"):
        open_film_player(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(InputError, match=r"text\.mp4"):
        open_film_player(tmp_path / "text.mp4")


def test_pixels_come_square_as_from_a_camera(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=48, height=32, pix_fmt="yuv420p")
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 48, 3), 90, np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    assert play(path, Clock()).read().shape == (32, 64, 3)  # 48 * 4 / 3
