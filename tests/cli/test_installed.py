"""`fastnst doctor` as a user sees it."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fastnst import cli
from fastnst.diagnosis import examine as examining
from fastnst.diagnosis.examine import Diagnosis, Finding
from fastnst.io.images import read_frame
from fastnst.io.styles import sample_picture

FINE = Finding("providers", "cpu", "ok")
ABSENT = Finding("providers", "openvino", "absent", "not installed [yet]", "python -m pip install openvino")
WRONG = Finding("codecs", "av1", "wrong", "missing", "python -m pip install --force-reinstall av")
BROKEN = Finding("versions", "onnxruntime", "broken", "not installed")

NO_TORCH = [Finding("versions", name, "absent", "not installed", "pip install it") for name in ("torch", "torchvision")]


def diagnose(monkeypatch: pytest.MonkeyPatch, *findings: Finding, arguments: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(examining, "examine", lambda: Diagnosis(findings))
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", *arguments])
    return int(caught.value.code or 0)


def test_what_doctor_says_and_how_it_ends(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert diagnose(monkeypatch, FINE, ABSENT) == 0
    assert capfd.readouterr().out == (
        "providers\n  ok  cpu\n  --  openvino: not installed [yet]\n        python -m pip install openvino\n"
        "Stylizing and training work; training also needs photos: --content DIR, or fastnst coco fetches some.\n"
    )
    assert diagnose(monkeypatch, FINE, *NO_TORCH, WRONG) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[7:] == [
        "codecs",
        "  !!  av1: missing",
        "        python -m pip install --force-reinstall av",
        "1 thing is wrong: av1. Stylizing works; training needs torch, torchvision: pip install it",
    ]
    assert diagnose(monkeypatch, BROKEN, WRONG) == 1
    out = capfd.readouterr().out
    assert "  XX  onnxruntime: not installed\n" in out
    assert out.endswith("2 things are wrong: onnxruntime, av1. No picture can be stylized before that is fixed.\n")
    assert diagnose(monkeypatch, BROKEN, arguments=("--as-json",)) == 1
    read = json.loads(capfd.readouterr().out)
    assert read["works"] is False
    assert read["findings"][0]["name"] == "onnxruntime"


# `fastnst styles` as a user sees it.

ROOT = Path(__file__).parents[2]
INVERT = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network file; the user's folder is not there yet, and nothing is bundled."""
    model = onnx.parser.parse_model(INVERT)
    onnx.helper.set_model_props(
        model, {"network": "invert [1]", "provenance": "made [by] hand", "licence": "[bold]MIT", "fastnst_format": "1"}
    )
    onnx.save(model, tmp_path / "negative.onnx")
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path / "own"))
    monkeypatch.setattr("fastnst.io.styles.bundled_styles_folder", lambda: tmp_path / "none")
    return tmp_path / "negative.onnx"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_add_list_remove(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = network.parent / "own"
    assert run("styles") == 0
    assert capfd.readouterr().out == "No styles are installed; fastnst train makes one of a picture.\n"
    assert run("styles", "add", network) == 0
    assert capfd.readouterr() == ("", "negative: added\n")
    assert run("styles") == 0
    line = "negative  one     invert [1]  0.0 MB  [bold]MIT  yours"
    title, *rows = capfd.readouterr().out.splitlines()
    assert title.split() == ["name", "styles", "network", "size", "license", "from"]
    assert rows == [line]
    assert run("styles", "--verbose") == 0
    assert capfd.readouterr().out.splitlines()[1:] == [
        line,
        "negative: made [by] hand",
        f"negative: {own / 'negative.onnx'}",
        f"Your own are kept in {own}",
    ]
    assert run("styles", "remove", "negative") == 0
    assert capfd.readouterr().err == "negative: removed\n"
    assert list(own.iterdir()) == []


def test_name_and_overwrite(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("styles", "add", network, "--name", "x") == 0
    assert run("styles", "add", network, "--name", "x") == 1
    assert capfd.readouterr().err.splitlines()[1].startswith("fastnst: x: is one of your styles already")
    assert run("styles", "add", network, "--name", "x", "--overwrite") == 0


def test_a_style_that_cannot_be_used(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("styles", "add", network)
    (network.parent / "own" / "broken.onnx").write_text("text")
    assert run("styles") == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].split()[0] == "broken"
    assert lines[-1].startswith("broken: cannot be used: ")
    assert "not a readable ONNX network" in lines[-1]


def test_sheet(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((80, 160, 3), (250, 200, 100), np.uint8)).save(network.parent / "photo.png")
    run("styles", "add", network)
    sheet = network.parent / "out" / "sheet.png"
    assert run("styles", "--sheet", sheet, "--photo", network.parent / "photo.png", "--size", "64") == 0
    frame = read_frame(sheet)
    assert frame.shape == (24 + 24 + 32 + 24, 24 + 64 + 12 + 64 + 24, 3)
    np.testing.assert_array_equal(frame[50, 30], (250, 200, 100))
    np.testing.assert_array_equal(frame[50, 110], (5, 55, 155))
    assert capfd.readouterr().err.endswith(f"{sheet}: photo.png in 1 style\n")


def test_sheet_of_a_network_of_several_styles(
    network: Path, write_duo: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((80, 160, 3), (250, 200, 100), np.uint8)).save(network.parent / "photo.png")
    write_duo(network.parent / "own" / "duo.onnx")
    sheet = network.parent / "sheet.png"
    assert run("styles", "--sheet", sheet, "--photo", network.parent / "photo.png", "--size", "64") == 0
    assert capfd.readouterr().err.endswith(f"{sheet}: photo.png in 2 styles\n")
    levels = {int(level) for level in read_frame(sheet)[..., 0].flatten()}
    assert levels >= {40, 200}


def test_the_sample_picture_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sample = sample_picture()
    assert sample is not None
    place = "/".join(sample.parts[-3:-1])  # below the checkout, or below the installed package
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"][place] == f"fastnst/{place}"


def test_sheets_that_cannot_be(
    network: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fastnst.io.styles.sample_picture", lambda: None)
    assert run("styles", "--sheet", network.parent / "sheet.png") == 1
    assert capfd.readouterr().err == "fastnst: no picture came with this fastnst; name one by --photo\n"
    photo = network.parent / "photo.png"
    Image.new("RGB", (80, 60), "red").save(photo)
    before = photo.read_bytes()
    assert run("styles", "--sheet", photo, "--photo", photo) == 1
    assert capfd.readouterr().err == f"fastnst: {photo}: is the photo, and is not overwritten; choose another --sheet\n"
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["add", "gone.onnx"], 1, "gone.onnx: no such file"),
        (["add", "a.jpg"], 1, "a.jpg: no such file; expected a painting"),
        (["add"], 2, "FILE"),
        (["remove", "x"], 1, "no style 'x' of your own"),
        (["--sheet", "a.gif"], 1, "suffix '.gif'"),
        (["--sheet", "a.png", "--size", "3"], 2, "size"),
    ],
)
def test_mistakes_get_one_line(
    network: Path, arguments: list[str], status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("styles", *arguments) == status
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_needs_no_torch(network: Path) -> None:
    run("styles", "add", network)
    code = (
        "import sys, pathlib; from fastnst.cli.installed import styles; from fastnst.io import styles as files\n"
        "files.bundled_styles_folder = lambda: pathlib.Path('none')\n"
        "try: styles(['--sheet', sys.argv[1], '--size', '64'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'cv2', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(network.parent / "s.png")], check=True, capture_output=True, text=True
    )
    assert done.stdout.endswith("[]\n")


def test_the_styles_of_a_network_of_several_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("styles") == 0
    out = capfd.readouterr().out
    assert "\nIn gallery, each named by itself, as --style starry_night: starry_night, great_wave, " in out
    assert "\nIn gallery-live, as --style gallery-live@starry_night: starry_night, great_wave, " in out
