import json
import os
from pathlib import Path

import pytest
from PIL import Image

from fastnst.cli import main
from fastnst.io.files import sole_writer

pytestmark = pytest.mark.usefixtures("sketched_plots")


@pytest.fixture
def arguments(photos: Path, style_picture: Path, loss_weights: Path, tmp_path: Path) -> list[str]:
    return [
        *("--photo", str(photos / "photo0.png"), "--style", str(style_picture), "-o", str(tmp_path / "study")),
        *("--steps", "3", "--size", "24", "--precision", "float32", "--loss-weights", str(loss_weights)),
        *("--content-layers", "relu2_1", "--style-layers", "relu1_1", "--style-layers", "relu2_1"),
    ]


def status_of(arguments: list[str]) -> int:
    try:
        main(["research", "study", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def settings_of(folder: Path) -> list[dict[str, object]]:
    return [run["settings"] for run in json.loads((folder / "study.json").read_text())["runs"].values()]


def test_a_study_starts_from_its_own_preset(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["pooling", *arguments, "--tv-weight", "0"]) == 0
    used = settings_of(tmp_path / "study")
    assert [one["pool"] for one in used] == ["average", "max"]
    assert all((one["optimizer"], one["normalization"], one["steps"]) == ("adam", "paper", 3) for one in used)
    assert all(one["tv_weight"] == 0 for one in used)
    assert "sheet.png: Pooling; curves and numbers beside it" in capsys.readouterr().err


def test_a_study_without_weights_goes_through_one_loss_network_and_says_which(
    photos: Path,
    style_picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("FASTNST_LOSS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = ["--photo", str(photos / "photo0.png"), "--style", str(style_picture), "-o", str(tmp_path / "study")]
    given += ["--steps", "2", "--size", "48"]
    assert status_of(["scale", *given]) == 0
    assert {one["loss_network"] for one in settings_of(tmp_path / "study")} == {"compact"}
    assert "Judged by the compact loss network" in capsys.readouterr().err
    given[5] = str(tmp_path / "pooling")
    assert status_of(["pooling", *given, "--preset", "default"]) == 1  # its second cell wants what compact has not
    assert "--pool max: the compact loss network was trained with average pooling alone" in capsys.readouterr().err


def test_another_preset(arguments: list[str], tmp_path: Path) -> None:
    assert status_of(["pooling", *arguments, "--preset", "kmit"]) == 0
    assert all(one["normalization"] == "tutorial" for one in settings_of(tmp_path / "study"))


def test_several_photos_and_styles(arguments: list[str], photos: Path, tmp_path: Path) -> None:
    extra = ["--photo", str(photos / "photo1.png"), "--style", str(photos / "photo2.png")]
    assert status_of(["gallery", *arguments, *extra]) == 0
    assert len(settings_of(tmp_path / "study")) == 4


def test_masks(arguments: list[str], tmp_path: Path) -> None:
    masks = []
    for option, size in (("--content-mask", (100, 72)), ("--style-mask", (96, 80))):
        picture = Image.new("RGB", size, "red")
        picture.paste("blue", (size[0] // 2, 0, *size))
        picture.save(tmp_path / f"{option}.png")
        masks += [option, str(tmp_path / f"{option}.png")]
    assert status_of(["masks", *arguments, *masks]) == 0
    assert [one["mask_guard"] for one in settings_of(tmp_path / "study")] == [0.75, 0.0, 0.75]


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [
        ("masks", [], "wants --content-mask and --style-mask for each"),
        ("blend", [], "wants two or more"),
        ("library", [], "wants --trained-style"),
        ("pooling", ["--preset", "gatys"], "no preset is called 'gatys'; did you mean 'gatys2015'?"),
        ("pooling", ["--content-mask", "a.png", "--content-mask", "b.png"], "--content-mask is given 2 times for 1"),
        ("pooling", ["-o", "{file}"], "is a file; expected a folder for the study"),
    ],
)
def test_errors_are_one_line(
    name: str,
    extra: list[str],
    message: str,
    arguments: list[str],
    style_picture: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for option, value in zip(extra[::2], extra[1::2], strict=True):
        given = value.format(file=style_picture)
        if option == "-o":
            arguments[arguments.index("-o") + 1] = given
        else:
            arguments += [option, given]
    assert status_of([name, *arguments]) in (1, 2)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("fastnst: ")
    assert message in last


def test_names_that_are_no_text(arguments: list[str], photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    photo = folder / os.fsdecode(b"phot\xe9.png")
    photo.write_bytes((photos / "photo0.png").read_bytes())
    arguments[arguments.index("--photo") + 1] = str(photo)
    arguments[arguments.index("-o") + 1] = str(folder / "study")
    assert status_of(["pooling", *arguments]) == 0
    assert {path.name for path in (folder / "study").iterdir()} == {"sheet.png", "curves.png", "study.json", "runs"}
    assert "phot\\\\udce9" in (folder / "study" / "study.json").read_text()


def test_a_study_has_one_writer_and_a_known_name(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sole_writer(tmp_path / "study", folder=True):
        assert status_of(["pooling", *arguments]) == 1
    assert "study: another fastnst is writing it at this moment" in capsys.readouterr().err
    assert status_of(["poolign", *arguments]) == 2
    assert "pooling" in capsys.readouterr().err
