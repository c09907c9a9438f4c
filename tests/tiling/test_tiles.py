"""Painting in tiles against painting in one piece, by networks with random weights and all kinds of operators."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.errors import InputError, OutputError, SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame
from fastnst.models.export import Layout
from fastnst.models.live import LiveNet
from fastnst.models.network import Conditions, StyleNetwork, TransformNet
from fastnst.tiling.tileable import held_numbers
from fastnst.tiling.tiles import DEFAULT_TILE, OnProgress, TiledStylizer


class OddNet(StyleNetwork):
    """Pixel unshuffle and shuffle, separable convolutions, other rectifiers and paddings, a skip at full size."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.PixelUnshuffle(4), nn.ReflectionPad2d(1), nn.Conv2d(48, 16, 3))
        self.norms = nn.ModuleList(nn.InstanceNorm2d(channels, affine=True) for channels in (16, 16, 16, 8))
        self.separable = nn.Sequential(nn.ReplicationPad2d(2), nn.Conv2d(16, 16, 5, groups=16), nn.Conv2d(16, 16, 1))
        self.coarse = nn.Conv2d(16, 16, 4, stride=2, padding=1)
        self.detail = nn.Conv2d(3, 8, (1, 7), padding=(0, 3), padding_mode="reflect")
        self.up = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1, padding_mode="reflect"), nn.PixelShuffle(4))
        self.last = nn.Conv2d(11, 3, 3, padding=1, padding_mode="reflect")

    def paint(self, image: Tensor, _shares: Tensor | None) -> Tensor:
        at_quarter = F.hardswish(self.norms[0](self.down(image)))
        body = at_quarter + F.leaky_relu(self.norms[1](self.separable(at_quarter)), 0.1)
        coarse = torch.tanh(self.norms[2](self.coarse(body)))
        body = torch.cat([body, F.interpolate(coarse, scale_factor=2.0, mode="nearest")], 1)
        detail = F.silu(self.norms[3](self.detail(image))).clamp(-1, 2)
        return torch.sigmoid(self.last(torch.cat([detail, self.up(body)], 1)))


@pytest.fixture(scope="module")
def odd(export: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    return export(OddNet(), tmp_path_factory.mktemp("onnx") / "odd.onnx")


def write(folder: Path, graph: str, **tensors: np.ndarray) -> Path:
    """Write a graph in ONNX's text form; large initializers beside it."""
    for name in tensors:
        graph = re.sub(rf", float\[[^]]*] {name}\b", "", graph)
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 18]>' + graph)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in tensors.items())
    onnx.save(model, folder / "network.onnx")
    return folder / "network.onnx"


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the weights of all convolutions, in order."""
    return [node.input[1] for node in model.graph.node if node.op_type == "Conv"]


def draw(height: int, width: int, seed: int = 0) -> Frame:
    """Waves whose colours and contrast change across the picture, with noise and flat parts."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    waves = np.stack([np.sin(down / 9), np.cos(across / 7), np.sin((down + across) / 23)], axis=-1)
    levels = 60 + 150 * (across / width)[..., None] + 60 * (down / height)[..., None] * waves
    levels += rng.normal(0, 12, (height, width, 3))
    levels[height // 3 : height // 2, : width // 2] = (255, 0, 40)
    return levels.clip(0, 255).astype(np.uint8)


def in_tiles(path: Path, frame: Frame, tile: int = DEFAULT_TILE, on_progress: OnProgress | None = None) -> Frame:
    return TiledStylizer(path, tile=tile)(frame, on_progress=on_progress)


def in_one_piece(path: Path, frame: Frame) -> Frame:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: Frame = session.run(["stylized"], {"frame": frame[None]})[0][0]
    return result


def assert_same(painted: Frame, expected: Frame) -> None:
    """At most one level apart, and 50 dB of signal to noise."""
    assert painted.shape == expected.shape
    difference = np.abs(painted.astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference**2) <= 255**2 / 10**5


@pytest.mark.parametrize("size", [(203, 301), (64, 257), (129, 65), (37, 45), (1, 1)])
def test_tiles_paint_what_the_whole_network_paints(johnson: Path, size: tuple[int, int]) -> None:
    frame = draw(*size)
    assert_same(in_tiles(johnson, frame, tile=64), in_one_piece(johnson, frame))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "conditions"),
    [("nhwc-uint8", Conditions()), ("nchw-float", Conditions(2)), ("nhwc-uint8", Conditions(1, strength=True))],
    ids=str,
)
def test_tiles_paint_what_a_live_network_paints(
    export: Callable[..., Path], tmp_path: Path, layout: Layout, conditions: Conditions
) -> None:
    torch.manual_seed(2)
    network = LiveNet(16, 1, conditions)
    nn.init.normal_(network.last.weight, 0, 0.05)  # the four pixels of a place differ
    live = export(network, tmp_path / "live.onnx", layout)
    for size in ((203, 301), (129, 65), (37, 45)):
        frame = draw(*size)
        with Stylizer(live, Effects(stroke=1), provider="cpu") as stylizer:
            assert_same(in_tiles(live, frame, tile=64), stylizer(frame))


