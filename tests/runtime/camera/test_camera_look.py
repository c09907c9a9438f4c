"""Blending, keeping colours, splitting and mixing: values by hand."""

import numpy as np
import pytest

from fastnst.runtime.camera.look import blend, keep_colors, mix_weights, resize, split_view


def flat(*colour: int) -> np.ndarray:
    return np.full((4, 6, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("mix", "weights"),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        (0.0, (1, 0, 0)),
        (0.25, (0.75, 0.25, 0)),
        (1.5, (0, 0.5, 0.5)),
        (2.5, (0.5, 0, 0.5)),
        (2.75, (0.75, 0, 0.25)),
    ],
)
def test_mix_weights_by_hand(mix: float | None, weights: tuple[float, ...]) -> None:
    assert mix_weights(mix, 3) == pytest.approx(weights)


def test_keep_colors_by_hand() -> None:
    # Grey 150 painted over (100, 120, 140), whose Y is 0.299 * 100 + 0.587 * 120 + 0.114 * 140 = 116.3: every channel
    # goes up by 33.7, for Y is added to each and Cb and Cr stay.
    kept = keep_colors(flat(150, 150, 150), flat(100, 120, 140)).astype(int)
    np.testing.assert_allclose(kept[2, 3], [133.7, 153.7, 173.7], atol=1.5)


def test_keep_colors_takes_brightness_from_the_painting_by_bt601() -> None:
    # Pure green has Y = 0.587 * 255 = 149.7.
    kept = keep_colors(flat(0, 255, 0), flat(128, 128, 128))
    np.testing.assert_allclose(kept[0, 0].astype(int), [149.7] * 3, atol=1)


def test_keep_colors_of_the_photo_itself_is_the_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_allclose(keep_colors(photo, photo).astype(int), photo, atol=2)


def test_blend_by_hand() -> None:
    np.testing.assert_array_equal(blend(flat(200, 100, 0), flat(100, 100, 100), 0.25)[0, 0], [125, 100, 75])
    np.testing.assert_array_equal(blend(flat(9, 9, 9), flat(1, 2, 3), 0)[0, 0], [1, 2, 3])


def test_split_view_shows_the_photo_on_the_left() -> None:
    painted, photo = flat(200, 0, 0), flat(0, 0, 200)
    row = split_view(painted, photo)[1]
    np.testing.assert_array_equal(row[:, 0], [0, 0, 255, 255, 200, 200])
    np.testing.assert_array_equal(row[:, 2], [200, 200, 255, 255, 0, 0])
    assert painted.max() == 200  # not changed


def test_resize_averages_when_it_shrinks() -> None:
    stripes = np.zeros((4, 8, 3), np.uint8)
    stripes[:, ::4] = 200
    assert resize(stripes, (2, 2)).tolist() == [[[50] * 3] * 2] * 2
    assert resize(stripes, (8, 16)).shape == (8, 16, 3)
    assert resize(stripes, (4, 8)) is stripes
