"""Which style and which strength each picture of a training is painted with."""

import numpy as np
import torch
from torch.testing import assert_close

from fastnst.models.network import PLAIN, Conditions
from fastnst.training.objective import FULL_SHARE, draw_conditions, draw_strength, same_conditions

CPU = torch.device("cpu")


def test_styles_take_turns() -> None:
    told = draw_conditions(Conditions(3), 0, range(4, 9), CPU)
    assert told.styles.tolist() == [1, 2, 0, 1, 2]
    (weights,) = told.inputs
    assert_close(weights, torch.eye(3)[[1, 2, 0, 1, 2]])
    assert told.style_factors is None


def test_a_plain_network_is_told_nothing() -> None:
    told = draw_conditions(PLAIN, 0, range(5), CPU)
    assert told.inputs == ()
    assert told.style_factors is None


def test_strength_by_hand() -> None:
    told = same_conditions(Conditions(2, strength=True), 1, 1.5, 3, CPU)
    weights, strength = told.inputs
    assert_close(weights, torch.tensor([[0.0, 1.0]] * 3))
    assert_close(strength, torch.full((3, 1), 1.5))
    assert_close(told.style_factors, torch.full((3,), 2.25))


def test_strengths_are_1_often_enough_and_uniform_otherwise() -> None:
    drawn = np.array([draw_strength(7, n) for n in range(4000)])
    assert abs(np.mean(drawn == 1) - FULL_SHARE) < 0.03
    others = drawn[drawn != 1]
    assert 0 < others.min() < 0.01
    assert 1.49 < others.max() <= 1.5
    shares, _ = np.histogram(others, bins=5, range=(0, 1.5))
    assert np.abs(shares / len(others) - 0.2).max() < 0.03


def test_what_a_sample_is_told_depends_on_its_number_alone() -> None:
    conditions = Conditions(2, strength=True)
    whole, part = draw_conditions(conditions, 3, range(10, 20), CPU), draw_conditions(conditions, 3, range(14, 18), CPU)
    assert_close(whole[4:8].strength, part.strength)
    assert_close(whole[4:8].styles, part.styles)
    assert (draw_conditions(conditions, 4, range(10, 20), CPU).strength != whole.strength).any()
    assert [value.shape for value in whole[::2].inputs] == [(5, 2), (5, 1)]
