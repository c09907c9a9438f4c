"""`fastnst compare` from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastnst.cli import main
from fastnst.errors import DivergedError
from fastnst.io.files import sole_writer
from fastnst.io.images import read_frame
from fastnst.research import compare as comparing

pytestmark = pytest.mark.usefixtures("sketched_plots")


@pytest.fixture
def options(invert: Path, style_picture: Path, loss_weights: Path, tmp_path: Path) -> list[str]:
    """All but the photos and the sizes."""
    return [
        *("--style", str(invert), "--style-image", str(style_picture), "-o", str(tmp_path / "out")),
        *("--steps", "3", "--style-size", "48", "--precision", "float32", "--loss-weights", str(loss_weights)),
        *("--content-layers", "relu2_1", "--style-layers", "relu1_1", "--style-layers", "relu2_1"),
    ]


def status_of(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_compares_a_photo_at_several_sizes(
    options: list[str], photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["compare", str(photos / "photo0.png"), *options, "--size", "40", "48"]) == 0
    written = json.loads((tmp_path / "out" / "compare.json").read_text())["comparisons"]
    assert [(made["photo"], made["size"]) for made in written] == [("photo0", 40), ("photo0", 48)]
    assert [point["step"] for point in written[0]["exact"]] == [1, 2, 3]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"compare.html", "compare.md", "loss-40.png", "photo0-48-sheet.png", "photo0-40-exact-3.png"} <= names
    content = read_frame(tmp_path / "out" / "photo0-40-content.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "out" / "photo0-40-fast.png"), 255 - content)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("after 3 steps") >= 2  # a line for each
    assert "photo0, 48 px: fast total" in said.err
    assert "the network reaches a total loss of" in said.err
    assert "compare.html" in said.err


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (DivergedError, 1)])
def test_what_is_done_is_kept(
    options: list[str],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    status: int,
) -> None:
    compare, count = comparing.Comparer.compare, iter(range(9))

    def compare_once(*given: object) -> object:
        if next(count) == 1:
            raise stop
        return compare(*given)

    monkeypatch.setattr(comparing.Comparer, "compare", compare_once)
    given = [str(photos / "photo0.png"), str(photos / "photo1.png")]
    assert status_of(["compare", *given, *options, "--size", "40"]) == status
    written = json.loads((tmp_path / "out" / "compare.json").read_text())["comparisons"]
    assert [made["photo"] for made in written] == ["photo0"]


def test_ctrl_c_before_anything_is_done_writes_nothing(
    options: list[str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_given: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing.Comparer, "compare", stop)
    assert status_of(["compare", str(photos / "photo0.png"), *options, "--size", "40"]) == 130
    assert not (tmp_path / "out").exists()


def explained(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that an error is told in."""
    said = capfd.readouterr().err.strip()
    assert said.startswith("fastnst: ")
    assert "\n" not in said
    return said


def test_what_is_in_the_way_is_one_line(
    options: list[str], photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    Image.open(photos / "photo0.png").save(tmp_path / "other" / "photo0.bmp")
    assert status_of(["compare", str(photos / "photo0.png"), str(tmp_path / "other"), *options]) == 1
    assert "another photo is called photo0" in explained(capfd)
    with sole_writer(tmp_path / "out", folder=True):
        assert status_of(["compare", str(photos / "photo0.png"), *options]) == 1
    assert "another fastnst is writing it" in explained(capfd)
    (tmp_path / "out").write_text("here")
    assert status_of(["compare", str(photos / "photo0.png"), *options]) == 1
    assert "is a file" in explained(capfd)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--steps", "1"], "--steps is 1"),
        (["--style-size", "0"], "--style-size is 0"),
        (["--style", "nosuchstyle"], "nosuchstyle"),
    ],
)
def test_impossible_settings_are_named(
    options: list[str], photos: Path, wrong: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    at = options.index(wrong[0])
    options[at : at + 2] = wrong
    assert status_of(["compare", str(photos / "photo0.png"), *options]) in {1, 2}
    assert words in capfd.readouterr().err
