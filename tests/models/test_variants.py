"""Other forms of an exported network: each runs, and paints as the file that it is made of."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from fastnst.backends.choosing import draw_picture
from fastnst.backends.forms import to_web, with_noise_inside
from fastnst.cli import main
from fastnst.errors import SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.inference.session import StyleSession
from fastnst.inference.stylizer import Stylizer
from fastnst.io.noise import TILE, with_noise
from fastnst.io.styles import bundled_styles_folder
from fastnst.models.variants import Variant, difference, load_onnx, save_openvino, vary

STYLE = bundled_styles_folder() / "starry-live.onnx"
GALLERY = bundled_styles_folder() / "gallery.onnx"


@pytest.mark.parametrize(
    ("variant", "most"),
    [
        (Variant(fp16=True), 4),
        (Variant("nchw-float", range="0..1"), 1),
        (Variant("nchw-float", range="0..1", fp16=True, size=(64, 96)), 4),
    ],
    ids=str,
)
def test_it_paints_alike(variant: Variant, most: int, tmp_path: Path) -> None:
    usual = load_onnx(STYLE)
    varied = vary(usual, variant)
    assert difference(usual, varied, variant) <= most
    shape = [size.dim_value or None for size in varied.graph.input[0].type.tensor_type.shape.dim]
    sizes = list(variant.size or (None, None))
    count = None if variant.size is None else 1
    assert shape == ([count, 3, *sizes] if variant.layout == "nchw-float" else [count, *sizes, 3])
    if variant.fp16:
        assert varied.ByteSize() < 0.6 * usual.ByteSize()
    onnx.save(varied, tmp_path / "varied.onnx")
    if variant.range != "0..255":
        with pytest.raises(StyleError, match=r"works in 0\.\.1, for other programs"):
            Stylizer(tmp_path / "varied.onnx", provider="cpu")
        return
    with Stylizer(tmp_path / "varied.onnx", provider="cpu") as stylizer:  # at any size, in pieces where it has one
        assert stylizer(draw_picture((70, 110))[0]).shape == (70, 110, 3)


def test_a_range_is_for_floats() -> None:
    with pytest.raises(SettingError, match=r"--range 0\.\.1 goes with --layout nchw-float"):
        Variant(range="0..1")


def test_openvino_files_are_run_back(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    assert save_openvino(load_onnx(STYLE), tmp_path / "style.xml", fp16=False) <= 1
    assert {file.name for file in tmp_path.iterdir()} == {"style.xml", "style.bin"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "coreml"], "--to coreml makes a file for pictures of one size: add --frame-size, such as 640x480"),
        (["--to", "litert", "--frame-size", "64x64", "--fp16"], "--to litert writes float32; leave out --fp16"),
        (["--frame-size", "640"], "--frame-size 640: expected WIDTHxHEIGHT in pixels"),
        (["--to", "openvino", "-o", "a.onnx"], "a.onnx: is no name of an OpenVINO file; let it end in .xml"),
    ],
)
def test_mistakes_get_one_line(options: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["export", "gallery-live", *options])
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("style", "name", "weights", "size"),
    [
        ("the_scream", "the_scream", {"the_scream": 1}, ""),
        ("gallery@ink:1,udnie:3", "ink_1_udnie_3", {"ink": 0.25, "udnie": 0.75}, "96x80"),
    ],
)
def test_one_style_or_mix_of_a_network_is_exported_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str, name: str, weights: dict[str, float], size: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["export", style, "--input-noise", "0", *(["--frame-size", size] if size else [])])
    frame = draw_picture((80, 96))[0]
    with StyleSession(Path(f"{name}.onnx"), provider="cpu") as alone, StyleSession(GALLERY, provider="cpu") as gallery:
        assert alone.styles == 1
        expected = gallery(frame, style_weights=weights).astype(int)
        assert np.abs(alone(frame) - expected).max() <= 1


def test_starry_live_is_what_export_takes_out_of_gallery_live() -> None:
    frame = draw_picture((80, 96))[0]
    whole = bundled_styles_folder() / "gallery-live.onnx"
    with StyleSession(STYLE, provider="cpu") as alone, StyleSession(whole, provider="cpu") as live:
        expected = live(frame, style_weights={"starry_night": 1}).astype(int)
        assert np.abs(alone(frame) - expected).max() <= 1


def test_a_network_of_one_style_is_no_mix(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["export", "starry-live@munch"])
    assert "the network has one style; leave out @munch" in capfd.readouterr().err


def test_a_style_is_exported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["export", "starry-live", "--layout", "nchw-float", "--range", "0..1"])
    assert capfd.readouterr().err == (
        "starry-live.onnx: adds its noise of 12 levels by itself; within 1 levels of 255 of the usual file at "
        "99.9 % of the pixels\n"
    )
    assert np.isin(["frame"], [port.name for port in onnx.load("starry-live.onnx").graph.input]).all()


RAMP = np.tile(np.linspace(0, 255, TILE + 8).astype(np.uint8)[:, None], (64, 1, 3))
"""A frame longer than the tile of noise, black and white at its ends."""


@pytest.mark.parametrize(
    "variant",
    [
        Variant(noise=12),
        Variant("nchw-float", "0..1", noise=40),
        Variant("web", noise=12),
        Variant(size=(64, 96), noise=12),
        Variant("nchw-float", size=(64, TILE + 8), fp16=True, noise=12),
    ],
    ids=str,
)
def test_noise_in_the_graph_is_what_the_pipeline_adds(variant: Variant, tmp_path: Path) -> None:
    usual = load_onnx(STYLE)
    frame = RAMP if variant.size is None else RAMP[:, : variant.size[1]]
    onnx.save(vary(usual, variant), tmp_path / "noisy.onnx")
    onnx.checker.check_model(tmp_path / "noisy.onnx", full_check=True)
    unit = 255 if variant.range == "0..1" else 1
    given = frame[None]
    if variant.layout != "nhwc-uint8":
        given = given.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(unit)
    session = onnxruntime.InferenceSession(tmp_path / "noisy.onnx", providers=["CPUExecutionProvider"])
    painted = session.run(["stylized"], {"frame": given})[0][0]
    pixels = painted if variant.layout == "nhwc-uint8" else np.rint(painted * unit).transpose(1, 2, 0)
    with Stylizer(STYLE, Effects(input_noise=0), provider="cpu") as stylizer:
        expected, bare = stylizer(with_noise(frame, variant.noise)).astype(int), stylizer(frame)
    assert np.abs(pixels - expected).max() <= (2 if variant.fp16 else 1)
    assert np.abs(expected - bare).mean() > 2


def test_noise_follows_a_network_strength(tmp_path: Path) -> None:
    usual = parser.parse_model("""<ir_version: 10, opset_import: ["": 18]>
        network (uint8[N, H, W, 3] frame, float[1] strength) => (uint8[N, H, W, 3] stylized) {
            turned = Transpose <perm = [0, 3, 1, 2]> (frame)
            before_planes = Cast <to = 1> (turned)
            nothing = Constant <value = float {0}> ()
            none = Mul (strength, nothing)
            raw = Add (before_planes, none)
            whole = Cast <to = 2> (raw)
            stylized = Transpose <perm = [0, 2, 3, 1]> (whole)
        }""")
    noisy = with_noise_inside(usual, 12)
    session = onnxruntime.InferenceSession(noisy.SerializeToString(), providers=["CPUExecutionProvider"])
    for strength, levels in ((1.4, 12), (0.5, 6), (0.0, 0)):
        feeds = {"frame": RAMP[None], "strength": np.float32([strength])}
        assert (session.run(["stylized"], feeds)[0][0] == with_noise(RAMP, levels)).all()


def test_fastnst_adds_that_noise_once_and_its_pages_by_themselves(tmp_path: Path) -> None:
    usual, path = load_onnx(STYLE), tmp_path / "noisy.onnx"
    onnx.save(vary(usual, Variant(noise=12)), path)
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert said["noise_in_graph"] == "12"
    assert "input_noise" not in said
    with StyleSession(path, provider="cpu", tile=64) as session, StyleSession(STYLE, provider="cpu") as bare:
        assert session.input_noise == 12
        assert np.abs(session(RAMP[:, :96]).astype(int) - bare(RAMP[:, :96])).max() <= 1
    page = {entry.key: entry.value for entry in to_web(onnx.load(path)).metadata_props}
    assert page["input_noise"] == "12"
    assert "noise_in_graph" not in page
