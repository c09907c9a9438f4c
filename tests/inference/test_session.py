"""One open network: what it refuses, where it runs, and when it paints in tiles."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fastnst.backends.cpu import OnnxBackend
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.session import StyleSession
from fastnst.tiling import pieces

CROP = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<int64[1] start = {0}, int64[1] end = {100}, int64[1] axis = {1}> { stylized = Slice(frame, start, end, axis) }"""
"""Leaves out what is below row 100."""


def test_a_network_that_changes_the_size_of_large_pictures_only(write_network: Any) -> None:
    small, large = np.ones((100, 8, 3), np.uint8), np.ones((120, 8, 3), np.uint8)
    with StyleSession(write_network(CROP, "crop.onnx"), provider="cpu") as session:
        np.testing.assert_array_equal(session(small), small)
        with pytest.raises(StyleError, match=r"turned \(1, 120, 8, 3\) into \(1, 100, 8, 3\); expected the same size"):
            session(large)


def test_auto_prefers_what_runs_another_network(invert: Path) -> None:
    with StyleSession(invert, prefer="cpu") as session:
        assert (session.choice.provider, session.choice.skipped) == ("cpu", {})
    # Core ML is on macOS alone, DirectML on Windows alone: where the preferred one cannot run, all are tried.
    with StyleSession(invert, prefer="coreml") as session:
        assert session.choice.skipped
    with pytest.raises(SettingError, match="provider coreml cannot run here"):
        StyleSession(invert, provider="coreml", prefer="cpu")
    with StyleSession(invert, provider="cpu", prefer="coreml") as session:
        assert str(session.choice) == "cpu"


# Convolution, normalisation over the whole picture, and back to levels.
GRAPH = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<float[3] scale = {20, 30, 40}, float[3] bias = {100, 120, 140}, float low = {0}, float high = {255}> {
    planes = Transpose <perm = [0, 3, 1, 2]> (frame)
    levels = Cast <to = 1> (planes)
    filtered = Conv <pads = [1, 1, 1, 1]> (levels, kernel)
    normal = InstanceNormalization (filtered, scale, bias)
    clipped = Clip (normal, low, high)
    rounded = Round (clipped)
    whole = Cast <to = 2> (rounded)
    stylized = Transpose <perm = [0, 2, 3, 1]> (whole)
}"""


def write(path: Path, opset: int = 18) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]>' + GRAPH)
    kernel = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "kernel"))
    onnx.save(model, path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write(tmp_path / "network.onnx")


def draw(height: int, width: int) -> np.ndarray:
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 50, height)[:, None, None]
    return (ramp + np.random.default_rng(1).integers(0, 6, (height, width, 3))).astype(np.uint8)


def in_one_piece(path: Path, frame: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(["stylized"], {"frame": frame[None]})[0][0]
    return result


def test_small_pictures_in_one_piece(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "available_memory", lambda: 1)
    with StyleSession(network, provider="cpu", tile="auto") as session:
        session(draw(200, 300))
        assert session.tiles.pictures == 0


def test_tiles_where_memory_is_short(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, shares = draw(1000, 1200), []
    with StyleSession(network, provider="cpu", tile="auto") as session:
        session(frame)
        monkeypatch.setattr("fastnst.inference.session.one_piece_limit", lambda: 2**20)
        session(frame[:, ::-1])
        assert session.tiles.pictures == 0  # the memory of the first picture is there for the second
    with StyleSession(network, provider="cpu", tile="auto") as session:
        session.tiles.on_progress = shares.append
        painted = session(frame)
        assert session.tiles.pictures == 1
    expected = in_one_piece(network, frame)
    assert np.abs(painted.astype(int) - expected).max() <= 1
    assert shares[-1] == pytest.approx(1)


def test_limits_and_estimates_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "available_memory", lambda: 10 * 2**30)
    assert pieces.one_piece_limit() == 4 * 2**30
    monkeypatch.setattr(pieces, "available_memory", lambda: 2**30)
    assert pieces.one_piece_limit() == pieces.PROCESS_BYTES + int(0.7 * 2**30)
    # 10 numbers of 4 bytes times 2.8, and 9 bytes for three copies of the picture.
    assert pieces.one_piece_bytes(10, 1000) - pieces.PROCESS_BYTES == 121_000
    # 10 numbers of 2 bytes times 1.25.
    assert pieces.one_piece_bytes(10, 1000, "openvino", "bfloat16") - pieces.PROCESS_BYTES == 34_000


@pytest.mark.parametrize("opset", [18, 17])
def test_what_finds_no_room_is_refused(opset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in tiles either: too little memory for one, or a network that knows none (opset 17)."""
    network, free = write(tmp_path / "network.onnx", opset=opset), 2**20
    monkeypatch.setattr(pieces, "available_memory", lambda: free)
    with StyleSession(network, provider="cpu", tile="auto" if opset == 17 else "off") as session:
        with pytest.raises(
            InputError, match=r"a picture of 1010x1000 takes about 0\.\d\d GB of memory in one piece"
        ) as said:
            session(draw(1000, 1010))
        assert (found := re.search(r"--size (\d+)", str(said.value)))
        free = 2**30
        session(draw(1000, 1010))
        free = 2**20
        session(draw(1000, 1010))  # with the memory of the one before
    assert 50 < int(found[1]) < 500


