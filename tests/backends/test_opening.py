"""Why a network file is refused, in words; and numbers that are none."""

import re
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fastnst.backends.trial import try_network
from fastnst.errors import StyleError
from fastnst.inference.session import StyleSession

IDENTITY = "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Identity(frame) }"
FLOATS = "g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized)"


def refusal(path: Path) -> str:
    with pytest.raises(StyleError) as caught:
        StyleSession(path, provider="cpu")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def model_of(graph: str, ir: int = 8, opset: int = 17) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>' + graph)


@pytest.mark.parametrize(
    ("ir", "opset", "words"),
    [
        (99, 17, r"has IR version 99, and this ONNX Runtime reads up to \d+; update onnxruntime, or export"),
        (8, 99, r"has opset 99, and this ONNX Runtime reads up to \d+; update onnxruntime, or export"),
    ],
)
def test_too_new(tmp_path: Path, ir: int, opset: int, words: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(model_of(IDENTITY, ir, opset).SerializeToString())
    message = refusal(path)
    assert re.search(words, message), message


def test_weights_file_that_is_missing_is_named(tmp_path: Path) -> None:
    model = model_of(FLOATS + " { stylized = Mul(frame, w) }")
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], b"\0\0\0\0", raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.initializer.append(tensor)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    message = refusal(tmp_path / "a.onnx")
    assert "its weights lie in another file" in message
    assert "weights.bin, which is not there" in message


def test_float16_inputs_come_with_a_remedy(tmp_path: Path) -> None:
    half = FLOATS.replace("float[", "float16[") + " { stylized = Identity(frame) }"
    onnx.save(model_of(half), tmp_path / "a.onnx")
    message = refusal(tmp_path / "a.onnx")
    assert "'frame' float16 (?, 3, ?, ?)" in message
    assert message.endswith("Keep inputs and outputs as they were when converting to float16")


