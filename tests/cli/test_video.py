"""`fastnst video` as a user sees it: a film, one line, exit status."""

import io
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cyclopts import App
from PIL import Image
from rich.console import Console

from fastnst.cli import call
from fastnst.cli import video as module
from fastnst.cli.console import film_progress
from fastnst.errors import InputError, OutputError, SettingError
from fastnst.inference.pipeline import StylePipeline
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.stylize import FilmProgress

QUICK = ("--threads", "1", "--codec-threads", "1")


def write_film(path: Path, frames: int = 10) -> Path:
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = 64, 48, "yuv420p", 1
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (250, 200, 100), np.uint8), format="rgb24")
            clip.mux(stream.encode(picture))
        clip.mux(stream.encode(None))
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mp4")


def run(*arguments: object) -> int:
    app = App()
    app.command(module.video)
    given = [str(argument) for argument in arguments]
    words = ["video", *given, *QUICK, *(() if "--provider" in given else ("--provider", "cpu"))]
    try:
        app(words, exit_on_error=False, print_error=False)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_one_film(film: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(film, "--style", style, "-o", tmp_path / "out.mp4") == 0
    with av.open(str(tmp_path / "out.mp4")) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(frames) == 10
    np.testing.assert_allclose(frames[5][24, 32], (5, 55, 155), atol=4)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"{tmp_path / 'out.mp4'}: 10 frames in ")
    assert err.endswith(" fps) on cpu\n")
    assert err.count("\n") == 1


