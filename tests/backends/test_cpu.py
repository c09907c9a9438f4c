"""ONNX Runtime's sessions: options that change no pixel of a tiny network are read back."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fastnst.backends import choosing, cpu
from fastnst.backends.contract import UnavailableError
from fastnst.backends.cpu import CPU, OnnxBackend, OpenVinoBackend, open_session, openvino_precisions, placed_operators
from fastnst.errors import SettingError
from fastnst.inference.stylizer import Stylizer

TWO_STEPS = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized, int64[4] size) {
    size = Shape(frame)
    turned = Transpose<perm = [0, 2, 1, 3]>(frame)
    stylized = Transpose<perm = [0, 2, 1, 3]>(turned)
}"""


def test_options_of_a_session(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_session(invert, [CPU], 3)
    options = opened.get_session_options()
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert options.intra_op_num_threads == 3
    assert options.log_severity_level == 4
    assert not options.enable_mem_pattern
    assert not opened._enable_fallback
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


# OpenVINO as a back-end, where it is installed; and what is said where it is not.

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")

FRAMES = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
BLUR = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<float[3, 3, 1, 1] weight = {0.5, 0.5, 0, 0, 0.5, 0.5, 0.5, 0, 0.5}> {
    planes = Transpose<perm = [0, 3, 1, 2]>(frame)
    levels = Cast<to = 1>(planes)
    mixed = Conv(levels, weight)
    rounded = Round(mixed)
    whole = Cast<to = 2>(rounded)
    stylized = Transpose<perm = [0, 2, 3, 1]>(whole)
}"""
"""Mixes channels half and half."""


@needs_openvino
def test_paints_what_onnx_runtime_paints(write_network: Any) -> None:
    path = write_network(BLUR)
    frame = np.random.default_rng(0).integers(0, 256, (23, 41, 3), np.uint8)
    painted = Stylizer(path, provider="openvino", threads=1)
    assert painted.provider == "openvino"
    expected = Stylizer(path, provider="cpu")(frame)
    # bfloat16 holds whole numbers to 256 exactly; their halves are rounded.
    assert np.abs(painted(frame).astype(int) - expected).max() <= 1
    exact = OpenVinoBackend(path, precision="float32", threads=1)
    np.testing.assert_array_equal(exact.run({"frame": frame[None]})[0], expected)


TOLD = """
g (uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized)
<float[4, 3, 1, 1] weight = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0}, float[4] bias = {1, 2, 3, 4},
 float[3, 4, 1, 1] last = {10, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10, 5}, int64[1] zero = {0}, int64[2] turned = {2, 1},
 float[2, 4] scales = {1, 2, 3, 4, 4, 3, 2, 1}, float[2, 4] shifts = {4, 4, 4, 4, 5, 6, 7, 8}> {
    planes = Transpose<perm = [0, 3, 1, 2]>(frame)
    levels = Cast<to = 1>(planes)
    mixed = Conv(levels, weight, bias)
    shares = Reshape(style_weights, turned)
    scaled = Mul(scales, shares)
    scale = ReduceSum<keepdims = 0>(scaled, zero)
    shifted = Mul(shifts, shares)
    shift = ReduceSum<keepdims = 0>(shifted, zero)
    normal = InstanceNormalization(mixed, scale, shift)
    made = Conv(normal, last)
    rounded = Round(made)
    bounded = Relu(rounded)
    whole = Cast<to = 2>(bounded)
    stylized = Transpose<perm = [0, 2, 3, 1]>(whole)
}"""
"""A normalization whose scale and shift are mixed of two rows."""


@needs_openvino
def test_scales_that_are_inputs(write_network: Any) -> None:
    path = write_network(TOLD)
    frame = np.random.default_rng(0).integers(0, 256, (23, 41, 3), np.uint8)
    ours, theirs = OpenVinoBackend(path, threads=1), Stylizer(path, provider="cpu")
    for weights in ((1, 0), (0.25, 0.75)):
        painted = ours.run({"frame": frame[None], "style_weights": np.float32(weights)})[0]
        assert np.abs(painted.astype(int) - theirs(frame, style_weights=weights)).max() <= 1
    # Where pictures have their channels innermost (acdb), none is turned round for the product.
    names = [node.get_friendly_name() for node in ours._compiled.get_runtime_model().get_ops()]
    assert not [name for name in names if name.startswith(("MVN", "Multiply")) and "acdb" in name]


@needs_openvino
def test_batches_and_sizes(invert: Path) -> None:
    backend = OpenVinoBackend(invert, threads=1)
    for view in (FRAMES, FRAMES[:1], FRAMES[:, :1, :1], FRAMES):
        frames = np.ascontiguousarray(view)
        before = frames.copy()
        painted = backend.run({"frame": frames})
        np.testing.assert_array_equal(painted, 255 - before)
        np.testing.assert_array_equal(frames, before)
        assert painted.flags.owndata


@needs_openvino
def test_results_outlive_the_next_call(invert: Path) -> None:
    backend = OpenVinoBackend(invert, threads=1)
    first = backend.run({"frame": FRAMES})
    backend.run({"frame": 255 - FRAMES})
    np.testing.assert_array_equal(first, 255 - FRAMES)


@needs_openvino
def test_several_threads_at_once(invert: Path) -> None:
    backend = OpenVinoBackend(invert, threads=1)
    request, inside, most = backend._request, [0], [0]

    class Request:
        """The real one, which notes how many calls it serves at a time."""

        def infer(self, *arguments: Any, **options: Any) -> Any:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            results = request.infer(*arguments, **options)
            inside[0] -= 1
            return results

    backend._request = Request()
    frames = [np.full((1, 5, 7, 3), level, np.uint8) for level in range(8)]
    with ThreadPoolExecutor(8) as pool:
        painted = list(pool.map(lambda frame: backend.run({"frame": frame}), frames))
    assert most == [1]
    for frame, result in zip(frames, painted, strict=True):
        np.testing.assert_array_equal(result, 255 - frame)


def test_settings_reach_openvino(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    seen: list[Any] = []

    class Core(openvino.Core):  # type: ignore[name-defined, misc]
        def compile_model(self, model: Any, device: Any, settings: Any) -> Any:  # type: ignore[override]
            compiled = super().compile_model(model, device, settings)
            names = (
                "INFERENCE_PRECISION_HINT",
                "INFERENCE_NUM_THREADS",
                "CPU_DENORMALS_OPTIMIZATION",
                "ENABLE_CPU_PINNING",
            )
            seen.append([*(compiled.get_property(name) for name in names), settings["CPU_RUNTIME_CACHE_CAPACITY"]])
            return compiled

    monkeypatch.setattr(cpu, "_core", Core)
    OpenVinoBackend(invert, precision="float32", threads=1)
    (hint, threads, denormals, pinned, kept), *_ = seen
    assert int(kept) <= 512  # prepared layers; without a limit each new size of picture takes memory for good
    assert hint == openvino.Type.f32
    assert threads == 1
    assert denormals is True
    assert pinned is False


LET_GO = """
import gc, os, signal, sys, threading
from pathlib import Path
from fastnst.backends.cpu import OpenVinoBackend

