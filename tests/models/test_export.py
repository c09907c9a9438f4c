from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fastnst.errors import CheckpointError
from fastnst.models import export
from fastnst.models.checkpoint import ModelInfo, build_network, load_model, save_model
from fastnst.models.live import LiveNet
from fastnst.models.network import ConditionalInstanceNorm2d, ConditionalScale, TransformNet, padded, stylize_frame
from fastnst.tiling.surgery import load_graph

SPEC: dict[str, int | str] = {"kind": "johnson", "width": 2, "blocks": 1}
INFO = ModelInfo(style="waves", network=SPEC, provenance="made by a test", license="CC0-1.0")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("model") / "waves.safetensors"
    save_model(path, TransformNet(width=2, blocks=1), INFO)
    return path


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "waves.onnx"
    assert export.export_model(model, path) <= export.LARGEST_DIFFERENCE
    return path


DUO = ModelInfo(
    style="duo",
    network={"kind": "live", "width": 16, "blocks": 1, "styles": 2, "strength": 1},
    provenance="made by a test",
    styles=("munch", "monet"),
)


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two styles and a strength, exported."""
    torch.manual_seed(1)
    network = build_network(DUO.network)
    for part in network.modules():
        if isinstance(part, ConditionalInstanceNorm2d | ConditionalScale):
            for table in part.parameters(recurse=False):
                torch.nn.init.normal_(table, 1, 0.4)
    folder = tmp_path_factory.mktemp("duo")
    save_model(folder / "duo.safetensors", network, DUO)
    assert export.export_model(folder / "duo.safetensors", folder / "duo.onnx") <= export.LARGEST_DIFFERENCE
    return folder / "duo.onnx"


def run(path: Path, frame: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(["stylized"], {"frame": frame})[0]
    return result


def test_contract_names_types_opset_and_metadata(exported: Path) -> None:
    graph = onnx.load(exported)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 18)]
    (frame,), (stylized,) = graph.graph.input, graph.graph.output
    for value, name in ((frame, "frame"), (stylized, "stylized")):
        shape = value.type.tensor_type.shape.dim
        assert value.name == name
        assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert [dimension.dim_param for dimension in shape] == ["N", "H", "W", ""]
        assert shape[3].dim_value == 3
    metadata = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert metadata["fastnst_format"] == "1"
    assert metadata["layout"] == "nhwc-uint8"
    assert metadata["style"] == "waves"
    assert metadata["provenance"] == "made by a test"
    assert metadata["licence"] == "CC0-1.0"
    assert len(metadata["weights_sha256"]) == 64


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 200), (64, 64), (65, 66), (161, 119)])
def test_output_size_is_input_size(exported: Path, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    assert run(exported, frame).shape == frame.shape


def test_graph_equals_torch_also_for_tiny_pictures(exported: Path, model: Path) -> None:
    network, _ = load_model(model)
    for size in ((3, 5), (70, 91)):
        frame = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        difference = np.abs(run(exported, frame[None])[0].astype(int) - stylize_frame(network, frame))
        assert difference.max() <= 1
        assert difference.mean() < 0.02  # the graph rounds to the nearest level; cutting off would differ by half


def test_pictures_of_a_batch_do_not_influence_each_other(exported: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (3, 66, 70, 3), dtype=np.uint8)
    together = run(exported, frames).astype(int)
    alone = np.concatenate([run(exported, frame[None]) for frame in frames])
    assert np.abs(together - alone).max() <= 1


def test_float_layout_agrees_with_the_uint8_one(exported: Path, model: Path, tmp_path: Path) -> None:
    export.export_model(model, tmp_path / "float.onnx", "nchw-float")
    frame = np.random.default_rng(4).integers(0, 256, (1, 67, 71, 3), dtype=np.uint8)
    planes = run(tmp_path / "float.onnx", frame.transpose(0, 3, 1, 2).astype(np.float32))
    assert planes.dtype == np.float32
    assert np.abs(np.rint(planes).transpose(0, 2, 3, 1) - run(exported, frame)).max() <= 1


def test_web_layout_agrees_with_the_uint8_one(exported: Path, model: Path, tmp_path: Path) -> None:
    assert export.export_model(model, tmp_path / "web.onnx", "web") <= 1
    frame = np.random.default_rng(4).integers(0, 256, (1, 68, 72, 3), dtype=np.uint8)
    planes = run(tmp_path / "web.onnx", _planes(frame))
    assert np.abs(np.rint(planes).transpose(0, 2, 3, 1) - run(exported, frame)).max() <= 1


def test_a_network_that_differs_is_not_written(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A reference that is three levels off stands for an exporter that got something wrong.
    def off(network: TransformNet, frame: np.ndarray, **told: None) -> np.ndarray:
        return stylize_frame(network, frame, **told) ^ 4

    monkeypatch.setattr(export, "stylize_frame", off)
    with pytest.raises(CheckpointError, match="differs from torch by"):
        export.export_model(model, tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["nhwc-uint8", "nchw-float"])
def test_pixels_that_are_channels_are_put_in_order(tmp_path: Path, layout: export.Layout) -> None:
    torch.manual_seed(3)
    network = build_network({"kind": "live", "width": 16, "blocks": 1})
    assert isinstance(network, LiveNet)
    torch.nn.init.normal_(network.last.weight, 0, 0.1)  # all four pixels of a cell differ
    model = ModelInfo(style="fine", network={"kind": "live", "width": 16, "blocks": 1}, provenance="made by a test")
    save_model(tmp_path / "fine.safetensors", network, model)
    export.export_model(tmp_path / "fine.safetensors", tmp_path / "fine.onnx", layout)
    frames = np.random.default_rng(5).integers(0, 256, (2, 70, 93, 3), dtype=np.uint8)
    painted = run(tmp_path / "fine.onnx", frames if layout == "nhwc-uint8" else _planes(frames))
    pictures = painted if layout == "nhwc-uint8" else np.rint(painted).transpose(0, 2, 3, 1)
    network, _ = load_model(tmp_path / "fine.safetensors")
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(picture.astype(int) - stylize_frame(network, frame)).max() <= 1
        assert np.abs(np.diff(picture.astype(int), axis=1)).mean() > 4


def _planes(frames: np.ndarray) -> np.ndarray:
    return frames.transpose(0, 3, 1, 2).astype(np.float32)


def test_padding_by_hand() -> None:
    # 2 x 3 pixels: the last row and column are repeated up to 64, which is a multiple of 4.
    image = torch.arange(6.0).view(1, 1, 2, 3)
    tall = padded(image, stride=4)
    assert tall.shape == (1, 1, 64, 64)
    assert tall[0, 0, 63, 63] == 5
    assert tall[0, 0, 0, 63] == 2
    # 65 rows: three more, mirrored about the last: rows 63, 62, 61.
    column = torch.arange(65.0).view(1, 1, 65, 1).expand(1, 1, 65, 64)
    assert padded(column, stride=4)[0, 0, 65:, 0].tolist() == [63, 62, 61]


def test_further_inputs_names_types_and_metadata(duo: Path) -> None:
    model = onnx.load(duo)
    shapes = {
        value.name: (value.type.tensor_type.elem_type, [side.dim_value for side in value.type.tensor_type.shape.dim])
        for value in model.graph.input
    }
    assert list(shapes) == ["frame", "style_weights", "strength"]
    assert shapes["style_weights"] == (onnx.TensorProto.FLOAT, [2])
    assert shapes["strength"] == (onnx.TensorProto.FLOAT, [1])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["fastnst_format"] == "2"
    assert metadata["styles"] == "munch,monet"
    assert metadata["network"] == "live 16 1, 2 styles, strength"


def test_normalisations_get_their_mix_at_no_pass_over_the_picture(duo: Path) -> None:
    graph = load_graph(duo)
    fixed = {name for name, kind in graph.kinds.items() if kind == "fixed"}
    assert len(graph.norms) == 2
    assert all(set(norm.node.input[1:]) <= fixed for norm in graph.norms)


def test_graph_with_further_inputs_equals_torch(duo: Path) -> None:
    network, _ = load_model(duo.with_suffix(".safetensors"))
    session = onnxruntime.InferenceSession(duo, providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(2).integers(0, 256, (70, 91, 3), dtype=np.uint8)
    painted = []
    for weights, strength in (([1.0, 0.0], 1.0), ([0.25, 0.75], 0.6), ([0.0, 1.0], 1.5), ([0.0, 1.0], 0.0)):
        feeds = {"frame": frame[None], "style_weights": np.float32(weights), "strength": np.float32([strength])}
        (result,) = session.run(["stylized"], feeds)
        expected = stylize_frame(network, frame, style_weights=weights, strength=strength)
        assert np.abs(result[0].astype(int) - expected).max() <= 1
        painted.append(result[0].astype(int))
    assert np.abs(painted[0] - painted[1]).mean() > 1
    np.testing.assert_array_equal(painted[3], frame)


def test_each_network_of_one_structure_is_exported_with_its_own_weights() -> None:
    spec = {"kind": "johnson", "width": 2, "blocks": 1}
    networks = [build_network(spec) for _ in range(2)]
    first, second = (export.to_onnx(network, ModelInfo("waves", spec, "a test")) for network in networks)
    assert export.largest_difference(first, networks[0], "nhwc-uint8") <= 1
    assert export.largest_difference(second, networks[1], "nhwc-uint8") <= 1
    assert export.largest_difference(first, networks[1], "nhwc-uint8") > 10


def test_networks_of_other_normalization_are_exported_by_a_graph_of_their_own() -> None:
    spec = {"kind": "johnson", "width": 2, "blocks": 1}
    plain, changed = build_network(spec), build_network(spec)
    for module in changed.modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.eps = 0.5
    info = ModelInfo("waves", spec, "a test")
    assert export.largest_difference(export.to_onnx(plain, info), plain, "nhwc-uint8") <= 1
    assert export.largest_difference(export.to_onnx(changed, info), changed, "nhwc-uint8") <= 1


@pytest.mark.parametrize(("given", "wanted"), [("nearest", "bilinear"), ("bilinear", "nearest")])
def test_a_graph_of_one_upsampling_serves_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, wanted: str
) -> None:
    specs: dict[str, dict[str, int | str]] = {"nearest": SPEC, "bilinear": {**SPEC, "upsampling": "bilinear"}}
    path = tmp_path / "template.onnx"
    onnx.save(export.to_onnx(build_network(specs[given]), ModelInfo("a", specs[given], "a test")), path)
    monkeypatch.setattr(export, "trace", None)
    network = build_network(specs[wanted])
    model = export.export_like(path, network, ModelInfo("b", specs[wanted], "a test"))
    assert export.largest_difference(model, network, "nhwc-uint8") <= 1
    assert {entry.key: entry.value for entry in model.metadata_props}["network"].endswith("1") == (wanted == "nearest")
