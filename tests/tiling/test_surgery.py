"""Reading an exported network's graph, cutting it into parts, and running them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from fastnst.errors import InputError, StyleError
from fastnst.io.images import Frame
from fastnst.tiling.featuremaps import Moments
from fastnst.tiling.surgery import build, load_graph, needed, normalized_by
from fastnst.tiling.tileable import Part

# Scale 1 and bias 0 for two of the three channels.
NORMALIZE = """
g (uint8[N, H, W, 3] frame) => (float[N, 3, H, W] stylized) <float[3] scale = {1, 1, 2}, float[3] bias = {0, 0, 5}> {
    planes = Transpose <perm = [0, 3, 1, 2]> (frame)
    image = Cast <to = 1> (planes)
    stylized = InstanceNormalization <epsilon = 0.0> (image, scale, bias)
}"""


def parse(text: str, opset: int = 18) -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>' + text)


def run(model: ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def draw(seed: int, height: int = 83, width: int = 121) -> Frame:
    """Blocks of random colours, uint8 (1, H, W, 3)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), np.uint8)
    return blocks.repeat(9, 0).repeat(9, 1)[None, :height, :width]


def test_moments_by_hand_and_far_from_zero() -> None:
    # Channel a: 1, 2, 3, 6 (mean 3, variance 3.5); channel b: 10 four times. Shifts 2 and 9.
    moments = Moments(np.array([2.0, 9.0]))
    moments.add(3, [-1 + 0 + 1, 3], [1 + 0 + 1, 3])
    moments.add(1, [4, 1], [16, 1])
    np.testing.assert_array_equal(moments.mean(), [3, 10])
    np.testing.assert_array_equal(moments.variance(), [3.5, 0])
    values = 1e6 + np.random.default_rng(0).normal(0, 1e-3, (2, 500))
    moments = Moments(np.array([1e6]))
    for tile in values:
        moments.add(500, [(tile - 1e6).sum()], [((tile - 1e6) ** 2).sum()])
    np.testing.assert_allclose(moments.variance(), [values.var()], rtol=1e-6)


def test_graph_of_an_exported_network(johnson: Path) -> None:
    graph = load_graph(johnson)
    assert graph.preparation.modes == ("edge", "reflect")
    assert len(graph.preparation.pads) == 2
    assert len(graph.preparation.crops) == 1
    assert len(graph.norms) == 9
    assert {kind: list(graph.kinds.values()).count(kind) for kind in ("pixels", "sizes")}["sizes"] > 5
    operators = [node.op_type for node in graph.nodes]
    assert operators.count("Conv") == 10
    assert operators.count("Pad") == 10
    assert "Shape" not in operators
    assert operators[0] == "Transpose"
    assert operators[-3:] == ["Cast", "Transpose", "Identity"]


def test_needed_nodes_end_at_what_is_known(johnson: Path) -> None:
    graph = load_graph(johnson)
    second, third = graph.norms[1].source, graph.norms[2].source
    kinds = [node.op_type for node in needed(graph.nodes, [third], {second})]
    assert kinds == ["InstanceNormalization", "Relu", "Pad", "Conv"]
    assert needed(graph.nodes, [second], {second}) == []


def test_a_built_part_holds_only_its_own_constants() -> None:
    node = helper.make_node("Add", ["x", "a"], ["y"])
    constants = {"a": np.float32([2, 3]), "b": np.zeros(1000, np.float32)}
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    part = build([node], [value], [onnx.ValueInfoProto(name="y")], constants)
    assert [tensor.name for tensor in part.graph.initializer] == ["a"]
    np.testing.assert_array_equal(run(part, x=np.float32([1, 1]))["y"], [3, 4])


def test_normalisation_keeps_its_epsilon() -> None:
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=0.5)
    given = normalized_by(node, "m", "v")
    assert list(given.input) == ["x", "s", "b", "m", "v"]
    assert given.attribute[0].f == 0.5


@pytest.mark.parametrize(
    ("text", "opset", "message"),
    [
        (NORMALIZE, 17, "opset 17, and 18 is needed"),
        (NORMALIZE.replace("frame", "photo"), 18, "expected the input 'frame'"),
        (NORMALIZE.replace("stylized", "result"), 18, "expected the input 'frame' and the output 'stylized'"),
    ],
)
def test_files_that_are_refused(text: str, opset: int, message: str, tmp_path: Path) -> None:
    onnx.save(parse(text, opset), tmp_path / "network.onnx")
    with pytest.raises(StyleError, match=message):
        load_graph(tmp_path / "network.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 40])
def test_files_that_are_no_networks(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(content)
    with pytest.raises(StyleError, match=r"network\.onnx: not a readable ONNX network"):
        load_graph(tmp_path / "network.onnx")
    with pytest.raises(StyleError, match="not a readable ONNX network"):
        load_graph(tmp_path / "missing.onnx")


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    model = parse(NORMALIZE)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(StyleError, match="weights are in another file"):
        load_graph(path)


@pytest.mark.parametrize(
    "body",
    [
        # A convolution before the pads that depend on the size, and one after the cut to size.
        "mixed = Conv (image, kernel) raw = Pad (mixed, pads)",
        "cut = Slice (image, zero, size) raw = Conv (cut, kernel)",
    ],
)
def test_preparation_in_the_wrong_place_is_refused(body: str, tmp_path: Path) -> None:
    text = f"""
    g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) <int64[4] zero = {{0, 0, 0, 0}}> {{
        size = Shape (frame)
        pads = Concat <axis = 0> (size, size)
        image = Identity (frame)
        {body}
        stylized = Identity (raw)
    }}"""
    model = parse(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "kernel"))
    onnx.save(model, tmp_path / "network.onnx")
    with pytest.raises(StyleError, match="by the picture's size next to Conv"):
        load_graph(tmp_path / "network.onnx")


SHARE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N] part, float[N] whole) => (float[N] share) { share = Div(part, whole) }"""


def test_parts_that_fail_or_give_nan_are_errors() -> None:
    part = Part(onnx.parser.parse_model(SHARE))
    feeds = {"part": np.array([3, 0], np.float32), "whole": np.array([4, 5], np.float32)}
    np.testing.assert_array_equal(part.run(feeds)["share"], np.array([0.75, 0], np.float32))
    with pytest.raises(StyleError, match=r"gave numbers that are none \(NaN\) on a part of this picture"):
        part.run(feeds | {"whole": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="a tile failed") as caught:
        Part(onnx.parser.parse_model(SHARE)).run({"part": np.zeros(2, np.float32), "whole": np.zeros(3, np.float32)})
    assert "\n" not in str(caught.value)
