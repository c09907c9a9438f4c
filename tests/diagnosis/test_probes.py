"""Probes: processes that answer, crash and hang."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnst.diagnosis import examine as examining
from fastnst.diagnosis import probes
from fastnst.diagnosis.examine import Finding
from fastnst.diagnosis.probes import (
    Answer,
    probe,
    probe_cameras,
    probe_codecs,
    probe_import,
    probe_provider,
    probe_styles,
)


def test_a_probe_answers_or_that_is_an_error() -> None:
    assert probe("import", "json") == Answer([{"imported": "json"}])
    assert probe("import", "nonsuch").first == {"error": "ModuleNotFoundError: No module named 'nonsuch'"}
    assert Answer([], "crashed (signal 11)").first == {"error": "crashed (signal 11)"}
    assert Answer().first == {"error": "gave no answer"}


@pytest.mark.parametrize(
    ("code", "lines", "failure"),
    [
        ("print('{\"a\": 1}', flush=True); import os; os.abort()", [{"a": 1}], "crashed (signal 6)"),
        ("print('{\"a\": 1}', flush=True); import time; time.sleep(60)", [{"a": 1}], "gave no answer in 2 s"),
        ("raise ImportError('no libtbb')", [], "ended with status 1 (ImportError: no libtbb)"),
        ("print('{\"a\": 1}'); print('{\"b\":')", [{"a": 1}], None),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals have other numbers there")
def test_ends_of_all_kinds(code: str, lines: Any, failure: str | None) -> None:
    assert probe("x", timeout_s=2 if "sleep" in code else 6, module=("-c", code)) == Answer(lines, failure)


def test_what_libraries_print_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    # x265 prints to stderr, SVT-AV1 to wherever it likes.
    assert all("encoder" in line for line in probe("codecs").lines)


# What the probes do


def test_the_cpu_runs() -> None:
    assert list(probe_provider("cpu")) == [{"precision": "float32", "on_cpu": ()}]


def test_a_provider_that_does_not_run_says_why_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    (answer,) = probe_provider("cuda")
    assert answer["error"].startswith("this ONNX Runtime was built without CUDA")
    assert "provider auto" not in answer["error"]


def test_an_import_that_fails_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(_name: str) -> None:
        raise OSError("libGL.so.1: cannot open\nsecond line")

    monkeypatch.setattr(probes.importlib, "import_module", fall)
    assert list(probe_import("cv2")) == [{"error": "OSError: libGL.so.1: cannot open"}]


class Camera:
    """Camera 0 gives pictures, camera 1 opens and gives none."""

    def __init__(self, number: int, _api: int) -> None:
        self.number = number

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.number < 2

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, np.zeros((48, 64, 3), np.uint8)) if self.number == 0 else (False, None)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            "linux",
            [
                {"camera": 0, "size": "64x48"},
                {"camera": 1, "error": "gives no picture"},
                {"camera": 2, "error": "/dev/video2 may not be opened by this user"},
            ],
        ),
        ("darwin", [{"camera": 0, "size": "64x48"}]),
    ],
)
def test_cameras(monkeypatch: pytest.MonkeyPatch, system: str, expected: Any) -> None:
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("os.access", lambda path, _mode: path != "/dev/video2")
    assert list(probe_cameras([0, 1, 2])) == expected


def test_no_camera() -> None:
    assert list(probe_cameras([])) == []


def test_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setattr("fastnst.video.codecs.CODECS", {"ffv1": "ffv1", "gif": "gif", "new": "libnonsuch"})
    assert list(probe_codecs(hardware=())) == [
        {"encoder": "ffv1", "codec": "ffv1", "error": None},
        {"encoder": "gif", "codec": "gif", "error": None},
        {"encoder": "libnonsuch", "codec": "new", "error": "missing"},
    ]


def test_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.io.styles.bundled_styles_folder", lambda: tmp_path / "none")
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    (tmp_path / "broken.onnx").write_text("text")
    (answer,) = probe_styles()
    assert (answer["name"], answer["path"], answer["origin"]) == ("broken", str(tmp_path / "broken.onnx"), "yours")
    assert "not a readable" in answer["error"]


# All together


@pytest.mark.parametrize("broken", [{"onnxruntime", "av"}, {"cv2"}, set()])
def test_what_rests_on_a_package_that_does_not_load_is_left_out(
    monkeypatch: pytest.MonkeyPatch, broken: set[str]
) -> None:
    asked: list[str] = []

    def answer(name: str, *arguments: str, timeout_s: float = 0) -> Answer:
        asked.append(" ".join((name, *arguments)))
        if name == "import":
            return Answer([{"error": "broken"} if arguments[0] in broken else {}])
        return Answer([{"precision": "float32", "on_cpu": []}]) if name == "provider" else Answer()

    monkeypatch.setattr(examining, "probe", answer)
    report = examining.examine()
    assert {"import torch", "provider cpu", "cameras", "codecs", "styles"} <= set(asked)
    left_out = {"onnxruntime": {"providers", "styles"}, "av": {"codecs"}, "cv2": {"cameras"}}
    expected = {"versions", "providers", "cameras", "codecs", "weights", "styles"}
    for package in broken:
        expected -= left_out[package]
    assert {finding.area for finding in report.findings} == expected
    assert report.works == ("onnxruntime" not in broken)
    assert (Finding("providers", "cpu", "ok") in report.findings) == ("onnxruntime" not in broken)


def test_no_probe_is_begun_after_ctrl_c() -> None:
    begun: list[int] = []

    def probe_slowly(number: int) -> None:
        begun.append(number)
        time.sleep(0.05)

    def ask_and_interrupt() -> None:
        with examining._pool() as pool:
            for number in range(40):
                pool.submit(probe_slowly, number)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask_and_interrupt()
    assert len(begun) <= 8