def test_off_and_always(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.inference.session.one_piece_limit", lambda: 2**20)
    frame = draw(1000, 1010)
    with StyleSession(network, provider="cpu", tile="off") as session:
        session(frame)
        assert session.tiles.pictures == 0
    with StyleSession(network, provider="cpu", tile=64) as session:
        np.testing.assert_allclose(session(frame[:70, :90]), in_one_piece(network, frame[:70, :90]), atol=1)
        assert session.tiles.pictures == 1


def test_networks_without_tiles_stay_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, frame = write(tmp_path / "old.onnx", opset=17), draw(1000, 1010)
    monkeypatch.setattr("fastnst.inference.session.one_piece_limit", lambda: 2**20)
    with StyleSession(old, provider="cpu", tile="auto") as session:
        np.testing.assert_array_equal(session(frame), in_one_piece(old, frame))
        assert session.tiles.pictures == 0
    with pytest.raises(StyleError, match="cannot be stylized in tiles: it has opset 17"):
        StyleSession(old, provider="cpu", tile=64)


def test_tiles_when_one_piece_fails(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> np.ndarray:
        raise MemoryError

    frame = draw(70, 90)
    with StyleSession(network, provider="cpu", tile="auto") as session, monkeypatch.context() as patched:
        patched.setattr(OnnxBackend, "run", fail)
        np.testing.assert_allclose(session(frame), in_one_piece(network, frame), atol=1)
        assert session.tiles.pictures == 1
        with pytest.raises(InputError, match=r"failed on 2 picture\(s\) of 90x70 \(MemoryError\)"):
            session(np.stack([frame, frame]))
    with StyleSession(network, provider="cpu") as session, monkeypatch.context() as patched:
        patched.setattr(OnnxBackend, "run", fail)
        with pytest.raises(InputError, match=r"failed on 1 picture\(s\) of 90x70 \(MemoryError\)"):
            session(frame)


def test_mistakes(network: Path) -> None:
    with pytest.raises(SettingError, match="tile 32; expected at least 64"):
        StyleSession(network, provider="cpu", tile=32)
    with StyleSession(network, provider="cpu", tile="auto") as session, pytest.raises(InputError, match="float64"):
        session(np.zeros((8, 8, 3)))


def test_a_provider_without_tiles(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(SettingError, match="--tile 64: provider openvino has no tiles; cpu, cuda and auto do"):
        StyleSession(network, provider="openvino", tile=64)
    monkeypatch.setattr("fastnst.inference.session.one_piece_limit", lambda: 2**20)
    with StyleSession(network, provider="openvino", tile="auto") as session:
        session(draw(1000, 1010))
        assert session.tiles.pictures == 0


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_memory_of_large_pictures_is_given_back(network: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")

    def resident() -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) // 1024

    if not Path("/proc/self/status").exists():
        pytest.skip("reads Linux's own files")
    with StyleSession(network, provider=provider) as session:  # type: ignore[arg-type]
        # Maps of 75 MB: the C library keeps what is smaller than 32 MB for itself.
        small, large = draw(64, 64), draw(2500, 2500)
        session(small)
        before = resident()
        session(large)
        held = resident() - before
        session(small)
        left = resident() - before
    assert held > 100
    assert left < held / 2
