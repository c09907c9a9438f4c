"""tools/film_figures.py measures what it says, on films of a few small frames."""

import importlib.util
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fastnst.inference.pipeline import StylePipeline
from fastnst.video.plan import VideoSettings, plan_film

TOOL = Path(__file__).parents[2] / "tools" / "film_figures.py"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("film_figures", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_stages_and_the_whole(figures: ModuleType, fake_session: type, tmp_path: Path) -> None:
    figures.draw_film(tmp_path / "film.mp4", 30, (32, 48))
    settings = VideoSettings(codec_threads=1, encoder_speed="ultrafast", end=Fraction(20, 25), resume=False)
    plan = plan_film(tmp_path / "film.mp4", tmp_path / "out.mp4", settings, overwrite=True)
    painted: list[float] = []

    def paint(frame: np.ndarray) -> np.ndarray:
        painted.append(time.perf_counter())
        time.sleep(0.01)
        return frame

    (tmp_path / "fake.onnx").touch()
    pipeline = StylePipeline(
        str(tmp_path / "fake.onnx"), open_session=lambda path, **_options: fake_session(paint, path=path)
    )
    taken = figures.measure_stages(pipeline, plan, rounds=2)
    assert list(taken) == ["reading", "painting", "writing", "one after another", "video"]
    assert len(painted) == 20 + 2 * 3 * 20  # once for the frames to write; alone, one after another, in video
    for name in ("painting", "one after another", "video"):
        assert taken[name].elapsed_s >= 0.2
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.mp4"]


def test_held_and_not_held(figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    figures.draw_film(tmp_path / "film.mp4", 4, (64, 96))

    def flickers(frame: np.ndarray) -> np.ndarray:
        return (frame // 2 + rng.integers(0, 60)).astype(np.uint8)

    figures.show_steadiness(flickers, [tmp_path / "film.mp4"], 0.8, 4, 96)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["scene", "kind", "excess", "held", "fine", "detail"]
    assert len(rows) >= 1
    excess, held, detail = (float(word) for word in rows[0].split()[-3:])
    assert 0 < held < excess
    assert detail > 0.5


def test_memory_from_the_command_line() -> None:
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    words = ("memory", "--minutes", "0.02", "--size", "48x32", "--wait", "0", "--codec-threads", "1")
    done = subprocess.run([sys.executable, str(TOOL), *words], capture_output=True, text=True, timeout=100, check=True)
    assert done.stderr == ""
    assert "\nminute   1: " in done.stdout
    assert "\n30 frames in " in done.stdout
