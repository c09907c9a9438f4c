"""Installed styles: listed, added, removed; and the sheet with a picture in each."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fastnst.errors import OutputError, SettingError, StyleError
from fastnst.inference.style_files import add_style, draw_contact_sheet, list_styles, remove_style
from fastnst.inference.stylizer import Stylizer

EXTERNAL = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8[3] white = {255, 255, 255}> {
    stylized = Sub(white, frame)
}"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder of bundled styles, and the user's, which is not there yet."""
    bundled, own = tmp_path / "bundled", tmp_path / "own"
    bundled.mkdir()
    monkeypatch.setattr("fastnst.io.styles.bundled_styles_folder", lambda: bundled)
    monkeypatch.setenv("FASTNST_STYLES", str(own))
    return bundled, own


def test_add_list_use_remove(folders: tuple[Path, Path], invert: Path) -> None:
    _, own = folders
    added = add_style(invert)
    assert (added.name, added.path, added.origin) == ("invert", own / "invert.onnx", "yours")
    assert added.path.read_bytes() == invert.read_bytes()
    assert [path.name for path in own.iterdir()] == ["invert.onnx"]
    (listed,) = list_styles()
    assert listed == added
    assert (listed.network, listed.license, listed.size) == ("invert", "MIT", invert.stat().st_size)
    assert Stylizer("invert", provider="cpu")(np.zeros((1, 1, 3), np.uint8)).max() == 255
    assert remove_style("invert") == added.path
    assert list_styles() == []


def test_another_name(folders: tuple[Path, Path], invert: Path) -> None:
    assert add_style(invert, "Grün-2_x").path == folders[1] / "Grün-2_x.onnx"


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a.onnx", "a b", "-a", "a\n"])
def test_names_that_are_none(folders: tuple[Path, Path], invert: Path, name: str) -> None:
    with pytest.raises(SettingError, match="expected letters, digits"):
        add_style(invert, name)
    assert not folders[1].exists()


def test_a_bundled_name(folders: tuple[Path, Path], invert: Path) -> None:
    bundled, own = folders
    (bundled / "starry.onnx").write_bytes(invert.read_bytes())
    with pytest.raises(OutputError, match="starry: is a style that comes with fastnst already"):
        add_style(invert, "starry")
    assert add_style(invert, "starry", overwrite=True).path == own / "starry.onnx"
    assert [(style.name, style.origin) for style in list_styles()] == [("starry", "yours")]
    remove_style("starry")
    assert [(style.name, style.origin) for style in list_styles()] == [("starry", "bundled")]


def test_only_networks_for_pictures_are_added(folders: tuple[Path, Path], write_network: Any, tmp_path: Path) -> None:
    graph = "g (float[1, 1, H, W] input1) => (float[1, 1, H, W] output1) { output1 = Identity(input1) }"
    for file, words in (
        (write_network(graph, name="foreign.onnx"), "expected one picture in and one out"),
        (tmp_path / "gone.onnx", "no such file"),
        (tmp_path / "a.pth", "expected an .onnx file; fastnst export"),
        (tmp_path / "starry", "expected an .onnx file"),
    ):
        with pytest.raises(StyleError, match=words):
            add_style(file)
    assert not folders[1].exists()


def test_weights_in_a_second_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.parser.parse_model(EXTERNAL)
    path = tmp_path / "two.onnx"
    model.graph.initializer[0].raw_data = bytes([255, 255, 255])
    del model.graph.initializer[0].int32_data[:]
    onnx.save(model, path, save_as_external_data=True, location="two.data", size_threshold=0)
    Stylizer(path, provider="cpu")
    with pytest.raises(StyleError, match=r"two\.onnx: does not work alone; expected one file with its weights"):
        add_style(path)
    assert list(folders[1].iterdir()) == []


def test_only_your_own_are_removed(folders: tuple[Path, Path], invert: Path) -> None:
    bundled, _ = folders
    (bundled / "starry.onnx").write_bytes(invert.read_bytes())
    add_style(invert)
    with pytest.raises(StyleError, match="starry: comes with fastnst"):
        remove_style("starry")
    with pytest.raises(StyleError, match=r"no style 'invrt' of your own; did you mean 'invert'\?"):
        remove_style("invrt")
    with pytest.raises(StyleError, match=r"no style '\.\./bundled/starry' of your own"):
        remove_style("../bundled/starry")
    assert len(list_styles()) == 2


# The sheet


def test_sheets_by_hand() -> None:
    frames = [np.full((10, 80, 3), level, np.uint8) for level in (0, 100, 200)]
    sheet = draw_contact_sheet(list(zip(("photo", "a", "b"), frames, strict=True)), columns=2)
    # Margins of 24; names 24 high above each picture; 12 between; two columns, two rows.
    assert sheet.shape == (24 + 34 + 12 + 34 + 24, 24 + 80 + 12 + 80 + 24, 3)
    assert (sheet[48:58, 24:104] == 0).all()
    assert (sheet[48:58, 116:196] == 100).all()
    assert (sheet[94:104, 24:104] == 200).all()
    assert (sheet[94:104, 116:196] == 255).all()
    assert sheet[24:48, 24:104].min() < 128  # a name
    frames = [np.full(size, level, np.uint8) for size, level in (((10, 80, 3), 0), ((50, 40, 3), 100))]
    sheet = draw_contact_sheet([("", frame) for frame in frames for _ in range(2)], columns=2)
    assert sheet.shape == (24 + 34 + 12 + 74 + 24, 24 + 80 + 12 + 80 + 24, 3)  # each row as high as its pictures
    assert (sheet[48:58, 24:104] == 0).all()
    assert (sheet[94:144, 44:84] == 100).all()  # in the middle of its column


def test_a_long_name_stays_above_its_picture() -> None:
    frame = np.full((10, 60, 3), 255, np.uint8)
    sheet = draw_contact_sheet([("W" * 60, frame), ("", frame)])
    assert sheet[24:48, 24:84].min() < 128
    assert (sheet[24:48, 90:] == 255).all()