@pytest.mark.parametrize("size", [(203, 301), (131, 72), (30, 200)])
def test_tiles_paint_what_a_network_of_other_operators_paints(odd: Path, size: tuple[int, int]) -> None:
    frame = draw(*size)
    assert_same(in_tiles(odd, frame, tile=64), in_one_piece(odd, frame))


def test_the_float_layout(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) <
            float[3] scale = {60, 70, 80}, float[3] bias = {100, 120, 140}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}
        > {
            normal = InstanceNormalization (frame, scale, bias)
            padded = Pad <mode = "reflect"> (normal, pads)
            stylized = AveragePool <kernel_shape = [3, 3], strides = [1, 1]> (padded)
        }""",
    )
    frame = draw(110, 150)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    planes = frame.transpose(2, 0, 1)[None].astype(np.float32)
    whole = np.rint(session.run(["stylized"], {"frame": planes})[0][0]).transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    assert_same(in_tiles(path, frame, tile=64), whole)


def test_the_tile_does_not_matter(johnson: Path) -> None:
    frame = draw(200, 300)
    small, large = (in_tiles(johnson, frame, tile=tile) for tile in (64, 1000))
    assert np.abs(small.astype(int) - large).max() <= 1


def test_threads_do_not_matter(johnson: Path) -> None:
    frame = draw(150, 300)
    one, three = (TiledStylizer(johnson, tile=100, threads=threads)(frame) for threads in (1, 3))
    assert np.abs(one.astype(int) - three).max() <= 1


def test_a_flat_picture(johnson: Path) -> None:
    """All variances but those that padding makes are nearly 0: errors of the mean would be blown up 300 times."""
    frame = np.full((150, 201, 3), (250, 128, 3), np.uint8)
    assert_same(in_tiles(johnson, frame, tile=64), in_one_piece(johnson, frame))


def test_channels_far_from_zero(johnson: Path, tmp_path: Path) -> None:
    """A convolution's bias is taken off again by the normalisation after it, whatever it is."""
    model = onnx.load(johnson)
    for tensor in model.graph.initializer:
        # The bias of a convolution, but not of the last one; the others belong to normalisations.
        if tensor.name.endswith("1.bias") and tensor.name.replace("bias", "weight") in convolutions(model)[:-1]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 200, tensor.name))
    onnx.save(model, tmp_path / "far.onnx")
    frame = draw(150, 150)
    assert_same(in_tiles(tmp_path / "far.onnx", frame, tile=64), in_one_piece(johnson, frame))


def test_maps_on_disk_and_maps_computed_again(johnson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = draw(250, 398)
    expected = in_one_piece(johnson, frame)
    monkeypatch.setattr("fastnst.tiling.tiles.PROCESS_BYTES", 0)
    cramped = TiledStylizer(johnson, tile=64, max_memory=3_200_000, threads=1, folder=tmp_path)
    plan = cramped.plan(252, 400)
    assert plan.disk > 0
    assert_same(cramped(frame), expected)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0))
    plan = cramped.plan(252, 400)
    assert plan.disk == 0
    assert plan.memory < 1_000_000
    assert_same(cramped(frame), expected)


