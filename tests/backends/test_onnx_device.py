"""Accelerators, with ONNX Runtime's CPU standing in for them: sessions by size, bound memory, no quiet way out."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fastnst.backends import onnx_device
from fastnst.backends.contract import UnavailableError
from fastnst.backends.cpu import CPU, open_session
from fastnst.backends.onnx_device import (
    ORT_NAMES,
    PRECISIONS,
    BoundSession,
    DeviceBackend,
    left_to_cpu,
    named_sizes,
    prepare,
    provider_entries,
)
from fastnst.errors import SettingError
from fastnst.inference.stylizer import Stylizer
from fastnst.machine import install_line

FRAMES = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
CONVOLVE = """
g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized)
<float[3, 3, 1, 1] weight = {1, 0, 0, 0, 1, 0, 0, 0, 1}, int64[8] pads = {0, 0, 0, 0, 0, 0, 0, 0}> {
    padded = Pad<mode = "reflect">(frame, pads)
    stylized = Conv(padded, weight)
}"""

knows_places = pytest.mark.skipif(
    not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"), reason="ONNX Runtime before 1.24.1"
)


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int] | None]:
    """Let the CPU pass for every accelerator; lists the sizes that each session is opened for."""
    opened: list[dict[str, int] | None] = []

    def spy(path: Path, entries: Any, threads: Any = None, sizes: Any = None) -> Any:
        opened.append(sizes)
        return open_session(path, entries, threads, sizes)

    monkeypatch.setattr(onnx_device, "prepare", lambda _accelerator: None)
    monkeypatch.setattr(onnx_device, "provider_entries", lambda *_arguments, **_options: [CPU])
    monkeypatch.setattr(onnx_device, "ORT_NAMES", dict.fromkeys(PRECISIONS, CPU[0]))
    monkeypatch.setattr(onnx_device, "DEVICE_MEMORY", {"cuda": "cpu"})
    monkeypatch.setattr(onnx_device, "open_session", spy)
    return opened


@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt", "coreml", "directml", "webgpu"])
def test_every_accelerator_paints(accelerated: Any, invert: Path, accelerator: Any) -> None:
    backend = DeviceBackend(invert, accelerator)
    assert backend.provider == accelerator
    for frames in (FRAMES, FRAMES[:1], FRAMES[:, :3], FRAMES[:, :3], FRAMES[:, :3], FRAMES[:, 1:], FRAMES[::-1]):
        np.testing.assert_array_equal(backend.run({"frame": np.ascontiguousarray(frames)}), 255 - frames)


def test_a_session_of_its_own_for_a_size_that_comes_again_and_again(accelerated: Any, invert: Path) -> None:
    backend = DeviceBackend(invert, "cuda")
    for _ in range(5):
        backend.run({"frame": FRAMES})
    assert accelerated == [None, {"N": 2, "H": 4, "W": 6}]


def test_changing_sizes_share_one_session(accelerated: Any, invert: Path) -> None:
    backend = DeviceBackend(invert, "cuda")
    for height in (1, 2, 1, 2, 3, 3, 4):
        backend.run({"frame": FRAMES[:1, :height]})
    assert accelerated == [None]


def test_core_ml_gets_sessions_for_one_size_only(accelerated: Any, invert: Path) -> None:
    backend = DeviceBackend(invert, "coreml")
    for height in (1, 2, 1, 1):
        backend.run({"frame": FRAMES[:1, :height]})
    # The first, on the CPU, only says what the file takes.
    assert accelerated == [None, {"N": 1, "H": 1, "W": 6}, {"N": 1, "H": 2, "W": 6}]


def test_the_size_used_longest_ago_makes_room(accelerated: Any, invert: Path) -> None:
    backend = DeviceBackend(invert, "coreml")
    for height in (1, 2, 1, 3, 1, 2):
        backend.run({"frame": FRAMES[:1, :height]})
    assert [sizes["H"] for sizes in accelerated[1:]] == [1, 2, 3, 2]


def test_no_memory_for_a_second_session(accelerated: list[Any], invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DeviceBackend(invert, "cuda")

    def fail(*_arguments: Any) -> None:
        accelerated.append("tried")
        raise RuntimeError("out of memory")

    monkeypatch.setattr(onnx_device, "open_session", fail)
    for _ in range(6):
        np.testing.assert_array_equal(backend.run({"frame": FRAMES}), 255 - FRAMES)
    assert accelerated == [None, "tried"]


def test_results_own_their_memory_and_inputs_stay_where_they_are(accelerated: Any, invert: Path) -> None:
    backend = DeviceBackend(invert, "cuda")
    given = FRAMES.copy()
    first = backend.run({"frame": given})
    backend.run({"frame": 255 - FRAMES})
    np.testing.assert_array_equal(given, FRAMES)
    np.testing.assert_array_equal(first, 255 - FRAMES)
    assert first.flags.owndata
    bound = BoundSession(open_session(invert, [CPU], 1), "cpu")
    bound.run({"frame": FRAMES})
    place = bound._held["frame"].data_ptr()
    np.testing.assert_array_equal(bound.run({"frame": 255 - FRAMES}), FRAMES)
    assert bound._held["frame"].data_ptr() == place
    np.testing.assert_array_equal(bound.run({"frame": FRAMES[:1]}), 255 - FRAMES[:1])


# Never quietly on the CPU


def test_a_swap_by_onnx_runtime_is_found_out(
    accelerated: Any, invert: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The list of providers names CUDA, the driver seems to be there; the session then runs on the CPU all the same.
    monkeypatch.setattr(onnx_device, "ORT_NAMES", ORT_NAMES)
    with pytest.raises(SettingError, match=r"provider cuda cannot run here: ONNX Runtime could not load it.*pip insta"):
        Stylizer(invert, provider="cuda")
    assert capfd.readouterr() == ("", "")


@knows_places
def test_convolutions_on_the_cpu_are_found_out(write_network: Any) -> None:
    session = open_session(write_network(CONVOLVE), [CPU], 1)
    with pytest.raises(UnavailableError, match="would leave Conv to the CPU"):
        left_to_cpu(session, ["CUDAExecutionProvider"])
    assert left_to_cpu(session, ["CUDAExecutionProvider", "CPUExecutionProvider"]) == ()


@knows_places
def test_everything_on_the_cpu_is_found_out(invert: Path) -> None:
    with pytest.raises(UnavailableError, match="would leave everything to the CPU"):
        left_to_cpu(open_session(invert, [CPU], 1), ["CUDAExecutionProvider"])


def test_paddings_on_the_cpu_are_named_and_a_convolution_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = {"CUDAExecutionProvider": {"Conv", "Relu"}, "CPUExecutionProvider": {"Shape", "Mod", "Resize", "Pad"}}
    monkeypatch.setattr(onnx_device, "placed_operators", lambda _session: placed)
    assert left_to_cpu(object(), ["CUDAExecutionProvider"]) == ("Pad", "Resize")  # type: ignore[arg-type]
    monkeypatch.setattr(onnx_device, "placed_operators", lambda _session: None)
    assert left_to_cpu(object(), ["CUDAExecutionProvider"]) == ()  # type: ignore[arg-type]
    placed = {"CUDAExecutionProvider": {"Conv", "Relu"}, "CPUExecutionProvider": {"ConvTranspose", "Shape"}}
    monkeypatch.setattr(onnx_device, "placed_operators", lambda _session: placed)
    with pytest.raises(UnavailableError, match="would leave ConvTranspose to the CPU"):
        left_to_cpu(object(), ["CUDAExecutionProvider"])  # type: ignore[arg-type]


def test_every_session_is_looked_into(accelerated: Any, invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = {"CPUExecutionProvider": {"Conv"}, "another": {"Pad"}}
    monkeypatch.setattr(onnx_device, "placed_operators", lambda _session: placed)
    assert DeviceBackend(invert, "cuda").on_cpu == ("Pad",)
    core_ml = DeviceBackend(invert, "coreml")
    placed["another"] = {"Conv"}
    with pytest.raises(UnavailableError, match="would leave Conv to the CPU"):
        core_ml.run({"frame": FRAMES})
    with pytest.raises(UnavailableError, match="would leave Conv to the CPU"):
        DeviceBackend(invert, "cuda")


# Sizes by name


def test_named_sizes(write_network: Any, invert: Path) -> None:
    inputs = open_session(invert, [CPU], 1).get_inputs()
    assert named_sizes(inputs, {"frame": FRAMES}) == {"N": 2, "H": 4, "W": 6}
    twice = "g (uint8[N, H, H, 3] frame) => (uint8[N, H, H, 3] stylized) { stylized = Identity(frame) }"
    inputs = open_session(write_network(twice), [CPU], 1).get_inputs()
    assert named_sizes(inputs, {"frame": FRAMES}) == {"N": 2}


# What each accelerator needs


def test_what_onnx_runtime_was_built_without_and_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for accelerator, words in (
        ("cuda", re.escape(f"built without CUDA; {install_line('gpu')}")),
        ("tensorrt", "built without TensorRT"),
        ("coreml", "exists on macOS only"),
        ("directml", "an environment of its own"),
    ):
        with pytest.raises(UnavailableError, match=words):
            prepare(accelerator)  # type: ignore[arg-type]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(ORT_NAMES.values()))
    monkeypatch.setattr(onnx_device, "has_nvidia_driver", lambda: False)
    with pytest.raises(UnavailableError, match="no NVIDIA driver was found"):
        prepare("cuda")


def test_loading_cudas_libraries_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[bool] = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(ORT_NAMES.values()))
    monkeypatch.setattr(onnx_device, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(
        onnxruntime, "preload_dlls", lambda: (loaded.append(True), print("Failed to load libcublas")), raising=False
    )
    prepare("cuda")
    assert loaded
    assert capsys.readouterr() == ("", "")


def test_options_by_accelerator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_device, "user_cache_path", lambda *_names, **_options: tmp_path)
    (name, options), *others = provider_entries("cuda", "float32", fixed=False)
    assert (name, options["cudnn_conv_algo_search"], others) == ("CUDAExecutionProvider", "HEURISTIC", [])
    assert provider_entries("cuda", "float32", fixed=True)[0][1]["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    half, second = provider_entries("tensorrt", "float16", fixed=True)
    assert (half[0], half[1]["trt_fp16_enable"]) == ("TensorrtExecutionProvider", "1")
    assert half[1]["trt_engine_cache_path"] == str(tmp_path / "tensorrt")
    assert (tmp_path / "tensorrt").is_dir()
    assert second[0] == "CUDAExecutionProvider"
    assert provider_entries("tensorrt", "float32", fixed=True)[0][1]["trt_fp16_enable"] == "0"
    assert provider_entries("coreml", "float32", fixed=True)[0][1]["RequireStaticInputShapes"] == "1"
    assert [name for name, _ in provider_entries("directml", "float32", fixed=True)] == ["DmlExecutionProvider"]