def test_names_that_are_no_text(film: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    odd = folder / os.fsdecode(b"fil\xe9m.mp4")
    odd.write_bytes(film.read_bytes())
    for name in (b"out\xe9.mp4", b"out\xe9.mkv", b"out\xe9.gif", b"pictur\xe9s/%d.png"):
        assert run(odd, "--style", style, "-o", folder / os.fsdecode(name)) == 0, name
    assert len(list((folder / os.fsdecode(b"pictur\xe9s")).iterdir())) == 10
    assert run(folder, "--style", style, "-o", tmp_path / "all") == 0
    assert "caf\\udce9" in capfd.readouterr().err
    odd.write_bytes(b"")
    assert run(folder / os.fsdecode(b"pictur\xe9s"), "--fps", "25", "--style", style, "-o", tmp_path / "a.mp4") == 0


def test_frames_that_are_left_out_are_named(style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "2.CR2").touch()
    with pytest.raises(InputError, match=r"no numbered pictures; 1 raw file is left out, .*2\.CR2"):
        run(frames, "--style", style, "-o", tmp_path / "out.mp4")
    for number in (1, 3):
        Image.new("RGB", (32, 32)).save(frames / f"{number}.png")
    assert run(frames, "--fps", "25", "--style", style, "-o", tmp_path / "out.mp4") == 0
    assert "1 raw file is left out, " in capfd.readouterr().err


def test_styles_that_nobody_mixed_are_said_before(
    film: Path, write_duo: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    duo = tmp_path / "duo.onnx"
    write_duo(duo)
    assert run(film, "--style", duo, "-o", tmp_path / "out.mp4") == 0
    note, done = capfd.readouterr().err.splitlines()
    assert note == f"{film}: {duo}: stylizes all of its styles alike; {duo}@NAME stylizes one of them"
    assert done.startswith(f"{tmp_path / 'out.mp4'}: 10 frames in ")


def test_folder_with_a_bad_film(film: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    film.rename(folder / "good.mp4")
    (folder / "bad.mp4").write_text("text")
    write_film(folder / "zebra.mp4", 5)
    assert run(folder, "--style", style, "-o", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["good.mp4", "zebra.mp4"]
    err = capfd.readouterr().err
    assert f"failed: {folder / 'bad.mp4'}: not a film that can be read" in err
    assert err.endswith(f"; 1 failed: {folder / 'bad.mp4'}\n")
    assert "Traceback" not in err


def test_existing_output(film: Path, style: str, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite replaces it"):
        run(film, "--style", style, "-o", tmp_path / "out.mp4")
    assert run(film, "--style", style, "-o", tmp_path / "out.mp4", "--overwrite") == 0
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"


def test_options_reach_the_film(film: Path, style: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert (
        run(film, "--style", style, "-o", out, "--start", "0:00:00.08", "--end", "0.2", "--pixel-format", "yuv444p")
        == 0
    )
    with av.open(str(out)) as clip:
        frames = list(clip.decode(video=0))
    assert [frame.format.name for frame in frames] == ["yuv444p"] * 3


def test_strength_and_mask(film: Path, style: str, tmp_path: Path) -> None:
    # Of (250, 200, 100), the upper half is painted: (5, 55, 155), and of that a quarter laid over the film.
    Image.fromarray(np.repeat(np.array([[255], [0]], np.uint8), 24, 0).repeat(64, 1)).save(tmp_path / "mask.png")
    look = ("--mask", tmp_path / "mask.png", "--strength", "0.25")
    assert run(film, "--style", style, "-o", tmp_path / "out.mkv", "--codec", "ffv1", *look) == 0
    with av.open(str(tmp_path / "out.mkv")) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(frames) == 10
    np.testing.assert_allclose(frames[5][6, 32], (189, 164, 114), atol=4)
    np.testing.assert_allclose(frames[5][42, 32], (250, 200, 100), atol=4)


def test_steady(film: Path, style: str, tmp_path: Path) -> None:
    assert run(film, "--style", style, "-o", tmp_path / "out.mp4", "--steady", "0.8") == 0
    with pytest.raises(SettingError, match="steady 2: expected 0"):
        run(film, "--style", style, "-o", tmp_path / "other.mp4", "--steady", "2")


def test_another_strength_starts_anew(style: str, tmp_path: Path, stop_after: Callable[..., None]) -> None:
    film, out = write_film(tmp_path / "film.mp4", SEGMENT_FRAMES + 20), tmp_path / "out.mkv"
    words = (film, "--style", style, "-o", out, "--codec", "ffv1", "--pixel-format", "bgr0")
    stop_after(SEGMENT_FRAMES + 10, *words)
    assert run(*words, "--strength", "0.5") == 0
    first, last = first_and_last_level(out)
    assert first == last


def test_numbered_pictures(film: Path, style: str, tmp_path: Path) -> None:
    assert run(film, "--style", style, "-o", tmp_path / "frames" / "%02d.png") == 0
    assert len(list((tmp_path / "frames").iterdir())) == 10
    assert run(tmp_path / "frames", "--style", style, "-o", tmp_path / "back.mp4", "--fps", "30000/1001") == 0
    with av.open(str(tmp_path / "back.mp4")) as clip:
        assert clip.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--start", "soon", "seconds"),
        ("--end", "1:75", "seconds"),
        ("--start", "-3", "seconds"),
        ("--start", "1e999999999", "seconds"),
        ("--start", "nan", "seconds"),
        ("--fps", "0", "frames"),
        ("--fps", "24/0", "frames"),
        ("--fps", "1/2/3", "frames"),
        ("--fps", "1e-999999999", "frames"),
    ],
)
def test_times_that_are_none(film: Path, style: str, tmp_path: Path, option: str, text: str, expected: str) -> None:
    with pytest.raises(SettingError, match=f"{option} {text}: expected {expected}"):
        run(film, "--style", style, "-o", tmp_path / "out.mp4", f"{option}={text}")


def test_times_by_hand() -> None:
    read = module._seconds
    assert read("--start", "90") == 90
    assert read("--start", "1:30") == 90
    assert read("--start", "1:00:01.5") == Fraction(7203, 2)
    assert read("--start", None) is None
    assert module._rate("29.97") == Fraction(2997, 100)
    assert module._rate("30000/1001") == Fraction(30000, 1001)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a command that is stopped by Ctrl-C after some frames."""

    def stop(frames: int, *arguments: object) -> None:
        paint, calls = StylePipeline.__call__, 0

        def interrupted(self: StylePipeline, frame: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            if calls > frames:
                raise KeyboardInterrupt
            return paint(self, frame)

        with monkeypatch.context() as patched:
            patched.setattr(StylePipeline, "__call__", interrupted)
            patched.setattr(call, "tokens", ["video", *map(str, arguments)])
            assert run(*arguments) == 130

    return stop


def test_interrupted_job_says_that_it_goes_on(
    style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], stop_after: Callable[..., None]
) -> None:
    film, out = write_film(tmp_path / "film.mp4", SEGMENT_FRAMES + 20), tmp_path / "out.mp4"
    stop_after(SEGMENT_FRAMES + 14, film, "--style", style, "-o", out)
    assert capfd.readouterr().err.startswith(
        f"{out}: what is stylized is kept; this goes on: fastnst video {film} --style "
    )
    assert run(film, "--style", style, "-o", out) == 0
    assert capfd.readouterr().err.endswith(f"; {SEGMENT_FRAMES} of them from an earlier run\n")


def first_and_last_level(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(frames) == SEGMENT_FRAMES + 20
    return int(frames[0][24, 32, 2]), int(frames[-1][24, 32, 2])


def test_of_a_bad_film_only_its_error_is_said(style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_bytes(bytes(100))
    with pytest.raises(InputError) as caught:
        run(tmp_path / "bad.mp4", "--style", style, "-o", tmp_path / "out.mp4")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "gone.mp4", "--style", style, "-o", tmp_path / "out.mp4")


def test_a_background_that_is_no_color(film: Path, style: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--background greenish: expected a colo"):
        run(film, "--style", style, "-o", tmp_path / "out.mp4", "--background", "greenish")


def test_a_much_larger_film_is_said_beforehand(
    style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(tmp_path / "film.mp4", SEGMENT_FRAMES + 20)
    monkeypatch.setattr(module, "_LARGE_BYTES", 1000)
    assert run(film, "--style", style, "-o", tmp_path / "out.mkv", "--codec", "ffv1") == 0
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if "will take about" in line and "--crf" in line] == lines[:1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def lines(clock: list[float], *steps: tuple[float, FilmProgress]) -> list[str]:
    file, clock[0] = io.StringIO(), 1000.0
    with film_progress("film.mp4", Console(file=file, highlight=False)) as show:
        for at_s, progress in steps:
            clock[0] = 1000 + at_s
            show(progress)
    return file.getvalue().splitlines()


def test_lines_of_progress(clock: list[float]) -> None:
    shown = lines(
        clock,
        (1, FilmProgress(10, 4000, 0)),
        (59, FilmProgress(590, 4000, 0)),
        (60, FilmProgress(600, 4000, 0)),
        (61, FilmProgress(610, 4000, 0)),
        (125, FilmProgress(1250, 4000, 0)),
    )
    assert shown == [
        "film.mp4: 600 of 4000 frames, 10.0 fps, 0:05:40 left",
        "film.mp4: 1250 of 4000 frames, 10.0 fps, 0:04:35 left",
    ]
    assert lines(clock, (60, FilmProgress(2030, 2330, 2000))) == [
        "film.mp4: 2030 of 2330 frames, 0.5 fps, 0:10:00 left"
    ]
    assert lines(clock, (60, FilmProgress(600, None, 0))) == ["film.mp4: 600 frames, 10.0 fps"]
    assert lines(clock, (60, FilmProgress(600, 500, 0))) == ["film.mp4: 600 of 600 frames, 10.0 fps, 0:00:00 left"]


def test_bar_on_a_terminal(clock: list[float]) -> None:
    file = io.StringIO()
    with film_progress("[red]film.mp4", Console(file=file, force_terminal=True, width=100)) as show:
        show(FilmProgress(2001, 2100, 2000))
        clock[0] += 2
        show(FilmProgress(2011, 2100, 2000))
    shown = file.getvalue()
    assert "[red]film.mp4" in shown
    assert "2011/2100" in shown
    assert "5.5 fps" in shown
