"""Colours: matching, CIELAB, palettes."""

import numpy as np
import pytest

from fastnst.evaluation.palette import distance_to_palette, match_colours, palette_of, to_lab


def picture(seed: int, low: int, high: int) -> np.ndarray:
    """Correlated colours between two levels."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(40, 30, 3)) @ rng.normal(size=(3, 3))
    scaled = (mixed - mixed.min()) / (mixed.max() - mixed.min())
    return (low + (high - low) * scaled).astype(np.uint8)


def test_matched_colours_have_mean_and_covariance_of_the_painting() -> None:
    photo, painting = picture(1, 0, 255), picture(2, 90, 160)
    matched = match_colours(photo, painting).reshape(-1, 3).astype(float)
    wanted = painting.reshape(-1, 3).astype(float)
    assert matched.mean(0) == pytest.approx(wanted.mean(0), abs=0.2)
    assert np.cov(matched.T) == pytest.approx(np.cov(wanted.T), abs=2)


def test_matching_a_picture_with_itself_changes_nothing() -> None:
    photo = picture(1, 20, 230)
    np.testing.assert_array_equal(match_colours(photo, photo), photo)


def test_matching_does_not_swap_colours_that_fit() -> None:
    # Spread along red only and along red only: red must stay red.
    ramp = np.zeros((1, 101, 3), np.uint8)
    ramp[..., 0] = np.arange(101)
    matched = match_colours(ramp, ramp * np.uint8(2))
    np.testing.assert_array_equal(matched[..., 0], ramp[..., 0] * 2)


def test_a_grey_photo_takes_the_mean_and_one_direction() -> None:
    grey = np.repeat(picture(1, 0, 255)[..., :1], 3, axis=2)
    painting = picture(2, 90, 160)
    matched = match_colours(grey, painting)
    assert matched.reshape(-1, 3).mean(0) == pytest.approx(painting.reshape(-1, 3).mean(0), abs=0.5)
    assert matched.std() > 0


def test_flat_pictures_on_either_side() -> None:
    flat, photo = np.full((5, 4, 3), (10, 200, 90), np.uint8), picture(1, 0, 255)
    np.testing.assert_array_equal(match_colours(photo, flat), np.broadcast_to(flat[0, 0], photo.shape))
    assert match_colours(flat, photo).std(axis=(0, 1)) == pytest.approx(0)


def test_lab_by_hand() -> None:
    lab = to_lab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8))
    assert lab == pytest.approx(np.array([[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20]]), abs=0.03)


def test_lab_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    colours = np.random.default_rng(0).integers(0, 256, (50, 3), np.uint8)
    assert to_lab(colours) == pytest.approx(color.rgb2lab(colours[None])[0], abs=0.05)


def test_palette_of_few_colours_is_these_colours() -> None:
    frame = np.array([[[200, 0, 0], [0, 0, 200], [200, 0, 0]]], np.uint8).repeat(4, axis=0)
    assert np.sort(palette_of(frame), axis=0) == pytest.approx(np.sort(to_lab(frame[0, :2]), axis=0), abs=1e-9)


def test_distance_to_palette_by_hand() -> None:
    # Levels with the two lowest bits at 2 are kept as they are: greys at L* = a and b, the palette at a and white.
    frame = np.array([[[50] * 3, [50] * 3, [50] * 3, [202] * 3]], np.uint8)
    palette = to_lab(np.array([[50] * 3, [255] * 3], np.uint8))
    expected = (100 - to_lab(np.full(3, 202, np.uint8))[0]) / 4
    assert distance_to_palette(frame, palette) == pytest.approx(expected, abs=1e-6)


def test_distance_takes_many_colours() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    palette = to_lab(np.array([[10, 20, 30], [200, 100, 90]], np.uint8))
    exact = np.linalg.norm(to_lab(frame)[:, :, None] - palette, axis=-1).min(-1).mean()
    assert distance_to_palette(frame, palette) == pytest.approx(exact, rel=0.01)
