"""Splitting and mixing: values by hand."""

import numpy as np
import pytest

from fastnst.webcam.settings import mix_weights, split_view


def flat(*colour: int) -> np.ndarray:
    return np.full((4, 6, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("mix", "weights"),
    [
        (0.0, (1, 0, 0)),
        (0.25, (0.75, 0.25, 0)),
        (1.5, (0, 0.5, 0.5)),
        (2.5, (0.5, 0, 0.5)),
        (2.75, (0.75, 0, 0.25)),
    ],
)
def test_mix_weights_by_hand(mix: float, weights: tuple[float, ...]) -> None:
    assert mix_weights(mix, 3) == pytest.approx(weights)


def test_split_view_shows_the_photo_on_the_left() -> None:
    painted, photo = flat(200, 0, 0), flat(0, 0, 200)
    row = split_view(painted, photo)[1]
    np.testing.assert_array_equal(row[:, 0], [0, 0, 255, 255, 200, 200])
    np.testing.assert_array_equal(row[:, 2], [200, 200, 255, 255, 0, 0])
    assert painted.max() == 200  # not changed
