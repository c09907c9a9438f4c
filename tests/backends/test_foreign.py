"""Other projects' networks: their form is found out, and they run as our own."""

from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fastnst.backends.choosing import draw_picture
from fastnst.cli import main
from fastnst.errors import StyleError
from fastnst.inference.effects import Effects
from fastnst.inference.style_files import add_style, read_style
from fastnst.inference.stylizer import Stylizer

DARKER = 0.6
"""What the test networks leave of a level: 0.6 of its distance to 128."""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path / "styles"))


def zoo(
    path: Path, *, top: float = 255.0, size: int | None = 224, opset: int = 9, last: bool = False, baked: bool = False
) -> Path:
    """A network in the form of the ONNX model zoo's fast neural style: at half the size, then enlarged again.

    Args:
        path: where it is written.
        top: what white is.
        size: the only side that it declares.
        opset: of the graph; 9 still has Upsample.
        last: channels come last, as TensorFlow has them.
        baked: the size also stands in the graph itself.
    """
    kernel = np.zeros((3, 3, 2, 2), np.float32)
    kernel[range(3), range(3)] = DARKER / 4
    weights = {"kernel": kernel, "middle": np.full(3, (1 - DARKER) * 128 / 255 * top, np.float32)}
    weights |= {"scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [] if not last else [helper.make_node("Transpose", ["input1"], ["planes"], perm=[0, 3, 1, 2])]
    given = "planes" if last else "input1"
    if baked:
        weights["sizes"] = np.array([1, 3, size, size], np.int64)
        nodes.append(helper.make_node("Reshape", [given, "sizes"], ["reshaped"]))
        given = "reshaped"
    nodes.append(helper.make_node("Conv", [given, "kernel", "middle"], ["small"], strides=[2, 2]))
    if opset == 9:
        nodes.append(helper.make_node("Upsample", ["small", "scales"], ["large"], mode="nearest"))
    else:
        nodes.append(helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="nearest"))
    if opset == 9:
        nodes.append(helper.make_node("Clip", ["large"], ["clipped"], min=0.0, max=top))
    else:
        weights |= {"black": np.array(0, np.float32), "white": np.array(top, np.float32)}
        nodes.append(helper.make_node("Clip", ["large", "black", "white"], ["clipped"]))
    end = ("Transpose", {"perm": [0, 2, 3, 1]}) if last else ("Identity", {})
    nodes.append(helper.make_node(end[0], ["clipped"], ["output1"], **end[1]))
    count, sides = (1, (size, size)) if size else ("batch", ("rows", "columns"))
    shape = [count, *sides, 3] if last else [count, 3, *sides]
    graph = helper.make_graph(
        nodes,
        "zoo",
        [helper.make_tensor_value_info("input1", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output1", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset > 9 else 4)
    if opset == 9:  # the zoo's files list weights among the inputs
        shapes = {name: list(value.shape) for name, value in weights.items() if name != "sizes"}
        graph_inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in shapes.items()]
        model.graph.input.extend(graph_inputs)
    onnx.save(model, path)
    return path


def expected(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the test networks paint of a frame with even sides."""
    height, width = frame.shape[0] // 2, frame.shape[1] // 2
    small = frame.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    return (128 + DARKER * (small - 128)).repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "wrapped: float32 (N, 3, H, W) in 0..255; its 224x224 is not needed"),
        ({"top": 1.0}, "wrapped: float32 (N, 3, H, W) in 0..1; its 224x224 is not needed"),
        ({"top": 1.0, "opset": 17, "size": None}, "wrapped: float32 (N, 3, H, W) in 0..1"),
        ({"opset": 13, "last": True}, "wrapped: float32 (N, H, W, 3) in 0..255; its 224x224 is not needed"),
    ],
)
def test_the_form_is_found_and_any_size_is_painted(form: dict[str, object], words: str, tmp_path: Path) -> None:
    path = zoo(tmp_path / "zoo.onnx", **form)  # type: ignore[arg-type]
    frame = draw_picture((150, 330))[0]
    with Stylizer(path, Effects(stroke=1), provider="cpu") as stylizer:
        assert stylizer.metadata["wrapped"] == words
        assert np.abs(stylizer(frame) - expected(frame)).max() <= 1
        odd = stylizer(frame[:75, :131])
        batch = stylizer(np.stack([frame, frame[::-1]]))
    assert odd.shape == (75, 131, 3)
    assert np.abs(odd[:74, :130] - expected(frame[:74, :130])).max() <= 1
    assert np.abs(batch[1] - expected(np.ascontiguousarray(frame[::-1]))).max() <= 1


def test_a_film_is_stylized_by_one_of_the_zoos_form(tmp_path: Path) -> None:
    film, output = tmp_path / "film.mp4", tmp_path / "out.mkv"
    with av.open(str(film), "w") as written:
        stream = written.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 330, 150, "yuv420p"
        for level in (40, 120, 200):
            gray = np.full((150, 330, 3), level, np.uint8)
            written.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        written.mux(stream.encode(None))
    style = zoo(tmp_path / "zoo.onnx")
    with pytest.raises(SystemExit) as ended:
        main(["video", str(film), "--style", str(style), "-o", str(output), "--provider", "cpu", "--codec", "ffv1"])
    assert not ended.value.code
    with av.open(str(output)) as read:
        frames = [frame.to_ndarray(format="rgb24") for frame in read.decode(video=0)]
    assert [frame.shape for frame in frames] == [(150, 330, 3)] * 3
    for frame, level in zip(frames, (40, 120, 200), strict=True):
        assert np.abs(frame - (128 + DARKER * (level - 128))).max() <= 6  # as MPEG-4 rounds


def test_a_size_that_the_graph_holds_is_painted_in_pieces(tmp_path: Path) -> None:
    path = zoo(tmp_path / "fixed.onnx", opset=13, baked=True, size=64)
    frame = draw_picture((100, 150))[0]
    with Stylizer(path, provider="cpu") as stylizer:
        assert stylizer.metadata["wrapped"] == "wrapped: float32 (1, 3, 64, 64) in 0..255"
        (note,) = stylizer._pipeline.notes
        assert (
            "painted in pieces of 64x64, whose colors and strokes do not quite match; stylize --size 64 paints in one"
            in note
        )
        painted, small = stylizer(frame), stylizer(frame[:40, :64])
        several = stylizer(np.stack([frame, frame]))
    assert np.abs(painted - expected(frame)).max() <= 1  # this one paints every piece alike
    assert np.abs(small - expected(frame[:40, :64])).max() <= 1
    assert np.array_equal(several[0], painted)


def test_a_style_is_added_in_its_wrapped_form(tmp_path: Path) -> None:
    added = add_style(zoo(tmp_path / "zoo.onnx"), "candy")
    (tmp_path / "zoo.onnx").unlink()
    again = read_style("candy", added.path)
    assert again.error is None
    assert again.path.read_bytes() != b""
    with Stylizer("candy", provider="cpu") as stylizer:
        assert [port.name for port in onnx.load(stylizer.path).graph.input] == ["frame"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1, 1, "h", "w"], "expected one picture in and one out"),
        ([1, 3, 224], "expected one picture in and one out"),
    ],
)
def test_what_is_no_network_for_pictures_is_refused(shape: list[int | str], said: str, tmp_path: Path) -> None:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    with pytest.raises(StyleError, match=said):
        Stylizer(tmp_path / "a.onnx", provider="cpu")
