"""Arithmetic between photo and painting, worked by hand."""

import numpy as np
import pytest
from PIL import Image

from fastnst.io.blending import blend, combine, keep_colors
from fastnst.io.images import Frame

# More rows than one band has, so that seams between bands would show.
TALL = (600, 5)


def noise(seed: int, size: tuple[int, ...] = (*TALL, 3)) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def flat(*rgb: int) -> Frame:
    return np.full((2, 3, 3), rgb, np.uint8)


def test_blend_by_hand() -> None:
    # A quarter of the way from 100 to 200, from 50 to 10, from 0 to 255.
    np.testing.assert_array_equal(blend(flat(200, 10, 255), flat(100, 50, 0), 0.25), flat(125, 40, 64))


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 1), (1.0, 0)])
def test_the_ends_of_blending_are_exact(strength: float, expected: int) -> None:
    pictures = noise(0), noise(1)
    np.testing.assert_array_equal(blend(*pictures, strength), pictures[expected])


def test_blend_is_a_straight_line() -> None:
    painted, photo = noise(0), noise(1)
    exact = photo + 0.6 * (painted.astype(float) - photo)
    assert np.abs(blend(painted, photo, 0.6) - exact).max() <= 1


def test_blend_of_a_batch_and_of_mirrored_pictures() -> None:
    painted, photo = noise(0, (2, 3, 4, 3)), noise(1, (2, 3, 4, 3))
    np.testing.assert_array_equal(blend(painted, photo, 0.5)[1], blend(painted[1], photo[1], 0.5))
    mirrored = blend(painted[:, :, ::-1], photo[:, :, ::-1], 0.5)
    np.testing.assert_array_equal(mirrored, blend(painted, photo, 0.5)[:, :, ::-1])


def test_keep_colors_by_hand() -> None:
    # Y of the photo: 0.299 * 100 + 0.587 * 150 + 0.114 * 200 = 140.75, so 141; of the painting 50: all fall by 91.
    np.testing.assert_array_equal(keep_colors(flat(50, 50, 50), flat(100, 150, 200)), flat(9, 59, 109))
    # Up by 200 - 141 = 59; blue ends at 255.
    np.testing.assert_array_equal(keep_colors(flat(200, 200, 200), flat(100, 150, 200)), flat(159, 209, 255))


def test_keep_colors_exchanges_y_and_leaves_cb_and_cr() -> None:
    # Dull colours, so that nothing leaves 0..255.
    painted, photo = noise(0) // 4 + 96, noise(1) // 4 + 96
    y, cb, cr = np.moveaxis(np.array(Image.fromarray(keep_colors(painted, photo)).convert("YCbCr"), int), -1, 0)
    wanted_y = np.array(Image.fromarray(painted).convert("L"), int)
    _, wanted_cb, wanted_cr = np.moveaxis(np.array(Image.fromarray(photo).convert("YCbCr"), int), -1, 0)
    assert max(np.abs(y - wanted_y).max(), np.abs(cb - wanted_cb).max(), np.abs(cr - wanted_cr).max()) <= 1


def test_a_grey_painting_of_the_same_brightness_changes_nothing() -> None:
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


def test_combine_rounds_to_the_nearest_level() -> None:
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
