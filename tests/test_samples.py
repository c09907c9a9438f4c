"""The pictures in data/: there, of the sizes that data/README.md promises, small enough, and worth stylizing."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
SIZES = {  # width, height
    "content/harbour.jpg": (1024, 768),
    "content/valley.jpg": (1024, 680),
    "content/still_life.jpg": (800, 800),
    "style/swirls.jpg": (768, 640),
    "style/mosaic.jpg": (768, 768),
    "style/ink.jpg": (1200, 900),
}
TILES = 8  # the picture is judged in 8 x 8 parts


def _tiles(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"), np.float32)
    return [part for row in np.array_split(grey, TILES, axis=0) for part in np.array_split(row, TILES, axis=1)]


def _entropy_bits(path: Path) -> float:
    with Image.open(path) as image:
        counts = np.bincount(np.asarray(image.convert("L")).ravel(), minlength=256)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def test_data_holds_these_pictures_and_no_others() -> None:
    folders = (DATA / "content", DATA / "style")
    assert {file.relative_to(DATA).as_posix() for folder in folders for file in folder.iterdir()} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_sample_is_a_color_jpeg_of_the_documented_size(name: str) -> None:
    with Image.open(DATA / name) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", SIZES[name])


@pytest.mark.parametrize("name", SIZES)
def test_readme_says_the_size(name: str) -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    width, height = SIZES[name]
    assert re.search(rf"\| {re.escape(name)} \| {width} x {height} \|", readme)


@pytest.mark.parametrize("name", SIZES)
def test_sample_is_under_400_kb(name: str) -> None:
    assert (DATA / name).stat().st_size < 400_000


def test_samples_are_under_2500_kb_together() -> None:
    assert sum((DATA / name).stat().st_size for name in SIZES) < 2_500_000


@pytest.mark.parametrize("name", SIZES)
def test_sample_uses_the_whole_range_of_tones(name: str) -> None:
    assert _entropy_bits(DATA / name) > 7.0


@pytest.mark.parametrize("name", SIZES)
def test_sample_has_no_large_flat_part(name: str) -> None:
    flat = [tile.std() < 2.0 for tile in _tiles(DATA / name)]
    assert not any(flat)


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("style/")])
def test_style_has_texture_everywhere(name: str) -> None:
    steps = [np.abs(np.diff(tile, axis=1)).mean() for tile in _tiles(DATA / name)]
    assert min(steps) > 5.0


def test_flatness_measures_by_hand(tmp_path: Path) -> None:
    # Two tones in equal shares carry 1 bit; each of the 64 parts of the right or left half is flat.
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    path = tmp_path / "halves.png"
    Image.fromarray(halves).save(path)
    assert _entropy_bits(path) == pytest.approx(1.0)
    assert [tile.std() for tile in _tiles(path)] == [0.0] * 64


@pytest.mark.parametrize("folder", ["data", "train", "models", "exports"])
def test_folders_of_data_hold_no_python(folder: str) -> None:
    # They would be importable as namespace packages.
    assert list((ROOT / folder).rglob("*.py")) == []