def test_a_full_disk(johnson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, place: int) -> None: ...

        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr("fastnst.tiling.tiles.PROCESS_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    painter = TiledStylizer(johnson, tile=64, max_memory=3_200_000, threads=1, folder=tmp_path)
    with pytest.raises(OutputError, match="No space left on device"):
        painter(draw(250, 400))


def test_progress_rises_to_one(johnson: Path) -> None:
    shares: list[float] = []
    in_tiles(johnson, draw(130, 70), tile=64, on_progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 20
    assert shares[-1] == pytest.approx(1)


def test_the_frame_is_not_changed(johnson: Path) -> None:
    frame = draw(70, 130)
    frame.flags.writeable = False
    in_tiles(johnson, frame, tile=64)


def test_arguments_that_cannot_be(johnson: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="expected at least 64 pixels"):
        TiledStylizer(johnson, tile=16)
    with pytest.raises(SettingError, match="memory"):
        TiledStylizer(johnson, max_memory=1000)
    with pytest.raises(OutputError, match="no such folder"):
        TiledStylizer(johnson, folder=tmp_path / "missing")
    with pytest.raises(InputError, match="2 pictures at once"):
        TiledStylizer(johnson)(np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="float64"):
        TiledStylizer(johnson)(np.zeros((64, 64, 3)))
    with pytest.raises(SettingError, match="style weights"):
        TiledStylizer(johnson)(draw(64, 64), style_weights=[1.0])


def test_what_the_fullest_moment_holds(johnson: Path, tmp_path: Path) -> None:
    # Measured for this width: about 360 bytes of memory for each pixel, in ONNX Runtime 1.8 to 2.8 times the numbers.
    assert 30 < held_numbers(johnson) < 60
    # By inference of shapes, where the graph is not one for tiles: the first convolution's 8 channels and a copy.
    text = """<ir_version: 8, opset_import: ["" : 17]>
        other (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized)
        <float[8, 3, 3, 3] a, float[3, 8, 3, 3] b> {
            wide = Conv <pads = [1, 1, 1, 1]> (frame, a)
            bent = Relu (wide)
            stylized = Conv <pads = [1, 1, 1, 1]> (bent, b)
        }"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("a", (8, 3, 3, 3)), ("b", (3, 8, 3, 3))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.save(model, tmp_path / "other.onnx")
    assert held_numbers(tmp_path / "other.onnx") == 16


def test_little_memory_is_not_used_up(johnson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.tiling.pieces.available_memory", lambda: 2**30)
    assert TiledStylizer(johnson).plan(4320, 7680).memory < 0.7 * 2**30


@pytest.fixture(scope="module")
def duo(export: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    return export(TransformNet(2, 1, Conditions(2, strength=True)), tmp_path_factory.mktemp("onnx") / "duo.onnx")


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0, 1.5])
def test_styles_and_strength_of_the_network_itself(duo: Path, strength: float) -> None:
    frame = draw(150, 170)
    told = {"style_weights": (0.25, 0.75), "strength": strength}
    with Stylizer(duo, provider="cpu") as stylizer:
        expected = stylizer(frame, **told)  # type: ignore[arg-type]
        assert_same(TiledStylizer(duo, tile=64)(frame, **told), expected)  # type: ignore[arg-type]
        assert (expected == frame).all() == (strength == 0)
        assert np.abs(stylizer(frame, style_weights=(1, 0)).astype(int) - stylizer(frame)).mean() > 1


@pytest.mark.parametrize(("detail", "passes"), [("photo", 1), ("painted", 2)])
def test_large_strokes_in_tiles(johnson: Path, detail: Literal["photo", "painted"], passes: int) -> None:
    frame = draw(320, 448)
    effects = Effects(stroke=2.0, brightness="keep", detail=detail)
    with Stylizer(johnson, effects, provider="cpu", tile="off") as whole:
        expected = whole(frame)
    with Stylizer(johnson, effects, provider="cpu", tile=96) as tiled:
        found = tiled(frame)
        assert tiled.in_tiles == passes
    difference = np.abs(found.astype(int) - expected.astype(int))
    # A level of what is painted at half the size, enlarged and rounded; painted again, three of them.
    assert difference.max() <= {1: 2, 2: 6}[passes]
    assert difference.mean() < {1: 0.1, 2: 1.0}[passes]


def test_strength_is_a_blend_with_the_photo(johnson: Path) -> None:
    frame = draw(70, 90)
    full, half = in_tiles(johnson, frame), TiledStylizer(johnson)(frame, strength=0.5)
    np.testing.assert_allclose(half, (full.astype(float) + frame) / 2, atol=1)


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        ("raw = GlobalAveragePool (image)", "it contains GlobalAveragePool"),
        ("raw = Softmax <axis = 1> (image)", "it contains Softmax"),
        ('raw = Conv <auto_pad = "SAME_UPPER"> (image, kernel)', "Conv raw pads by itself"),
        ("raw = Conv <pads = [0, 0, 0, 0]> (image, kernel)", "its output does not lie over its input"),
        ("raw = Slice (image, one, many, sides)", "Slice raw works on axis"),
        ("raw = Mul (image, map)", "takes a fixed map"),
        ("moved = Transpose <perm = [0, 1, 3, 2]> (image) raw = Identity (moved)", "moves the sides"),
        ("size = Shape (image) real = Cast <to = 1> (size) side = Gather (real, one) raw = Mul (image, side)", "size"),
        ('small = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (image) raw = Resize <mode = "linear", '
         'coordinate_transformation_mode = "align_corners"> (small, , twice)', "is not by a whole factor"),
        ('raw = Pad <mode = "wrap"> (image, pads)', "wrap"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_tiled(core: str, reason: str, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"""
        g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <
            int64[1] one = {{1}}, int64[1] many = {{1000}}, int64[1] sides = {{3}}, float[4] twice = {{1, 1, 2, 2}},
            int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}, float[1, 3, 96, 96] map, float[3, 3, 3, 3] kernel
        > {{
            planes = Transpose <perm = [0, 3, 1, 2]> (frame)
            image = Cast <to = 1> (planes)
            {core}
            whole = Cast <to = 2> (raw)
            stylized = Transpose <perm = [0, 2, 3, 1]> (whole)
        }}""",
        map=np.ones((1, 3, 96, 96), np.float32),
        kernel=np.ones((3, 3, 3, 3), np.float32),
    )
    with pytest.raises(StyleError, match=f"cannot be stylized in tiles: .*{reason}") as caught:
        TiledStylizer(path)
    assert "\n" not in str(caught.value)
