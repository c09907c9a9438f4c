"""The whole loop with a made-up camera, screen and network: what is shown, what keys do, how it ends."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.inference.pipeline import StylePipeline
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import StyleChoice
from fastnst.webcam import capture as capture_module
from fastnst.webcam.capture import CameraLostError, SourceEndedError
from fastnst.webcam.loop import run_webcam
from fastnst.webcam.settings import Controls, WebcamResult, WebcamSettings

SIZE = (96, 128)


class FakeCamera:
    """Gives a picture every few milliseconds, each one level brighter; then does what `then` says."""

    name, live = "camera 0", True

    def __init__(self, pictures: int | None = None, then: Exception | None = None, every_s: float = 0.005) -> None:
        self.left, self.then, self.every_s = pictures, then or SourceEndedError(), every_s
        self.given, self.closed = 0, False

    def read(self) -> Frame:
        time.sleep(self.every_s)
        if self.left is not None and self.given >= self.left:
            raise self.then
        self.given += 1
        return np.full((*SIZE, 3), self.given % 100, np.uint8)

    def close(self) -> None:
        self.closed = True


class FakeScreen:
    """Keeps what is shown; `keys` says what is pressed after so many pictures."""

    visible = True

    def __init__(self, keys: dict[int, str] | None = None, visible: bool = True) -> None:
        self.keys, self.visible = keys or {}, visible
        self.shown: list[Frame] = []
        self.full, self.closed = False, False

    def show(self, picture: Frame) -> None:
        self.shown.append(picture)

    def pressed(self) -> Sequence[str]:
        key = self.keys.pop(len(self.shown), None)
        return () if key is None else (key,)

    def toggle_full_screen(self) -> None:
        self.full = not self.full

    def close(self) -> None:
        self.closed = True


Run = Callable[..., WebcamResult]


@pytest.fixture
def run(tmp_path: Path, fake_session: type) -> Run:
    """Run with two styles that `paint`, by default 255 minus the frame."""

    def start(
        camera: FakeCamera | Callable[[], FakeCamera],
        screen: FakeScreen | None = None,
        paint: Callable[[Frame], Frame] = lambda frame: 255 - frame,
        *,
        tell: Callable[[str], None] = lambda _words: None,
        **settings: object,
    ) -> WebcamResult:
        opener = camera if not isinstance(camera, FakeCamera) else lambda: camera
        folder = tmp_path / "styles"
        folder.mkdir(exist_ok=True)
        styles = {name: folder / f"{name}.onnx" for name in ("invert", "other")}
        for path in styles.values():
            path.touch()

        def pipeline() -> StylePipeline:
            return StylePipeline(
                str(styles["invert"]),
                provider="cpu",
                open_session=lambda path, **_options: fake_session(paint, path=path),
            )

        asked = WebcamSettings(**settings)  # type: ignore[arg-type]
        choices = {name: StyleChoice(path) for name, path in styles.items()}
        return run_webcam(choices, pipeline, opener, screen or FakeScreen(), asked, tell=tell)

    return start


def slowly(frame: Frame) -> Frame:
    time.sleep(0.05)
    return 255 - frame


def corner(picture: Frame) -> int:
    """A pixel without words on it."""
    return int(picture[85, 120, 0])


def test_pictures_are_painted_and_shown(run: Run) -> None:
    screen, camera = FakeScreen(), FakeCamera()
    result = run(camera, screen, frames=5)
    assert result.shown == 5
    assert result.captured >= 5
    levels = [corner(picture) for picture in screen.shown]
    assert all(155 < level < 255 for level in levels)
    assert levels == sorted(levels, reverse=True)
    assert screen.shown[0].shape == (*SIZE, 3)
    assert screen.closed
    assert camera.closed


def test_the_newest_picture_wins(run: Run) -> None:
    result = run(FakeCamera(pictures=60), paint=slowly)
    assert result.captured == 60
    assert 1 < result.shown < 30
    # A queue would let pictures grow older and older; here none waits longer than one is painted.
    assert result.slow_latency_ms < 500


def test_a_film_ends_by_itself_and_its_last_picture_is_shown(run: Run) -> None:
    screen = FakeScreen()
    result = run(FakeCamera(pictures=7), screen)
    assert result.captured == 7
    assert corner(screen.shown[-1]) == 255 - 7


def test_seconds_end_it(run: Run) -> None:
    started = time.perf_counter()
    result = run(FakeCamera(), seconds=0.2)
    assert result.elapsed_s >= 0.2
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("key", ["q", "escape"])
def test_quit_by_key(run: Run, key: str) -> None:
    assert run(FakeCamera(), FakeScreen({3: key})).shown == 3


def test_keys_change_what_is_seen(run: Run, tmp_path: Path) -> None:
    screen = FakeScreen({2: "-", 4: "o", 6: "f", 8: "2", 12: "q"})
    run(FakeCamera(every_s=0.01), screen)
    assert screen.full
    # Half of the last pictures is the photo (dark), a white line, and the painting at strength 0.9.
    last = screen.shown[-1]
    assert last[50, 20, 0] < 100
    assert last[50, 64, 0] == 255
    assert 130 < corner(last) < 240


def test_help_and_status_can_be_switched(run: Run) -> None:
    screen = FakeScreen({3: "i", 6: "h", 20: "q"})
    run(FakeCamera(every_s=0.02), screen)
    assert (screen.shown[2][:20, :60] != screen.shown[2][50, 120]).any()  # status
    assert (screen.shown[5] == screen.shown[5][50, 120]).all()  # nothing
    assert (screen.shown[-1][20:80, 20:100] != screen.shown[-1][90, 120]).any()  # help


def test_snapshot_has_the_picture_without_words(run: Run, tmp_path: Path) -> None:
    told: list[str] = []
    result = run(FakeCamera(), FakeScreen({3: "s", 5: "q"}), tell=told.append, folder=tmp_path)
    snapshot = read_frame(tmp_path / "invert-0001.png")
    assert (snapshot == snapshot[0, 0]).all()
    with Image.open(tmp_path / "invert-0001.png") as written:
        assert re.search(r": invert \([0-9a-f]{12}\), stroke 1, stylized at ", written.getexif()[0x000B])
    assert result.files == (tmp_path / "invert-0001.png",)
    assert told == [str(tmp_path / "invert-0001.png")]


def frames_of(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_record_by_key(run: Run, tmp_path: Path) -> None:
    result = run(FakeCamera(every_s=0.01), FakeScreen({3: "r", 9: "r", 12: "q"}), folder=tmp_path)
    assert result.files == (tmp_path / "invert-0001.mp4",)
    assert 2 <= frames_of(tmp_path / "invert-0001.mp4") <= 6


def test_record_without_a_screen(run: Run, tmp_path: Path) -> None:
    screen = FakeScreen(visible=False)
    result = run(FakeCamera(pictures=20, every_s=0.01), screen, record=tmp_path / "film.mp4")
    assert screen.shown == []
    assert frames_of(tmp_path / "film.mp4") == result.shown
    assert result.failures == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_recordings_are_finished(run: Run, number: int, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    threading.Timer(0.5, os.kill, [os.getpid(), number]).start()
    result = run(FakeCamera(every_s=0.01), record=tmp_path / "film.mp4")
    assert frames_of(tmp_path / "film.mp4") > 0
    assert result.files == (tmp_path / "film.mp4",)
    assert signal.getsignal(number) is before


def test_unplugged_and_plugged_in_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "RETRY_S", 0.3)
    told: list[str] = []
    screen = FakeScreen()
    cameras: list[FakeCamera | None] = [FakeCamera(5, then=CameraLostError("unplugged")), None, None, FakeCamera(5)]

    def opener() -> FakeCamera:
        camera = cameras.pop(0)
        if camera is None:
            raise InputError("no camera")
        return camera

    result = run(opener, screen, tell=told.append)
    assert told == ["camera 0 is gone. Waiting for it to be plugged in again", "the camera is back"]
    assert result.captured == 10
    # In between, the last picture is shown dark, with the message on it.
    dark = [picture for picture in screen.shown if corner(picture) == (255 - 5) // 3]
    assert dark
    assert (dark[-1][30:66] > 150).any()


def test_a_camera_that_stops_delivering_is_told_and_seen_within_two_seconds(run: Run) -> None:
    told: list[tuple[float, str]] = []
    screen, gate = FakeScreen(), threading.Event()
    camera = FakeCamera(3)
    stopped: list[float] = []

    def read() -> Frame:
        if camera.given == 3:
            stopped.append(time.perf_counter())
            gate.wait(20)
            raise SourceEndedError
        return FakeCamera.read(camera)

    camera.read = read  # type: ignore[method-assign]

    def tell(words: str) -> None:
        told.append((time.perf_counter(), words))
        gate.set()

    run(camera, screen, tell=tell)
    assert told[0][1] == "camera 0 delivers no pictures"
    assert told[0][0] - stopped[0] < 2.5  # 1.5 s, and a busy machine


def test_no_camera_is_an_error_at_once_and_nothing_is_left_open(run: Run) -> None:
    screen = FakeScreen()

    def opener() -> FakeCamera:
        raise InputError("camera 0: cannot be opened")

    with pytest.raises(InputError, match="cannot be opened"):
        run(opener, screen)
    assert screen.closed
    assert not any(thread.name in {"inference", "capture"} for thread in threading.enumerate())


def test_a_style_that_cannot_be_loaded_is_an_error_before_the_camera_is_opened() -> None:
    def pipeline() -> StylePipeline:
        raise StyleError("bad.onnx: not a readable ONNX network")

    def opener() -> FakeCamera:
        raise AssertionError

    with pytest.raises(StyleError, match="not a readable"):
        run_webcam({"bad": StyleChoice(Path("bad.onnx"))}, pipeline, opener, FakeScreen(), WebcamSettings())


def test_a_network_that_breaks_ends_it_with_its_error_and_a_whole_recording(run: Run, tmp_path: Path) -> None:
    calls = 0

    def breaks(frame: Frame) -> Frame:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise InputError("invert failed on 1 picture(s)")
        return slowly(frame)  # for the picture to be recorded

    camera = FakeCamera()
    with pytest.raises(InputError, match="invert failed"):
        run(camera, paint=breaks, record=tmp_path / "film.mp4")
    assert frames_of(tmp_path / "film.mp4") > 0
    assert camera.closed


def test_a_film_that_cannot_be_read_on_ends_it_with_its_error(run: Run) -> None:
    with pytest.raises(InputError, match=r"film\.mp4: changes from"):
        run(FakeCamera(5, then=InputError("film.mp4: changes from 4x4 to 8x8")))


def test_a_recording_that_fails_ends_a_run_without_a_screen_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(FakeCamera(), FakeScreen(visible=False), record=tmp_path / "file" / "film.mp4")
    assert len(result.failures) == 1
    assert "cannot be written" in result.failures[0]
    (tmp_path / "file").touch()
    result = run(FakeCamera(), record=tmp_path / "file" / "film.mp4", frames=10)
    assert len(result.failures) == 1
    assert result.shown == 10


def test_the_controls_to_begin_with(run: Run) -> None:
    screen = FakeScreen()
    run(FakeCamera(), screen, frames=2, controls=Controls(style=1, strength=0))
    assert corner(screen.shown[-1]) < 100  # the photo


def test_it_runs_outside_the_main_thread(run: Run) -> None:
    results: list[WebcamResult] = []
    thread = threading.Thread(target=lambda: results.append(run(FakeCamera(), frames=2)))
    thread.start()
    thread.join(30)
    assert results[0].shown == 2


def test_pictures_are_held_steady(run: Run) -> None:
    # Each is painted 40 levels brighter than the one before. Held at 0.95 they stay near the first.
    texture = np.random.default_rng(0).integers(60, 200, (*SIZE, 3), np.uint8)

    class Still(FakeCamera):
        def read(self) -> Frame:
            super().read()
            return texture

    shown: dict[float, int] = {}
    for steady in (0.0, 0.95):
        levels = iter(range(20, 250, 40))
        screen = FakeScreen()
        run(Still(), screen, lambda frame, levels=levels: np.full_like(frame, next(levels)), frames=4, steady=steady)
        shown[steady] = corner(screen.shown[-1])
    assert shown[0.0] >= 20 + 3 * 40
    assert 20 <= shown[0.95] < 50  # 31.6 after four; a busy machine may paint all six before four are shown: 48
    with pytest.raises(SettingError, match=r"steady 2: expected 0 .* to 0\.95"):
        WebcamSettings(steady=2)


def test_the_mix_to_begin_with_and_all_alike_by_key(tmp_path: Path, fake_session: type) -> None:
    path = tmp_path / "duo.onnx"
    path.touch()
    session = fake_session(lambda frame: frame, ("ann", "bob"), path=path)

    def pipeline() -> StylePipeline:
        return StylePipeline(str(path), Effects(mix="bob"), open_session=lambda *_path, **_options: session)

    camera, screen = FakeCamera(every_s=0.02), FakeScreen({3: "m", 12: "q"})
    run_webcam({"duo": StyleChoice(path)}, pipeline, lambda: camera, screen, WebcamSettings())
    weights = [weights for _, weights, _ in session.calls]
    assert (weights[0], weights[-1]) == ((0, 1), (0.5, 0.5))
