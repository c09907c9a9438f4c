"""`fastnst webcam` as a user sees it: lines on stderr, exit status, files; and a real window where there can be one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fastnst.cli import main
from fastnst.cli.webcam import _first_style, _styles
from fastnst.inference.effects import PLAIN, Effects
from fastnst.io.images import read_frame
from fastnst.io.styles import LIVE, StyleChoice, bundled_styles_folder

START = "import sys; from fastnst.cli import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of film at 15 frames a second, (200, 60, 30) all over."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(15), width=192, height=160, pix_fmt="bgr0")
        for _ in range(15):
            picture = np.full((160, 192, 3), (200, 60, 30), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path / "styles"))


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code is None or isinstance(caught.value.code, int)
    return caught.value.code or 0


def test_recording_without_a_screen(film: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.mp4"
    assert run("webcam", "--source", film, "--style", style, "--record", output, "--provider", "cpu") == 0
    with av.open(str(output)) as recorded:
        frames = [frame.to_ndarray(format="rgb24") for frame in recorded.decode(video=0)]
    np.testing.assert_allclose(frames[-1][80, 96], [55, 195, 225], atol=5)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "no window: there is no screen (DISPLAY is not set); Ctrl-C ends"
    assert lines[1].startswith(f"{output} (")
    # On a busy machine the recorder leaves some out.
    assert 0 < len(frames) <= int(lines[2].split(" of 15 pictures stylized")[0])
    assert len(lines) == 3


def test_the_first_installed_style_is_the_default(film: Path, style: str, tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    shutil.copy(style, tmp_path / "styles" / "aaa.onnx")
    assert run("webcam", "--source", film, "--record", tmp_path / "out.mp4", "--frames", "3") == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 1, "DISPLAY is not set). --record FILE works without one"),
        (["--no-window"], 1, "add --record FILE or --virtual-camera"),
        (["--record", "out.gif"], 1, "expected a film to record into: .mp4, .mov or .mkv"),
        (["--record", "there.mp4"], 1, "--overwrite replaces it"),
        (["--record", "out.mp4", "--source", "gone.mp4"], 1, "gone.mp4: no such file; --source expects a film"),
        (["--record", "out.mp4", "--source", "STYLE"], 1, "not a film that can be read"),
        (["--record", "out.mp4", "--camera", "/dev/video77"], 1, "/dev/video77: cannot be opened"),
        (["--record", "out.mp4", "--camera", "77", "--capture-backend", "v4l2"], 1, "(tried v4l2)"),
        (["--record", "out.mp4", "--camera", "9" * 20, "--capture-backend", "v4l2"], 1, "9999: cannot be opened"),
        (["--record", "there.mp4", "--source", "./there.mp4", "--overwrite"], 1, "there.mp4: is the film that plays"),
        (["--record", "out.mp4", "--camera-size", "big"], 1, "such as 1280x720"),
        (["--capture-backend", "directshow"], 2, "backend"),
        (["--fps", "0"], 2, "fps"),
        (["--strength", "2"], 1, "--strength is 2"),
        (["--steady", "2"], 1, "steady 2: expected 0"),
        (["--record", "out.mp4", "--mask", "gone.png"], 1, "gone.png: no such file"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str],
    status: int,
    words: str,
    style: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.mp4").touch()
    given = [style if argument == "STYLE" else argument for argument in arguments]
    assert run("webcam", "--style", style, *given) == status
    out, err = capfd.readouterr()
    last = err.splitlines()[-1]
    assert out == ""
    assert last.startswith("fastnst: ")
    assert words in last
    assert [line for line in err.splitlines()[:-1] if not line.startswith("no window: ")] == []
    assert not Path("out.mp4").exists()
    assert Path("there.mp4").stat().st_size == 0


def test_an_unknown_style(film: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("webcam", "--source", film, "--style", "nonsuch", "--record", "out.mp4") == 1
    assert "no style 'nonsuch'" in capfd.readouterr().err


def test_loads_no_more_than_it_needs(style: str) -> None:
    # Only films and recordings need PyAV: its FFmpeg beside OpenCV's makes macOS complain.
    code = (
        "import sys; from fastnst.cli import main\n"
        "sys.modules['pyvirtualcam'] = sys\n"
        "try: main(['webcam', *sys.argv[1:]])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'av'} & set(sys.modules)))"
    )
    given = ["--style", style, "--camera", "77", "--virtual-camera"]
    done = subprocess.run([sys.executable, "-c", code, *given], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to the whole console")
def test_interrupted_from_outside_the_recording_is_whole(film: Path, style: str, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = ["webcam", "--source", str(film), "--loop", "--style", style, "--record", str(output)]
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    command = [sys.executable, "-c", START, *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 60
        while not list(tmp_path.glob(".*.part.mp4")):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    with av.open(str(output)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) > 0
    assert list(tmp_path.glob(".*")) == []


@pytest.fixture
def display() -> Iterator[str]:
    """A screen in memory."""
    if not all(shutil.which(tool) for tool in ("Xvfb", "xdotool", "import")):
        pytest.skip("needs Xvfb, xdotool and ImageMagick")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-noreset", "-screen", "0", "640x480x24"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as numbers:
            number = numbers.readline().strip()
        yield f":{number}"
        server.terminate()


def test_a_real_window(display: str, film: Path, style: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DISPLAY": display}
    arguments = ["webcam", "--source", str(film), "--loop", "--style", style, "--folder", str(tmp_path)]
    command = [sys.executable, "-c", START, *arguments, "--seconds", "120"]

    def tool(*words: str) -> str:
        done = subprocess.run(words, env=environment, check=False, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    def wait_for(condition: str, *words: str) -> str:
        give_up = time.monotonic() + 90
        while not (found := tool(*words)):
            assert time.monotonic() < give_up, condition
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.2)
        return found

    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        window = wait_for("no window", "xdotool", "search", "--name", "^fastnst$").splitlines()[-1]
        tool("xdotool", "windowfocus", window)
        time.sleep(1)
        shot = tmp_path / "screen.png"
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            tool("import", "-window", "root", str(shot))
            if np.abs(read_frame(shot)[100, 150].astype(int) - [55, 195, 225]).max() < 6:
                break
        np.testing.assert_allclose(read_frame(shot)[100, 150].astype(int), [55, 195, 225], atol=6)
        while not list(tmp_path.glob("invert-*.png")):
            assert time.monotonic() < give_up + 60
            tool("xdotool", "key", "--window", window, "s")
            time.sleep(0.5)
        tool("xdotool", "key", "--window", window, "q")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    with suppress(StopIteration):
        assert (read_frame(next(tmp_path.glob("invert-*.png")))[5, 5] == [55, 195, 225]).all()
    assert "pictures stylized" in err


def test_without_a_style_the_one_for_live_pictures_begins(
    style: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    assert _first_style(PLAIN) in LIVE
    shutil.copyfile(style, tmp_path / "gallery-live.onnx")
    assert _first_style(PLAIN) == "gallery-live@starry_night"
    assert _first_style(Effects(mix="great_wave:0.5,mosaic:0.5")) == "gallery-live"
    styles, chosen = _styles("gallery-live@starry_night")
    assert (list(styles)[chosen], chosen) == ("gallery-live@starry_night", 0)
    styles, chosen = _styles("gallery@the_scream")
    assert (list(styles)[chosen], chosen) == ("gallery@the_scream", 2)
    assert list(styles.values())[3] == StyleChoice(bundled_styles_folder() / "gallery.onnx", "composition_vii")
