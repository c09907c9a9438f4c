"""Opening networks of both forms, in ONNX's text form: no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from fastnst.errors import StyleError
from fastnst.research.judge import count_parameters, open_network, open_networks

OURS = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""
# 255 minus the picture, through a quarter of its size: sides that are no multiples of 4 would come back smaller.
FLOAT = """
g (float[N, 3, H, W] image) => (float[N, 3, H2, W2] painted)
<float white = {255}, float[4] scales = {1, 1, 4, 4}, float[0] roi = {}> {
    small = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (image)
    large = Resize <mode = "nearest"> (small, roi, scales)
    painted = Sub(white, large)
}"""
GREY = "g (float[N, 1, H, W] image) => (float[N, 1, H, W] same) { same = Identity(image) }"


def write(path: Path, graph: str) -> Path:
    onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph), path)
    return path


FRAME = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)


def test_a_network_of_ours(tmp_path: Path) -> None:
    network = open_network(write(tmp_path / "ours.onnx", OURS))
    assert network.name == "ours"
    np.testing.assert_array_equal(network.paint(FRAME), 255 - FRAME)


def test_a_mix_and_a_strength(write_duo: Callable[[Path], None], tmp_path: Path) -> None:
    write_duo(tmp_path / "duo.onnx")
    network = open_network(f"{tmp_path / 'duo.onnx'}@monet", strength=0.5)
    assert (network.name, network.variant) == ("duo@monet", "monet strength 0.5")
    np.testing.assert_allclose(network.paint(FRAME), (FRAME.astype(int) + 200) / 2, atol=0.5)


def test_a_float_network_gets_sides_of_multiples_of_4_and_gives_the_photos_size(tmp_path: Path) -> None:
    network = open_network(write(tmp_path / "peer.onnx", FLOAT), name="peer")
    painted = network.paint(FRAME)
    assert painted.shape == FRAME.shape
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted[5, 9], 255 - FRAME[4:8, 8:12].max((0, 1)))


def test_a_network_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="expected one picture in and one out"):
        open_network(write(tmp_path / "other.onnx", GREY))


def test_parameters_are_the_trained_numbers_alone() -> None:
    graph = """
    g (float[N, 3, H, W] image) => (float[N, 2, H2, W2] painted)
    <float[2, 3, 1, 1] weight = {1, 2, 3, 4, 5, 6}, float[2] bias = {1, 2}, float half = {0.5}, int64[2] axes = {2, 3},
     float[4] scales = {1, 1, 2, 2}, float[0] roi = {}> {
        mixed = Conv(image, weight, bias)
        large = Resize(mixed, roi, scales)
        factors = Constant <value = float[1, 2, 1, 1] {3, 4}> ()
        scaled = Mul(large, factors)
        painted = Mul(scaled, half)
    }"""
    assert count_parameters(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph)) == 6 + 2 + 2


def test_networks_get_different_names(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder / "starry.onnx", OURS))
    paths.append(write(tmp_path / "wave.onnx", OURS))
    assert [network.name for network in open_networks(paths)] == ["one/starry", "two/starry", "wave"]


def test_the_same_network_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "starry.onnx", OURS)
    with pytest.raises(StyleError, match="give each file once"):
        open_networks([path, path])
