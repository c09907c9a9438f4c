"""Recordings, read again; snapshots; files that cannot be written."""

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fastnst.errors import OutputError, SettingError
from fastnst.io.images import Frame, read_frame
from fastnst.webcam import films as recorder_module
from fastnst.webcam import outlets as outlets_module
from fastnst.webcam.films import FilmRecorder
from fastnst.webcam.outlets import Outlets


def picture(level: int, size: tuple[int, int] = (48, 64)) -> Frame:
    return np.full((*size, 3), level, np.uint8)


def decode(path: Path) -> list[tuple[Fraction, Frame]]:
    with av.open(str(path)) as film:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_pictures_and_the_times_of_their_capture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{suffix}"
    recorder = FilmRecorder(path, (48, 64), 30)
    times = [10.0, 10.05, 10.1, 11.0, 11.02]
    for number, time_s in enumerate(times):
        recorder.write(picture(40 * number), time_s)
    assert not path.exists()
    recorder.finish()
    frames = decode(path)
    np.testing.assert_allclose([float(shown - frames[0][0]) for shown, _ in frames], np.subtract(times, 10), atol=1e-3)
    np.testing.assert_allclose([frame.mean() for _, frame in frames], [0, 40, 80, 120, 160], atol=3)
    assert recorder.seconds == pytest.approx(1.02)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_colours_are_right_and_said(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    recorder = FilmRecorder(path, (48, 64), 30)
    recorder.write(np.full((48, 64, 3), (200, 60, 30), np.uint8), 0)
    recorder.finish()
    with av.open(str(path)) as film:
        frame = next(film.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)
    np.testing.assert_allclose(decode(path)[0][1][20, 20], [200, 60, 30], atol=4)


def test_odd_sizes_lose_a_row_and_other_sizes_are_fitted(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    recorder = FilmRecorder(path, (49, 65), 30)
    recorder.write(picture(50, (49, 65)), 0)
    recorder.write(picture(90, (96, 128)), 1)
    recorder.finish()
    frames = decode(path)
    assert [frame.shape for _, frame in frames] == [(48, 64, 3)] * 2
    np.testing.assert_allclose([frame.mean() for _, frame in frames], [50, 90], atol=3)


def test_equal_and_falling_times_do_not_break_a_film(tmp_path: Path) -> None:
    recorder = FilmRecorder(tmp_path / "film.mp4", (48, 64), 30)
    for time_s in (5.0, 5.0, 4.0, 6.0):
        recorder.write(picture(0), time_s)
    recorder.finish()
    assert len(decode(tmp_path / "film.mp4")) == 4


def test_a_slow_encoder_never_holds_up_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    fit = FilmRecorder._fit

    def slow(self: FilmRecorder, frame: Frame) -> Frame:
        gate.wait(20)
        return fit(self, frame)

    monkeypatch.setattr(FilmRecorder, "_fit", slow)
    recorder = FilmRecorder(tmp_path / "film.mp4", (48, 64), 30)
    for number in range(100):
        recorder.write(picture(0), number / 30)
    gate.set()
    recorder.finish()
    assert recorder.dropped >= 100 - recorder_module._DEPTH - 1
    assert len(decode(tmp_path / "film.mp4")) == 100 - recorder.dropped


@pytest.mark.parametrize("name", ["film.gif", "film"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"expected a film to record into: \.mp4, \.mov or \.mkv"):
        FilmRecorder(tmp_path / name, (48, 64), 30)


def test_a_film_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        FilmRecorder(path, (48, 64), 30)
    recorder = FilmRecorder(path, (48, 64), 30, overwrite=True)
    recorder.write(picture(0), 0)
    assert path.read_text() == "mine"
    recorder.finish()
    assert len(decode(path)) == 1


def test_a_relative_name_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = FilmRecorder(Path("12:30.mkv"), (48, 64), 30)
    recorder.write(picture(100), 0.0)
    recorder.finish()
    assert (tmp_path / "12:30.mkv").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise av.error.OSError(28, "No space left on device")

    recorder = FilmRecorder(tmp_path / "film.mp4", (48, 64), 30)
    monkeypatch.setattr(FilmRecorder, "_fit", full)
    with pytest.raises(OutputError, match=r"film\.mp4: cannot be written \(No space left on device\)"):
        for number in range(6_000):  # a busy computer may let the writing thread wait for seconds
            recorder.write(picture(0), number / 30)
            time.sleep(0.005)
    with pytest.raises(OutputError):
        recorder.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_without_pictures_is_no_file(tmp_path: Path) -> None:
    recorder = FilmRecorder(tmp_path / "film.mp4", (48, 64), 30)
    with pytest.raises(OutputError, match="not one picture"):
        recorder.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def outlets(tmp_path: Path) -> Iterator[tuple[Outlets, list[str]]]:
    told: list[str] = []
    made = Outlets(tmp_path, 30, told.append)
    yield made, told
    made.close()


def test_snapshots_are_numbered_after_what_is_there(outlets: tuple[Outlets, list[str]], tmp_path: Path) -> None:
    made, told = outlets
    (tmp_path / "wave-0007.mp4").touch()
    assert made.snapshot(picture(5), "wave") == "wave-0008.png"
    assert made.snapshot(picture(6), "wave") == "wave-0009.png"
    assert made.snapshot(picture(7), "other") == "other-0001.png"
    assert read_frame(tmp_path / "wave-0009.png").tolist() == picture(6).tolist()
    assert [path.name for path in made.files] == ["wave-0008.png", "wave-0009.png", "other-0001.png"]
    assert told[0] == str(tmp_path / "wave-0008.png")


def test_names_of_styles_cannot_leave_the_folder(outlets: tuple[Outlets, list[str]], tmp_path: Path) -> None:
    assert outlets[0].snapshot(picture(5), "../../a [b]*") == "_a_b_-0001.png"
    assert outlets[0].snapshot(picture(5), "../../a [b]*") == "_a_b_-0002.png"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_recording_by_key(outlets: tuple[Outlets, list[str]], tmp_path: Path) -> None:
    made, told = outlets
    assert made.recorded_s is None
    assert made.toggle_recording("wave") == "recording wave-0001.mp4"
    assert made.send(picture(1), 3.0) == ""
    assert made.send(picture(2), 3.5) == ""
    assert made.recorded_s == 0.5
    assert made.toggle_recording("wave") == "wave-0001.mp4 (0.5 s)"
    assert made.recorded_s is None
    assert len(decode(tmp_path / "wave-0001.mp4")) == 2
    assert told == [f"{tmp_path / 'wave-0001.mp4'} (0.5 s)"]


def test_a_recording_that_never_began_is_no_failure(outlets: tuple[Outlets, list[str]], tmp_path: Path) -> None:
    made, _ = outlets
    made.toggle_recording("wave")
    made.toggle_recording("wave")
    made.close()
    assert (made.files, made.failures, list(tmp_path.iterdir())) == ([], [], [])


def test_failures_are_told_and_the_show_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "file").touch()
    made = Outlets(tmp_path / "file", 30, told.append)
    assert made.snapshot(picture(1), "wave").startswith("failed: ")
    made.toggle_recording("wave")
    assert made.send(picture(1), 0).startswith("failed: ")
    assert made.send(picture(1), 1) == ""
    assert len(made.failures) == len(told) == 2
    assert made.files == []


def test_a_recording_that_fails_half_way_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise av.error.OSError(28, "No space left on device")

    made = Outlets(tmp_path, 30, lambda _words: None)
    made.toggle_recording("wave")
    made.send(picture(1), 0)
    monkeypatch.setattr(FilmRecorder, "_fit", full)
    give_up = time.monotonic() + 20
    while not made.send(picture(1), 1):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert made.recorded_s is None
    assert made.send(picture(1), 2) == ""
    made.close()
    assert len(made.failures) == 1
    assert list(tmp_path.iterdir()) == []


class Package:
    """A stand-in for pyvirtualcam."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.sent, self.closed = error, [], False
        self.device = "/dev/video9"

    def Camera(self, **options: object) -> "Package":  # noqa: N802 - its name
        self.options = options
        if self.error is not None:
            raise self.error
        return self

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Package:
    made = Package()
    monkeypatch.setattr(outlets_module.importlib, "import_module", lambda _name: made)
    return made


def test_a_virtual_camera_gets_every_picture(package: Package, tmp_path: Path) -> None:
    told: list[str] = []
    made = Outlets(tmp_path, 25, told.append)
    made.feed_virtual_camera()
    made.send(picture(1), 0)
    made.send(picture(2, (96, 128)), 1)
    made.close()
    assert package.options == {"width": 64, "height": 48, "fps": 25}
    assert [frame.shape for frame in package.sent] == [(48, 64, 3)] * 2
    assert package.closed
    assert told == ["other programs find the pictures in /dev/video9"]


def test_no_virtual_camera_on_the_system(package: Package, tmp_path: Path) -> None:
    package.error = RuntimeError("'v4l2loopback' backend: no device\nfound")
    made = Outlets(tmp_path, 25, print)
    made.feed_virtual_camera()
    with pytest.raises(SettingError, match=r"no device found\); it takes v4l2loopback on Linux"):
        made.send(picture(1), 0)


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyvirtualcam", None)
    with pytest.raises(SettingError, match=r"pip install .*\[virtual-camera\]"):
        Outlets(tmp_path, 25, print).feed_virtual_camera()
