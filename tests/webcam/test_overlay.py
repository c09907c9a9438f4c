"""Words on the picture: there, legible, and never a changed argument."""

import numpy as np
import pytest

from fastnst.webcam.overlay import Panel, dim, write_on

GREY = np.full((240, 320, 3), 100, np.uint8)


def test_words_are_white_on_a_dark_ground_in_their_corner() -> None:
    written = write_on(GREY, [Panel(("30 fps",), "top")])
    changed = np.argwhere((written != GREY).any(axis=2))
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    assert top < 10
    assert left < 10
    assert bottom < 40
    assert right < 120
    assert written.max() > 240  # letters
    assert written.min() == 33  # a third of 100
    assert (GREY == 100).all()


@pytest.mark.parametrize(("place", "rows"), [("top", (0, 40)), ("middle", (100, 140)), ("bottom", (200, 240))])
def test_places(place: str, rows: tuple[int, int]) -> None:
    changed = np.argwhere((write_on(GREY, [Panel(("word",), place)]) != GREY).any(axis=2))[:, 0]  # type: ignore[arg-type]
    assert rows[0] <= changed.min()
    assert changed.max() < rows[1]


def test_nothing_to_say_changes_nothing() -> None:
    np.testing.assert_array_equal(write_on(GREY, [Panel((), "top"), Panel(("",), "bottom")]), GREY)


@pytest.mark.parametrize("size", [(96, 160), (16, 16), (9, 300), (300, 9), (1, 1)])
def test_small_pictures_hold_what_they_can(size: tuple[int, int]) -> None:
    small = np.full((*size, 3), 50, np.uint8)
    long = Panel(tuple(f"a line of words, number {number}" for number in range(25)), "middle")
    assert write_on(small, [long, Panel(("status " * 20,), "top"), Panel(("notice " * 20,), "bottom")]).shape == (
        *size,
        3,
    )


def test_other_words_look_different() -> None:
    assert (write_on(GREY, [Panel(("12 ms",), "top")]) != write_on(GREY, [Panel(("88 ms",), "top")])).any()


def test_dim() -> None:
    assert (dim(GREY) == 33).all()
