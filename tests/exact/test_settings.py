import math
from pathlib import Path

import pytest

from fastnst.errors import SettingError
from fastnst.exact.settings import OptimizeSettings


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
        ({"scales": 0}, "--scales is 0; expected at least 1"),
        ({"scale_factor": 1.0}, "--scale-factor is 1.0; expected a number above 1"),
        ({"history": 0}, "--history is 0; expected at least 1"),
        ({"save_every": -1}, "--save-every is -1; expected at least 0"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected a number above 0"),
        ({"learning_rate": math.nan}, "--learning-rate is nan; expected a number above 0"),
        ({"learning_rate_end": 0.0}, "--learning-rate-end is 0.0; expected a number above 0"),
        ({"learning_rate_steps": 0}, "--learning-rate-steps is 0; expected at least 1"),
        ({"style_scale": 0.0}, "--style-scale is 0.0; expected a number above 0"),
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
