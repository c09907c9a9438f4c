"""Effects and masks: what can be asked for, and where each painting goes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from fastnst.errors import InputError, SettingError
from fastnst.inference.effects import Effects
from fastnst.inference.masks import Mask, read_mask, read_regions


def grey(*levels: int) -> np.ndarray:
    return np.array([levels], np.uint8)


@pytest.fixture
def quarters(tmp_path: Path) -> Path:
    """A map of four quarters, 40 x 40: red, lime, blue, and white with a dot of yellow."""
    picture = Image.new("RGB", (40, 40), "white")
    draw = ImageDraw.Draw(picture)
    for color, corner in (("red", (0, 0)), ("lime", (20, 0)), ("blue", (0, 20))):
        draw.rectangle((*corner, corner[0] + 19, corner[1] + 19), color)
    draw.rectangle((30, 30, 33, 33), "yellow")
    picture.save(tmp_path / "map.png")
    return tmp_path / "map.png"


def quarter(row: int, column: int) -> np.ndarray:
    weights = np.zeros((40, 40), np.uint8)
    weights[20 * row : 20 * row + 20, 20 * column : 20 * column + 20] = 255
    return weights


def test_bright_and_opaque_is_painted_and_stretched_to_the_picture(tmp_path: Path) -> None:
    picture = np.array([[[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255], [255, 255, 255, 51]]], np.uint8)
    Image.fromarray(picture).save(tmp_path / "mask.png")
    (weights,) = read_mask(tmp_path / "mask.png").weights((1, 4))
    np.testing.assert_array_equal(weights, grey(0, 128, 255, 51))
    (weights,) = Mask(Path("mask.png"), [grey(0, 255)]).weights((2, 4))
    np.testing.assert_array_equal(weights, [[0, 64, 191, 255]] * 2)


def test_masks_of_another_shape_are_refused_and_weights_of_a_size_kept() -> None:
    mask = Mask(Path("mask.png"), [np.zeros((480, 640), np.uint8)])
    mask.weights((2160, 2881))  # as near as whole pixels come
    with pytest.raises(InputError, match=r"mask\.png: 640x480 is not the shape of the picture, 1920x1080"):
        mask.weights((1080, 1920))
    mask = Mask(Path("mask.png"), [np.zeros((48, 64), np.uint8)])
    assert mask.weights((96, 128)) is mask.weights((96, 128))
    assert mask.weights((48, 64))[0].shape == (48, 64)


def test_feathering_softens_borders_and_sums_to_the_whole() -> None:
    halves = np.zeros((2, 40, 40), np.uint8)
    halves[0, :, :20], halves[1, :, 20:] = 255, 255
    hard = Mask(Path("m"), list(halves)).weights((40, 40))
    soft = Mask(Path("m"), list(halves), feather=3).weights((40, 40))
    assert hard[0][5, 19] == 255
    assert 130 < soft[0][5, 19] < 200
    assert soft[0][5, 2] == 255
    sums = soft[0].astype(int) + soft[1]
    assert sums.max() <= 255
    assert sums.min() >= 253


def test_the_first_painting_gets_what_others_and_the_photo_leave() -> None:
    mask = Mask(Path("m"), [grey(255, 0, 0, 55)], bare=grey(0, 255, 0, 0), rest=True)
    rest, own = mask.weights((1, 4))
    np.testing.assert_array_equal(own, grey(255, 0, 0, 55))
    np.testing.assert_array_equal(rest, grey(0, 0, 255, 200))
    # Halfway between 0 and 255 both round to 128.
    rest, first, second = Mask(Path("m"), [grey(255, 0), grey(0, 255)], rest=True).weights((1, 3))
    assert first[0, 1] == 128
    assert second[0, 1] == 127
    assert rest[0, 1] == 0


def test_regions_by_color(quarters: Path) -> None:
    mask = read_regions(quarters, {"#f00": 0, "Blue": 1})
    red, blue = mask.weights((40, 40))
    np.testing.assert_array_equal(red, quarter(0, 0))
    np.testing.assert_array_equal(blue, quarter(1, 0))
    mask = read_regions(quarters, {"red": 0, "blue": None, "yellow": 0}, rest=True)
    rest, own = mask.weights((40, 40))
    yellow = np.zeros((40, 40), np.uint8)
    yellow[30:34, 30:34] = 255
    np.testing.assert_array_equal(own, quarter(0, 0) + yellow)
    np.testing.assert_array_equal(rest, quarter(0, 1) + quarter(1, 1) - yellow)


def test_green_is_the_green_that_people_paint_masks_in(quarters: Path) -> None:
    with Image.open(quarters) as picture:
        ImageDraw.Draw(picture).rectangle((20, 30, 39, 39), (0, 110, 0))
        picture.save(quarters)
    (weights,) = read_regions(quarters, {"green": 0}).weights((40, 40))
    np.testing.assert_array_equal(weights, quarter(0, 1))


def test_single_pixels_of_other_colors_belong_to_the_nearest_region(quarters: Path) -> None:
    with Image.open(quarters) as picture:
        picture.putpixel((3, 3), (150, 60, 0))
        picture.putpixel((9, 9), (60, 150, 0))
        picture.save(quarters)
    (weights,) = read_regions(quarters, {"red": 0}).weights((40, 40))
    assert weights[3, 3] == 255
    assert weights[9, 9] == 0


def test_soft_edges_and_jpeg_noise_leave_no_gaps(quarters: Path, tmp_path: Path) -> None:
    with Image.open(quarters) as picture:
        large = picture.resize((400, 400), Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(2))
        large.save(tmp_path / "map.jpg", quality=60)
    colors = ("red", "lime", "blue", "white", "yellow")
    weights = read_regions(tmp_path / "map.jpg", {color: place for place, color in enumerate(colors)}).weights((40, 40))
    assert np.abs(sum(own.astype(int) for own in weights) - 255).max() <= 2
    assert np.abs(weights[0].astype(int) - quarter(0, 0)).mean() < 3


def test_a_color_that_is_not_there(quarters: Path) -> None:
    with pytest.raises(
        InputError, match=r"map\.png: has no region of its own in gray; it has #0000ff \(25%\), .*#ffff00 \(1%\)"
    ):
        read_regions(quarters, {"gray": 0})
    with pytest.raises(InputError, match="no region of its own in darkred"):
        read_regions(quarters, {"red": 0, "darkred": 1})
    with pytest.raises(SettingError, match=r"--region sky=\.\.\.: no color"):
        read_regions(quarters, {"sky": 0})


def test_identity_tells_masks_apart(quarters: Path) -> None:
    masks = [
        read_mask(quarters),
        read_mask(quarters, feather=2),
        read_regions(quarters, {"red": 0}),
        read_regions(quarters, {"red": 0}, rest=True),
        read_regions(quarters, {"red": 0, "blue": None}),
        read_regions(quarters, {"red": 0, "blue": None}, rest=True),
    ]
    assert len({mask.identity for mask in masks}) == len(masks)
    assert masks[0].identity == read_mask(quarters).identity


def test_regions_in_the_order_given() -> None:
    effects = Effects(mask=Path("m.png"), region=("#00ff00=a.onnx", " red = starry", "rgb(0,0,255)=photo"))
    assert list(effects.regions().items()) == [("#00ff00", "a.onnx"), ("red", "starry"), ("rgb(0,0,255)", "photo")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strength": -0.1}, "--strength is -0.1"),
        ({"strength": 1.6}, "expected 0 to 1, or to 1.5"),
        ({"strength": float("nan")}, "--strength is nan"),
        ({"mask": Path("m"), "feather": -1}, "--feather is -1"),
        ({"feather": 3}, "--feather is given without --mask"),
        ({"region": ("red=a",)}, "--region is given without --mask"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Effects(**settings)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (("red",), "--region red: expected COLOR=STYLE"),
        (("=a",), "expected COLOR=STYLE"),
        (("red=",), "expected COLOR=STYLE"),
        (("red=a", "red=b"), "red is given twice"),
    ],
)
def test_regions_that_are_none(region: tuple[str, ...], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Effects(mask=Path("m"), region=region).regions()
