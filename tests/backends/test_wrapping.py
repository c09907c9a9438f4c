"""Networks in the layout web: what they say, what is in them, and the same pictures as in the layout nhwc-uint8."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from fastnst.backends.cpu import CPU, open_session
from fastnst.backends.forms import to_web
from fastnst.errors import StyleError
from fastnst.inference.session import StyleSession
from fastnst.io.styles import bundled_styles_folder

NOT_ON_WEBGPU = {"Round", "Mod", "Max", "Cast", "Shape"}
"""What onnxruntime-web leaves to the CPU, or would have to wait for."""


def run(model: onnx.ModelProto, folder: Path, feeds: dict[str, Any]) -> np.ndarray:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return np.asarray(open_session(path, [CPU], 1).run(["stylized"], feeds)[0])


@pytest.mark.parametrize("name", ["starry-live", "starry", "gallery"])
def test_paints_as_the_layout_of_files_does(name: str, tmp_path: Path) -> None:
    model = onnx.load(bundled_styles_folder() / f"{name}.onnx")
    web = to_web(model)
    frame = np.random.default_rng(1).integers(0, 256, (1, 64, 88, 3), dtype=np.uint8)
    given = {port.name: port.type.tensor_type.shape.dim for port in model.graph.input}
    shares = given.get("style_weights")
    weights = {"style_weights": np.eye(shares[0].dim_value, dtype=np.float32)[2]} if shares else {}
    expected = run(model, tmp_path, {"frame": frame, **weights})
    planes = run(web, tmp_path, {"frame": frame.transpose(0, 3, 1, 2).astype(np.float32), **weights})
    assert planes.dtype == np.float32
    assert np.abs(np.rint(planes).transpose(0, 2, 3, 1) - expected).max() <= 1
    assert 0 <= planes.min() <= planes.max() <= 255
    assert not NOT_ON_WEBGPU & {node.op_type for node in web.graph.node}
    padding = [field.s for node in web.graph.node for field in node.attribute if field.name == "auto_pad"]
    assert set(padding) <= {b"NOTSET"}


def test_files_of_the_oldest_onnx_say_less_of_what_is_inside() -> None:
    model = onnx.load(bundled_styles_folder() / "starry-live.onnx")
    whole = to_web(model)
    del model.graph.value_info[:]  # onnx 1.19 keeps no types where it joins graphs
    assert [node.op_type for node in to_web(model).graph.node] == [node.op_type for node in whole.graph.node]


def test_says_what_sides_must_be_multiples_of() -> None:
    for name, stride in (("starry-live", "8"), ("starry", "4")):
        web = to_web(onnx.load(bundled_styles_folder() / f"{name}.onnx"))
        said = {entry.key: entry.value for entry in web.metadata_props}
        assert (said["layout"], said["stride"], said["style"]) == ("web", stride, name)


def test_only_files_of_fastnst_are_turned_and_other_commands_name_the_layout(tmp_path: Path) -> None:
    other = parser.parse_model('<ir_version: 10, opset_import: ["": 18]> g (float[N] x) => (float[N] y) {y = Neg (x)}')
    with pytest.raises(StyleError, match="export it again"):
        to_web(other)
    path = tmp_path / "page.onnx"
    path.write_bytes(to_web(onnx.load(bundled_styles_folder() / "starry-live.onnx")).SerializeToString())
    with pytest.raises(StyleError, match="has the layout web, for pages"):
        StyleSession(path, provider="cpu")
