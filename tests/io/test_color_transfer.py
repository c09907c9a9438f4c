"""A picture in another picture's colors."""

import numpy as np
import pytest

from fastnst.io.color_transfer import match_colors


def picture(seed: int, low: int, high: int) -> np.ndarray:
    """Correlated colors between two levels."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(40, 30, 3)) @ rng.normal(size=(3, 3))
    scaled = (mixed - mixed.min()) / (mixed.max() - mixed.min())
    return (low + (high - low) * scaled).astype(np.uint8)


def test_matched_colors_have_mean_and_covariance_of_the_painting() -> None:
    photo, painting = picture(1, 0, 255), picture(2, 90, 160)
    matched = match_colors(photo, painting).reshape(-1, 3).astype(float)
    wanted = painting.reshape(-1, 3).astype(float)
    assert matched.mean(0) == pytest.approx(wanted.mean(0), abs=0.2)
    assert np.cov(matched.T) == pytest.approx(np.cov(wanted.T), abs=2)


def test_matching_a_picture_with_itself_changes_nothing() -> None:
    photo = picture(1, 20, 230)
    np.testing.assert_array_equal(match_colors(photo, photo), photo)


def test_matching_does_not_swap_colors_that_fit() -> None:
    # Spread along red only and along red only: red must stay red.
    ramp = np.zeros((1, 101, 3), np.uint8)
    ramp[..., 0] = np.arange(101)
    matched = match_colors(ramp, ramp * np.uint8(2))
    np.testing.assert_array_equal(matched[..., 0], ramp[..., 0] * 2)


def test_a_grey_photo_takes_the_mean_and_one_direction() -> None:
    grey = np.repeat(picture(1, 0, 255)[..., :1], 3, axis=2)
    painting = picture(2, 90, 160)
    matched = match_colors(grey, painting)
    assert matched.reshape(-1, 3).mean(0) == pytest.approx(painting.reshape(-1, 3).mean(0), abs=0.5)
    assert matched.std() > 0


def test_flat_pictures_on_either_side() -> None:
    flat, photo = np.full((5, 4, 3), (10, 200, 90), np.uint8), picture(1, 0, 255)
    np.testing.assert_array_equal(match_colors(photo, flat), np.broadcast_to(flat[0, 0], photo.shape))
    assert match_colors(flat, photo).std(axis=(0, 1)) == pytest.approx(0)
