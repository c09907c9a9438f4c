"""Splitting and mixing: values by hand."""

import numpy as np
import pytest

from fastnst.webcam.settings import (
    BINDINGS,
    Action,
    Controls,
    action_of,
    change_controls,
    help_lines,
    mix_weights,
    split_view,
)


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


# What each key does to the controls.


@pytest.mark.parametrize(
    ("keys", "style"),
    [("n", 1), ("nn", 2), ("nnn", 0), ("p", 2), ("3", 2), ("4", 0), ("0", 0), ("3p", 1), ("N", 1), ("²", 0)],
)
def test_styles(keys: str, style: int) -> None:
    controls = Controls()
    for key in keys:
        controls = change_controls(controls, key, styles=3, mixes=1)
    assert controls.style == style


def test_arrows_and_switches() -> None:
    assert change_controls(Controls(), "right", 3, 1).style == 1
    assert change_controls(Controls(), "left", 3, 1).style == 2
    assert change_controls(Controls(), "c", 1, 1).preserve_color
    assert not change_controls(Controls(preserve_color=True), "C", 1, 1).preserve_color
    assert change_controls(Controls(), "o", 1, 1).split
    for key in ("x", "q", "escape", "s", "r", "f", "h", "?", "i", ""):
        assert change_controls(Controls(), key, 3, 3) == Controls()
    assert change_controls(Controls(mix=1.5), "n", 2, 3).mix is None
    assert change_controls(Controls(mix=1.5), "1", 2, 3).mix == 1.5


def test_strength_stays_between_nothing_and_full() -> None:
    controls = Controls()
    assert change_controls(controls, "+", 1, 1).strength == 1
    for _ in range(3):
        controls = change_controls(controls, "-", 1, 1)
    assert controls.strength == 0.7
    for _ in range(20):
        controls = change_controls(controls, "-", 1, 1)
    assert controls.strength == 0
    assert change_controls(controls, "=", 1, 1).strength == 0.1


def test_networks_that_take_more_than_the_full_strength() -> None:
    controls = Controls()
    for _ in range(7):
        controls = change_controls(controls, "+", 1, 1, most=1.5)
    assert controls.strength == 1.5
    # Another network, which ends at 1, is chosen.
    assert change_controls(controls, "-", 1, 1).strength == 0.9
    assert change_controls(controls, "+", 1, 1).strength == 1


def test_mixing() -> None:
    controls = change_controls(Controls(), ".", 1, mixes=3)
    assert controls.mix == 0
    controls = change_controls(controls, ".", 1, mixes=3)
    assert controls.mix == 0.25
    controls = change_controls(change_controls(controls, ",", 1, mixes=3), ",", 1, mixes=3)
    assert controls.mix == 2.75
    assert change_controls(controls, "m", 1, mixes=3).mix is None
    assert change_controls(Controls(), ".", 1, mixes=1).mix is None
    # What was asked for at the start ends with the first such key, and with another style.
    names, own = ("monet", "munch", "udnie"), {"munch": 1.0}
    assert Controls().shares(names, own) == (0, 1, 0)
    even = change_controls(Controls(), "m", 1, mixes=3)
    assert even.shares(names, own) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert change_controls(even, ".", 1, mixes=3).shares(names, own) == (1, 0, 0)
    assert change_controls(even, "n", 2, mixes=3).shares(names, own) == (0, 1, 0)


def test_help_names_keys_that_have_one_meaning_and_styles() -> None:
    keys = [key for binding in BINDINGS for key in binding.keys]
    assert len(keys) == len(set(keys))
    assert {binding.action for binding in BINDINGS} == set(Action)
    assert action_of("escape") is Action.QUIT
    assert action_of("x") is None
    lines = help_lines(["starry", "wave"])
    assert "s:  snapshot" in lines
    assert "q  Esc:  quit" in lines
    assert lines[-2:] == ("1:  starry", "2:  wave")
    assert len(help_lines([str(number) for number in range(20)])) == len(BINDINGS) + 9
