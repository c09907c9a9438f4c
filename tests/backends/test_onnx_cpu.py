"""ONNX Runtime's sessions: options that change no pixel of a tiny network are read back."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fastnst.backends import cpu
from fastnst.backends.cpu import CPU, OnnxBackend, open_session, placed_operators

TWO_STEPS = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized, int64[4] size) {
    size = Shape(frame)
    turned = Transpose<perm = [0, 2, 1, 3]>(frame)
    stylized = Transpose<perm = [0, 2, 1, 3]>(turned)
}"""


def test_options_of_a_session(invert: Path) -> None:
    opened = open_session(invert, [CPU], 3)
    options = opened.get_session_options()
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert options.intra_op_num_threads == 3
    assert options.log_severity_level == 4
    assert not options.enable_mem_pattern
    assert not opened._enable_fallback


def test_threads_by_default(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "default_threads", lambda: 5)
    assert open_session(invert, [CPU]).get_session_options().intra_op_num_threads == 5


def test_a_session_for_one_size_takes_no_other(invert: Path) -> None:
    fixed = open_session(invert, [CPU], 1, {"N": 1, "H": 4, "W": 6})
    assert fixed.get_inputs()[0].shape == [1, 4, 6, 3]
    with pytest.raises(Exception, match="Got: 5 Expected: 4"):
        fixed.run(None, {"frame": np.zeros((1, 5, 6, 3), np.uint8)})


def test_the_stylized_output_is_computed_wherever_it_stands(write_network: Any) -> None:
    assert OnnxBackend(write_network(TWO_STEPS)).run({"frame": np.zeros((1, 4, 6, 3), np.uint8)}).shape == (1, 4, 6, 3)


@pytest.mark.skipif(
    not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"), reason="ONNX Runtime before 1.24.1"
)
def test_where_operators_are_placed(write_network: Any) -> None:
    placed = placed_operators(open_session(write_network(TWO_STEPS), [CPU]))
    assert placed is not None
    assert placed.keys() == {"CPUExecutionProvider"}
    # Which of the transpositions remain is ONNX Runtime's business.
    assert "Shape" in placed["CPUExecutionProvider"]


def test_older_versions_cannot_tell_where_operators_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert placed_operators(object()) is None  # type: ignore[arg-type]


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="ONNX Runtime was built without CUDA"
)
def test_libraries_that_are_not_there_are_no_news(invert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_session(invert, [("CUDAExecutionProvider", {})])
    assert capfd.readouterr() == ("", "")


ENDLESS = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64 many = {9000000000000000000}, bool yes = {1}> {
    stylized = Loop (many, yes, frame) <body = b (int64 i, bool c, uint8[N, H, W, 3] x)
        => (bool c2, uint8[N, H, W, 3] y) { c2 = Identity(c)  y = Identity(x) }>
}"""


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is another thing there")
def test_ctrl_c_does_not_wait_for_a_network(write_network: Any) -> None:
    backend = OnnxBackend(write_network(ENDLESS), 1)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        backend.run({"frame": np.zeros((1, 4, 6, 3), np.uint8)})
    assert time.monotonic() - started < 10


def test_errors_of_a_run_reach_the_caller(invert: Path) -> None:
    with pytest.raises(Exception, match="Invalid rank for input"):
        OnnxBackend(invert).run({"frame": np.zeros((4, 6, 3), np.uint8)})