signal.signal(signal.SIGTERM, lambda *_: print("handled"))
backends = [OpenVinoBackend(Path(sys.argv[1]))]
thread = threading.Thread(target=lambda: (backends.clear(), gc.collect()))
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


@needs_openvino
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_after_another_thread_let_go_of_the_network(invert: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LET_GO, invert], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.split()) == (0, ["handled", "alive"]), ended.stderr


@needs_openvino
def test_full_precision_is_always_the_last_resort() -> None:
    assert openvino_precisions()[-1] == "float32"


def test_capabilities_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "FP16", "BF16"]

    monkeypatch.setattr(cpu, "_core", Core)
    assert openvino_precisions() == ("bfloat16", "float16", "float32")


@needs_openvino
def test_network_that_openvino_cannot_read(write_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = """
    <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = com.microsoft.Inverse(frame) }"""
    path = write_network()
    onnx.save(onnx.parser.parse_model(graph), path)
    with pytest.raises(UnavailableError, match="OpenVINO cannot read this network") as caught:
        OpenVinoBackend(path)
    assert "\n" not in str(caught.value)


def test_not_installed(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "openvino" else find_spec(name, *more)
    )
    with pytest.raises(SettingError, match="provider openvino cannot run here: not installed; pip install openvino"):
        Stylizer(invert, provider="openvino")
    monkeypatch.setattr(choosing, "candidates", lambda: ("openvino",))
    assert Stylizer(invert).skipped == {"openvino": "not installed; pip install openvino"}


def test_a_broken_installation(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(cpu.importlib, "import_module", broken)
    with pytest.raises(SettingError, match=r"the openvino package does not load \(libtbb"):
        Stylizer(invert, provider="openvino")


GROWTH = """
import sys
import numpy as np
import onnx
import psutil
from fastnst.backends.cpu import OpenVinoBackend

def used():
    return psutil.Process().memory_info().rss

backend, most = OpenVinoBackend(sys.argv[1], threads=1), []
for size in range(240, 40, -1):
    backend.run({"frame": np.zeros((1, size, 240, 3), np.uint8)})
    most.append(used())
print(most[-1] - most[-101])
"""


@needs_openvino
@pytest.mark.slow
def test_memory_does_not_grow_with_the_sizes_it_has_seen(write_network: Any) -> None:
    layers = "\n".join(  # no two alike: those share what is prepared
        f"    m{n} = Conv<dilations = [{n}, {n}], pads = [{n}, {n}, {n}, {n}]>(m{n - 1}, weight)" for n in range(1, 21)
    )
    weight = ", ".join(["0.1"] * 81)
    text = f"""
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <float[3, 3, 3, 3] weight = {{{weight}}}> {{
    planes = Transpose<perm = [0, 3, 1, 2]>(frame)
    m0 = Cast<to = 1>(planes)
{layers}
    whole = Cast<to = 2>(m20)
    stylized = Transpose<perm = [0, 2, 3, 1]>(whole)
}}"""
    command = [sys.executable, "-c", GROWTH, str(write_network(text))]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 64 << 20  # 16 MB for the last 100 sizes; 296 with OpenVINO's own limit
