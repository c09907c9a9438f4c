"""Arithmetic between photo and painting, worked by hand; colours of one picture for another."""

import numpy as np
import pytest
from PIL import Image

from fastnst.io.blending import add_change, blend, combine, keep_brightness, keep_colors, match_colors, resample
from fastnst.io.images import Frame

# More rows than one band has, so that seams between bands would show.
TALL = (600, 5)


def noise(seed: int, size: tuple[int, ...] = (*TALL, 3)) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def flat(*rgb: int) -> Frame:
    return np.full((2, 3, 3), rgb, np.uint8)


def test_blend_is_a_straight_line_also_of_batches_and_mirrored_pictures() -> None:
    # A quarter of the way from 100 to 200, from 50 to 10, from 0 to 255.
    np.testing.assert_array_equal(blend(flat(200, 10, 255), flat(100, 50, 0), 0.25), flat(125, 40, 64))
    painted, photo = noise(0), noise(1)
    exact = photo + 0.6 * (painted.astype(float) - photo)
    assert np.abs(blend(painted, photo, 0.6) - exact).max() <= 1
    painted, photo = noise(0, (2, 3, 4, 3)), noise(1, (2, 3, 4, 3))
    np.testing.assert_array_equal(blend(painted, photo, 0.5)[1], blend(painted[1], photo[1], 0.5))
    mirrored = blend(painted[:, :, ::-1], photo[:, :, ::-1], 0.5)
    np.testing.assert_array_equal(mirrored, blend(painted, photo, 0.5)[:, :, ::-1])


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 1), (1.0, 0)])
def test_the_ends_of_blending_are_exact(strength: float, expected: int) -> None:
    pictures = noise(0), noise(1)
    np.testing.assert_array_equal(blend(*pictures, strength), pictures[expected])


def test_an_enlarged_change_leaves_detail_and_one_of_the_same_size_is_the_painting() -> None:
    photo = noise(0) // 2
    given, painted = np.full((300, 2, 3), 100, np.uint8), np.full((300, 2, 3), (110, 80, 255), np.uint8)
    expected = np.clip(photo.astype(int) + np.array([10, -20, 155]), 0, 255)
    np.testing.assert_array_equal(add_change(photo, given, painted), expected)
    np.testing.assert_array_equal(add_change(noise(0), noise(0), noise(1)), noise(1))


def test_brightness_is_kept_where_it_is() -> None:
    # Y of the painting 50, of the photo 90 over all areas: the strokes, 20 up and down, stand on 90 then.
    strokes = np.full((*TALL, 3), 50, np.uint8)
    strokes[::2], strokes[1::2] = 30, 70
    kept = keep_brightness(strokes, np.full((*TALL, 3), 90, np.uint8))
    assert np.abs(kept[::2].astype(int) - 70).max() <= 1
    assert np.abs(kept[1::2].astype(int) - 110).max() <= 1
    photo = np.zeros((64, 96, 3), np.uint8)
    photo[:, :48] = 200
    kept = keep_brightness(np.full((64, 96, 3), 100, np.uint8), photo)[..., 0].astype(int)
    assert kept[:, :16].min() > 180
    assert kept[:, -16:].max() < 20


def test_keep_colors_exchanges_y_and_leaves_cb_and_cr() -> None:
    # Y of the photo: 0.299 * 100 + 0.587 * 150 + 0.114 * 200 = 140.75, so 141; of the painting 50: all fall by 91.
    np.testing.assert_array_equal(keep_colors(flat(50, 50, 50), flat(100, 150, 200)), flat(9, 59, 109))
    # Up by 200 - 141 = 59; blue ends at 255.
    np.testing.assert_array_equal(keep_colors(flat(200, 200, 200), flat(100, 150, 200)), flat(159, 209, 255))
    # Dull colours, so that nothing leaves 0..255.
    painted, photo = noise(0) // 4 + 96, noise(1) // 4 + 96
    y, cb, cr = np.moveaxis(np.array(Image.fromarray(keep_colors(painted, photo)).convert("YCbCr"), int), -1, 0)
    wanted_y = np.array(Image.fromarray(painted).convert("L"), int)
    _, wanted_cb, wanted_cr = np.moveaxis(np.array(Image.fromarray(photo).convert("YCbCr"), int), -1, 0)
    assert max(np.abs(y - wanted_y).max(), np.abs(cb - wanted_cb).max(), np.abs(cr - wanted_cr).max()) <= 1
    photo = noise(1)
    np.testing.assert_array_equal(keep_colors(photo, photo), photo)


def test_combine_by_hand() -> None:
    photo, first, second = flat(0, 0, 0), flat(255, 100, 10), flat(1, 2, 3)
    own, other = np.array([[255, 0, 51], [0, 0, 0]], np.uint8), np.array([[0, 255, 102], [0, 0, 0]], np.uint8)
    combined = combine(photo, [(first, own), (second, other)])
    np.testing.assert_array_equal(combined[0, :2], [[255, 100, 10], [1, 2, 3]])
    # A fifth of the first, two fifths of the second, the rest black.
    np.testing.assert_array_equal(combined[0, 2], [51, 21, 3])
    np.testing.assert_array_equal(combined[1], photo[1])
    photo, painted, weights = noise(0), noise(1), noise(2, TALL)
    exact = photo + (painted.astype(float) - photo) * (weights[..., None] / 255)
    np.testing.assert_array_equal(combine(photo, [(painted, weights)]), np.rint(exact))


def test_nothing_is_changed() -> None:
    painted, photo, weights = noise(0), noise(1), noise(2, TALL)
    for array in (painted, photo, weights):
        array.setflags(write=False)
    blend(painted, photo, 0.5)
    keep_colors(painted, photo)
    combine(photo, [(painted, weights)])


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
    photo = picture(1, 20, 230)
    np.testing.assert_array_equal(match_colors(photo, photo), photo)
    # Spread along red only and along red only: red must stay red.
    ramp = np.zeros((1, 101, 3), np.uint8)
    ramp[..., 0] = np.arange(101)
    matched = match_colors(ramp, ramp * np.uint8(2))
    np.testing.assert_array_equal(matched[..., 0], ramp[..., 0] * 2)
    grey = np.repeat(picture(1, 0, 255)[..., :1], 3, axis=2)
    painting = picture(2, 90, 160)
    matched = match_colors(grey, painting)
    assert matched.reshape(-1, 3).mean(0) == pytest.approx(painting.reshape(-1, 3).mean(0), abs=0.5)
    assert matched.std() > 0


def test_flat_pictures_on_either_side() -> None:
    flat, photo = np.full((5, 4, 3), (10, 200, 90), np.uint8), picture(1, 0, 255)
    np.testing.assert_array_equal(match_colors(photo, flat), np.broadcast_to(flat[0, 0], photo.shape))
    assert match_colors(flat, photo).std(axis=(0, 1)) == pytest.approx(0)


# OpenCV's quick resizing: values by hand.


def test_resample_averages_when_it_shrinks() -> None:
    stripes = np.zeros((4, 8, 3), np.uint8)
    stripes[:, ::4] = 200
    assert resample(stripes, (2, 2)).tolist() == [[[50] * 3] * 2] * 2
    assert resample(stripes, (8, 16)).shape == (8, 16, 3)
    assert resample(stripes, (4, 8)) is stripes