def test_what_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert "is a Git LFS pointer" in refusal(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"a letter")
    assert "is not an ONNX file, or is damaged" in refusal(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(tmp_path / "a.onnx")
    model = model_of(IDENTITY.replace("Identity", "Nonsense"))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "has the operator Nonsense, which opset 17 does not know" in refusal(tmp_path / "a.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    model = model_of(FLOATS + " <float[2] w = {1, 2}> { s = ReduceSum<keepdims = 0>(w)\nstylized = Mul(frame, s) }")
    weights = onnx.numpy_helper.from_array(np.array([1, value], np.float32), "w")
    model.graph.initializer[0].CopyFrom(weights)
    onnx.save(model, tmp_path / "a.onnx")
    assert "the weights 'w' hold numbers that are none" in refusal(tmp_path / "a.onnx")


NAN_ABOVE_250 = """
    most = ReduceMax<keepdims = 0>(planes)
    limit = Constant <value = float {250}> ()
    bright = Greater(most, limit)
    one = Cast<to = 1>(bright)
    all = Constant <value = float {1}> ()
    left = Sub(all, one)
    zero = Constant <value = float {0}> ()
    share = Div(left, left)
    raw = Mul(planes, share)
"""
"""Zero divided by zero where a picture has a level above 250, else the picture."""

WHITE = np.full((6, 8, 3), 255, np.uint8)
DARK = np.full((6, 8, 3), 7, np.uint8)


@pytest.mark.parametrize("layout", ["nhwc-uint8", "nchw-float"])
def test_nan_on_a_picture_is_an_error_and_no_black_picture(layout: str, tmp_path: Path) -> None:
    if layout == "nchw-float":
        graph = FLOATS + " { planes = Identity(frame)\n" + NAN_ABOVE_250 + "stylized = Identity(raw) }"
    else:
        graph = (
            "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { planes = Cast<to = 1>(frame)\n"
            + NAN_ABOVE_250
            + "top = Constant <value = float {255}> ()\nclipped = Clip(raw, zero, top)\nrounded = Round(clipped)\n"
            + "stylized = Cast<to = 2>(rounded) }"
        )
    onnx.save(model_of(graph), tmp_path / "a.onnx")
    assert "gives numbers that are none (NaN or infinity) on a test picture" in refusal(tmp_path / "a.onnx")
    # As if the test pictures were darker than what comes after.
    dark = model_of(graph.replace("float {250}", "float {260}"))
    onnx.save(dark, tmp_path / "b.onnx")
    with StyleSession(tmp_path / "b.onnx", provider="cpu") as session:
        np.testing.assert_array_equal(session(WHITE), WHITE)
        np.testing.assert_array_equal(session(DARK), DARK)


ONLY_SMALL_IS_FINITE = """
    width = Shape<start = 2, end = 3>(frame)
    known = Constant <value = int64[1] {200}> ()
    wide = Greater(width, known)
    one = Cast<to = 1>(wide)
    all = Constant <value = float {1}> ()
    left = Sub(all, one)
    share = Div(left, left)
    planes = Cast<to = 1>(frame)
    raw = Mul(planes, share)
    stylized = Cast<to = 2>(raw)
"""


def test_nan_on_a_later_picture(tmp_path: Path) -> None:
    graph = "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) {" + ONLY_SMALL_IS_FINITE + "}"
    onnx.save(model_of(graph), tmp_path / "a.onnx")
    with StyleSession(tmp_path / "a.onnx", provider="cpu") as session:
        np.testing.assert_array_equal(session(DARK), DARK)
        with pytest.raises(StyleError, match=r"gives NaN or infinity on a picture of 300x4"):
            session(np.full((4, 300, 3), 9, np.uint8))


def test_a_black_picture_of_numbers_is_a_picture(tmp_path: Path) -> None:
    onnx.save(model_of(IDENTITY), tmp_path / "a.onnx")
    with StyleSession(tmp_path / "a.onnx", provider="cpu") as session:
        black = np.zeros((5, 7, 3), np.uint8)
        np.testing.assert_array_equal(session(black), black)


def test_networks_for_odd_sizes_only_are_refused(tmp_path: Path) -> None:
    weights = np.zeros((3, 3, 3, 3), np.float32)
    graph = """g (float[N, 3, H, W] frame) => (float[N, 3, A, B] stylized) {
        half = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(frame, w)
        stylized = ConvTranspose<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(half, w)
    }"""
    model = model_of(graph)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "a.onnx")
    assert refusal(tmp_path / "a.onnx") == "turns (1, 3, 96, 130) into (1, 3, 95, 129); expected the same size"


def test_more_styles_than_can_be(tmp_path: Path) -> None:
    more = IDENTITY.replace("frame)", "frame, float[999999999999] style_weights)", 1)
    onnx.save(model_of(more), tmp_path / "a.onnx")
    assert "says that it mixes 999999999999 styles; expected at most 4096" in refusal(tmp_path / "a.onnx")


ENDLESS = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<int64 many = {9000000000000000000}, bool yes = {1}> {
    stylized = Loop (many, yes, frame) <body = b (int64 i, bool c, uint8[N, H, W, 3] x)
        => (bool c2, uint8[N, H, W, 3] y) { c2 = Identity(c)  y = Identity(x) }>
}"""

# While the file is loaded, constants are computed: a matrix of 8,000 x 8,000, times itself and once more.
FOLDED = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64[2] s = {SIDE, SIDE}> {
    c = ConstantOfShape(s)
    a = Cos(c)
    b = MatMul(a, a)
    d = MatMul(b, a)
    r = ReduceMin<keepdims = 0>(d)
    q = Sub(r, r)
    u = Cast<to = 2>(q)
    stylized = Add(frame, u)
}"""

SAME = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Identity(frame) }"""


def write(path: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.parametrize("text", [ENDLESS, FOLDED.replace("SIDE", "5000")])
def test_a_file_without_end_is_ended(tmp_path: Path, text: str) -> None:
    try_network(write(tmp_path / "id.onnx", SAME))  # the process has started
    started = time.monotonic()
    path = write(tmp_path / "a.onnx", text)
    with pytest.raises(StyleError, match=r"a.onnx: has not loaded and stylized a test picture within 0 s"):
        try_network(path, limit_s=0.4)
    assert time.monotonic() - started < 10
    try_network(tmp_path / "id.onnx")  # by a new process


def test_a_file_that_takes_all_memory_is_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", FOLDED.replace("SIDE", "9000"))
    with pytest.raises(StyleError, match=r"a.onnx: takes more than 0.5 GB for a test picture"):
        try_network(path, memory=500_000_000)


def test_a_relative_name_stays_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.onnx").write_bytes(b"no network")
    with pytest.raises(StyleError, match=r"^a\.onnx: not a readable ONNX network"):
        try_network(Path("a.onnx"))
