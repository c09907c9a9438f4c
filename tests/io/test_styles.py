"""Where a style's name leads."""

from pathlib import Path

import pytest

from fastnst.errors import StyleError
from fastnst.io import styles
from fastnst.io.styles import find_style, installed_styles


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A bundled and a user's folder, each with a style of its own and one in common."""
    bundled, own = tmp_path / "bundled", tmp_path / "own"
    for folder, names in ((bundled, ("starry", "wave")), (own, ("wave", "cubes"))):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.onnx").touch()
    (own / "notes.txt").touch()
    for hidden in (".half.part.onnx", "._wave.onnx"):
        (own / hidden).touch()
    monkeypatch.setattr(styles, "bundled_styles_folder", lambda: bundled)
    monkeypatch.setenv("FASTNST_STYLES", str(own))
    return bundled, own


def test_all_styles_sorted_and_the_users_own_first(folders: tuple[Path, Path]) -> None:
    bundled, own = folders
    assert installed_styles() == {
        "cubes": own / "cubes.onnx",
        "starry": bundled / "starry.onnx",
        "wave": own / "wave.onnx",
    }
    assert list(installed_styles()) == ["cubes", "starry", "wave"]


def test_style_by_name_and_by_path(folders: tuple[Path, Path]) -> None:
    bundled, own = folders
    assert find_style("starry") == bundled / "starry.onnx"
    assert find_style("wave") == own / "wave.onnx"
    assert find_style(bundled / "wave.onnx") == bundled / "wave.onnx"
    assert find_style(str(bundled / "wave.onnx")) == bundled / "wave.onnx"


def test_wrong_name_gets_the_nearest(folders: tuple[Path, Path]) -> None:
    with pytest.raises(StyleError, match=r"no style 'stary'; did you mean 'starry'\?"):
        find_style("stary")
    with pytest.raises(StyleError, match="known: cubes, starry, wave"):
        find_style("qqq")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.onnx", "no such file"),
        ("folder.onnx", "is a folder"),
        ("wave.jpg", "is a picture.*fastnst train"),
        ("wave.pth", "holds weights.*fastnst export"),
        ("wave.safetensors", "holds weights"),
    ],
)
def test_things_that_are_no_style(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(StyleError, match=words):
        find_style(tmp_path / name)


def test_no_styles_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(styles, "bundled_styles_folder", lambda: tmp_path / "a")
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path / "b"))
    assert installed_styles() == {}
    with pytest.raises(StyleError, match="known: none"):
        find_style("starry")


def test_what_came_with_a_wheel_and_with_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fastnst"
    package.mkdir()
    monkeypatch.setattr(styles, "__file__", str(package / "io" / "styles.py"))
    assert styles.bundled_styles_folder() == tmp_path / "exports"
    assert styles.bundled_models() == tmp_path / "models"
    (package / "exports").mkdir()
    (package / "weights").mkdir()
    assert styles.bundled_styles_folder() == package / "exports"
    assert styles.bundled_models() == package / "weights"
    package = tmp_path / "fastnst"
    monkeypatch.setattr(styles, "__file__", str(package / "io" / "styles.py"))
    assert styles.sample_picture() is None
    for place in (tmp_path, package):
        (place / "data" / "content").mkdir(parents=True)
        (place / "data" / "content" / "harbour.jpg").touch()
        assert styles.sample_picture() == place / "data" / "content" / "harbour.jpg"


def test_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTNST_STYLES", raising=False)
    assert styles.user_styles_folder().parts[-2:] == ("fastnst", "styles")
    monkeypatch.setenv("FASTNST_STYLES", "~/mine")
    assert styles.user_styles_folder() == Path.home() / "mine"
