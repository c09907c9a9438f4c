"""Colors: CIELAB, palettes."""

import numpy as np
import pytest

from fastnst.metrics.color import distance_to_palette, palette_of, to_lab


def test_lab_by_hand() -> None:
    lab = to_lab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8))
    assert lab == pytest.approx(np.array([[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20]]), abs=0.03)


def test_lab_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    colors = np.random.default_rng(0).integers(0, 256, (50, 3), np.uint8)
    assert to_lab(colors) == pytest.approx(color.rgb2lab(colors[None])[0], abs=0.05)


def test_palette_of_few_colors_is_these_colors() -> None:
    frame = np.array([[[200, 0, 0], [0, 0, 200], [200, 0, 0]]], np.uint8).repeat(4, axis=0)
    assert np.sort(palette_of(frame), axis=0) == pytest.approx(np.sort(to_lab(frame[0, :2]), axis=0), abs=1e-9)


def test_distance_to_palette_by_hand() -> None:
    # Levels with the two lowest bits at 2 are kept as they are: greys at L* = a and b, the palette at a and white.
    frame = np.array([[[50] * 3, [50] * 3, [50] * 3, [202] * 3]], np.uint8)
    palette = to_lab(np.array([[50] * 3, [255] * 3], np.uint8))
    expected = (100 - to_lab(np.full(3, 202, np.uint8))[0]) / 4
    assert distance_to_palette(frame, palette) == pytest.approx(expected, abs=1e-6)


def test_distance_takes_many_colors() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    palette = to_lab(np.array([[10, 20, 30], [200, 100, 90]], np.uint8))
    exact = np.linalg.norm(to_lab(frame)[:, :, None] - palette, axis=-1).min(-1).mean()
    assert distance_to_palette(frame, palette) == pytest.approx(exact, rel=0.01)
