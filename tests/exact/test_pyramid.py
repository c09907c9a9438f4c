"""The settings of the exact method, and the sizes that follow from them."""

import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.exact.pyramid import Level, enlarge, plan_levels, repaint
from fastnst.exact.settings import OptimizeSettings


def plan(**changes: object) -> list[tuple[int, int]]:
    return [(level.long_side, level.steps) for level in plan_levels(OptimizeSettings(**changes))]


def test_levels_by_hand() -> None:
    # Each level is twice as large and gets half the steps.
    assert plan(size=800, pyramid_levels=3, steps=100) == [(200, 100), (400, 50), (800, 25)]
    assert plan(size=512, pyramid_levels=3, pyramid_factor=2**0.5, steps=100) == [(256, 100), (362, 71), (512, 50)]


def test_scales_follow_from_the_size() -> None:
    assert plan(size=512) == [(512, 300)]
    assert plan(size=64) == [(64, 300)]
    assert plan(size=1022) == [(1022, 300)]
    assert plan(size=1024) == [(512, 300), (1024, 150)]
    assert plan(size=4096) == [(512, 300), (1024, 150), (2048, 75), (4096, 38)]


def test_every_level_has_a_step() -> None:
    assert plan(size=2048, steps=1) == [(512, 1), (1024, 1), (2048, 1)]


@pytest.mark.parametrize(
    "changes", [{"size": 64, "pyramid_levels": 8}, {"size": 64, "pyramid_levels": 4, "pyramid_factor": 1.001}]
)
def test_more_scales_than_pixels(changes: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"--pyramid-levels \d by a factor of .* pixels at the smallest; give fewer"):
        plan_levels(OptimizeSettings(**changes))


def test_levels_are_values() -> None:
    assert Level(8, 2) == Level(long_side=8, steps=2)


def test_enlarging_keeps_a_slope() -> None:
    # Pixels of width 1 and 1/2 over the same ground: away from the edges the slope halves.
    ramp = torch.arange(8.0).expand(1, 2, 6, 8)
    enlarged = enlarge(ramp, (12, 16))
    assert enlarged.shape == (1, 2, 12, 16)
    assert_close(enlarged[0, 0, 3, 4:12], torch.arange(1.75, 5.5, 0.5))


def test_repainting_lays_the_change_over_the_larger_photo() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 8, 12, generator=generator) / 2
    small = enlarge(photo, (4, 6)).clamp(0, 1)
    # Nothing changed: the photo itself, with all its detail. Brighter by 1/4 everywhere: the photo, brighter by 1/4.
    assert_close(repaint(small, small, photo), photo)
    assert_close(repaint(small + 0.25, small, photo), photo + 0.25)
    assert repaint(small + 9, small, photo).max() == 1


def test_defaults_are_valid_and_frozen() -> None:
    settings = OptimizeSettings()
    assert settings.optimizer == "lbfgs"
    assert settings.normalization == "balanced"
    with pytest.raises(AttributeError):
        settings.steps = 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps is 0; expected at least 1"),
        ({"size": -1}, "--size is -1; expected at least 1"),
        ({"style_size": 0}, "--style-size is 0; expected at least 1"),
        ({"pyramid_levels": 0}, "--pyramid-levels is 0; expected at least 1"),
        ({"pyramid_factor": 1.0}, "--pyramid-factor is 1.0; expected a number above 1"),
        ({"history": 0}, "--history is 0; expected at least 1"),
        ({"save_every": -1}, "--save-every is -1; expected at least 0"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected a number above 0"),
        ({"learning_rate": math.nan}, "--learning-rate is nan; expected a number above 0"),
        ({"learning_rate_end": 0.0}, "--learning-rate-end is 0.0; expected a number above 0"),
        ({"learning_rate_steps": 0}, "--learning-rate-steps is 0; expected at least 1"),
        ({"stroke": 0.0}, "--stroke is 0.0; expected a number above 0"),
        ({"adam_beta1": 1.0}, "--adam-beta1 is 1.0; expected a number from 0 to below 1"),
        ({"adam_epsilon": math.inf}, "--adam-epsilon is inf; expected a number above 0"),
        ({"style_weight": -1.0}, "--style-weight is -1.0; expected 0 or more"),
        ({"content_weight": math.inf}, "--content-weight is inf; expected 0 or more"),
        ({"tv_weight": math.nan}, "--tv-weight is nan; expected 0 or more"),
        ({"content_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.0}, "all weights are 0"),
    ],
)
def test_impossible_settings(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        OptimizeSettings(**changes)


def test_one_weight_is_enough() -> None:
    OptimizeSettings(content_weight=0.0)
    OptimizeSettings(style_weight=0.0, init=Path("start.png"), style_size=None)
