"""Other forms of an exported network: each runs, and paints as the file that it is made of."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from fastnst.backends.choosing import draw_picture
from fastnst.cli import main
from fastnst.errors import SettingError, StyleError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.styles import bundled_styles_folder
from fastnst.models.variants import Variant, difference, load_onnx, save_openvino, vary

STYLE = bundled_styles_folder() / "starry-live.onnx"


@pytest.mark.parametrize(
    ("variant", "most"),
    [
        (Variant(fp16=True), 4),
        (Variant("nchw-float", range="0..1"), 1),
        (Variant("nchw-float", size=(64, 96)), 1),
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
        main(["export", "starry-live", *options])
    assert said in capfd.readouterr().err


def test_a_style_within_a_network_is_not_exported_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["export", "the_kiss_klimt"])
    assert "the_kiss_klimt: is one of the styles in gallery, and a whole network is expected" in capfd.readouterr().err


def test_a_style_is_exported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["export", "starry-live", "--layout", "nchw-float", "--range", "0..1"])
    assert capfd.readouterr().err == (
        "starry-live.onnx: within 1 levels of 255 of the usual file at 99.9 % of the pixels\n"
    )
    assert np.isin(["frame"], [port.name for port in onnx.load("starry-live.onnx").graph.input]).all()
