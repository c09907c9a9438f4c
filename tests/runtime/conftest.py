"""Tiny networks that keep the contract, written in ONNX's text form: no torch."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

INVERT = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> {
    stylized = Sub(white, frame)
}"""
"""255 minus the frame."""

WriteNetwork = Callable[..., Path]


@pytest.fixture
def write_network(tmp_path: Path) -> WriteNetwork:
    """Write a graph in ONNX's text form, and metadata, as an ONNX file."""

    def write(graph: str = INVERT, name: str = "invert.onnx", **metadata: str) -> Path:
        model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def invert(write_network: WriteNetwork) -> Path:
    return write_network(fastnst_format="1", style="inverted", network="invert", licence="MIT", layout="nhwc-uint8")
