"""Which style and strength each picture is painted with, and the penalty on flicker: motions that are known exactly."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.metrics.scenes import Motion
from fastnst.models.network import PLAIN, Conditions
from fastnst.training.objective import (
    FULL_SHARE,
    NOISE_LEVELS,
    SHIFT,
    Change,
    Moved,
    changed,
    draw_change,
    draw_conditions,
    draw_step_conditions,
    draw_strength,
    same_conditions,
    temporal_loss,
)

CPU = torch.device("cpu")


def test_what_networks_are_told_by_hand() -> None:
    told = draw_conditions(Conditions(3), 0, range(4, 9), CPU)
    assert told.styles.tolist() == [1, 2, 0, 1, 2]
    (weights,) = told.inputs
    assert_close(weights, torch.eye(3)[[1, 2, 0, 1, 2]])
    assert told.style_factors is None
    told = draw_conditions(PLAIN, 0, range(5), CPU)
    assert told.inputs == ()
    assert told.style_factors is None
    told = same_conditions(Conditions(2, strength=True), 1, 1.5, 3, CPU)
    weights, strength = told.inputs
    assert_close(weights, torch.tensor([[0.0, 1.0]] * 3))
    assert_close(strength, torch.full((3, 1), 1.5))
    assert_close(told.style_factors, torch.full((3,), 2.25))
    for step in range(6):
        told = draw_step_conditions(Conditions(2, strength=True), 7, step, 3, CPU)
        assert told.styles.tolist() == [step % 2] * 3
        assert_close(told.strength, torch.full((3,), draw_strength(7, step)))


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


STILL = Motion("still")


def moved(*motions: Motion, size: tuple[int, int] = (20, 24)) -> Moved:
    return Moved(list(motions), size, CPU)


@pytest.fixture
def images() -> Tensor:
    """Waves: two pictures of 20 x 24."""
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    waves = [torch.sin(columns / 3 + place) * torch.cos(rows / 4 - place) for place in range(6)]
    return 0.5 + 0.4 * torch.stack(waves).reshape(2, 3, 20, 24)


def test_motions_by_hand(images: Tensor) -> None:
    shift = moved(Motion("a", shift=(3, 1)), Motion("b", shift=(-2, 0)))
    after = shift(images)
    assert_close(after[0, :, 1:, 3:], images[0, :, :-1, :-3], atol=1e-5, rtol=0)
    assert_close(after[1, :, :, :-2], images[1, :, :, 2:], atol=1e-5, rtol=0)
    # What was outside: three columns and one row of the first, two columns of the second.
    seen = shift.seen_before()
    assert seen.shape == (2, 1, 20, 24)
    assert seen.flatten(1).sum(1).tolist() == [19 * 21, 20 * 22]
    assert seen[0, 0, 1:, 3:].all()
    image = torch.zeros(1, 3, 21, 21)
    image[:, :, 10, 14] = 1  # four to the right of the middle
    turned = moved(Motion("turn", degrees=90), size=(21, 21))(image)
    assert turned[0, 0].argmax().item() == 14 * 21 + 10  # four below it
    grown = moved(Motion("grow", zoom=2), size=(21, 21))(image)
    assert grown[0, 0].argmax().item() == 10 * 21 + 18


def test_temporal_loss_by_hand() -> None:
    # One row of four pixels, the same in all channels: 0, 0, 1, 1 has variance 1/4. It moves by one pixel.
    before = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 1, 4).repeat(1, 1, 2, 1)
    shift = Moved([Motion("a", shift=(1, 0))], (2, 4), CPU)
    after = torch.tensor([9.0, 0.0, 0.0, 1.0]).expand(1, 3, 1, 4).repeat(1, 1, 2, 1)
    assert_close(temporal_loss(before, after, shift), torch.zeros(1), atol=1e-6, rtol=0)
    # Wrong by 0.5 in one of the three pixels that were seen: (1/4 / 3) over (1/4 + 1e-4).
    after[..., 2] = 0.5
    assert_close(temporal_loss(before, after, shift), torch.tensor([0.25 / 3 / 0.2501]), atol=1e-5, rtol=1e-4)


def test_less_contrast_is_no_steadiness(images: Tensor) -> None:
    shift = moved(Motion("a", shift=(2, 1)), STILL)
    flicker = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    strong = temporal_loss(images, shift(images) + flicker, shift)
    weak = temporal_loss(0.3 * images, 0.3 * (shift(images) + flicker), shift)
    assert_close(strong, weak, rtol=0.05, atol=0)
    assert (strong > 0.01).all()


@pytest.mark.parametrize("motion", [Motion("whole", shift=(5, -3)), Motion("any", (1.3, -0.7), 1.02, 1.5)])
def test_what_paints_each_pixel_for_itself_is_steady(images: Tensor, motion: Motion) -> None:
    movement = moved(motion, motion)

    def paint(image: Tensor) -> Tensor:
        return 1 - 0.5 * image

    steady = temporal_loss(paint(images), paint(movement(images)), movement)
    assert steady.max() < 1e-4
    grid = torch.zeros(images.shape)
    grid[..., ::4] = 0.3  # a pattern that stays where it is
    assert temporal_loss(paint(images) + grid, paint(movement(images)) + grid, movement).min() > 0.01


def test_the_penalty_pulls_on_both_paintings(images: Tensor) -> None:
    movement = moved(STILL, STILL)
    before, after = images.clone().requires_grad_(), (images + 0.1).requires_grad_()
    temporal_loss(before, after, movement).sum().backward()
    assert before.grad is not None
    assert after.grad is not None
    assert (after.grad > 0).all()
    assert before.grad.abs().sum() > 0


def test_noise_of_a_change(images: Tensor) -> None:
    still = moved(STILL, STILL, size=(20, 24))
    changes = [Change(STILL, 4.0, 1), Change(STILL, 0.0, 2)]
    after = changed(images, still, changes)
    assert_close(after[1], images[1], atol=1e-5, rtol=0)
    assert float((after[0] - images[0]).std()) == pytest.approx(4 / 255, rel=0.1)
    assert_close(changed(images, still, changes), after, rtol=0, atol=0)


def test_changes_follow_from_the_seed_and_the_sample() -> None:
    changes = [draw_change(3, n) for n in range(400)]
    assert changes[7] == draw_change(3, 7)
    assert changes[7] != draw_change(4, 7)
    whole = [change for change in changes if change.motion.name == "whole"]
    assert 150 < len(whole) < 250
    assert all(change.motion.degrees == 0 and change.motion.zoom == 1 for change in whole)
    assert all(float(shift).is_integer() for change in whole for shift in change.motion.shift)
    assert all(abs(shift) <= SHIFT for change in changes for shift in change.motion.shift)
    assert max(change.noise for change in changes) <= NOISE_LEVELS
    assert len({change.noise_seed for change in changes}) == 400
