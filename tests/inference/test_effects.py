"""What can be asked for."""

from pathlib import Path
from typing import Any

import pytest

from fastnst.errors import SettingError
from fastnst.inference.effects import Effects


def test_regions_in_the_order_given() -> None:
    effects = Effects(mask=Path("m.png"), region=("#00ff00=a.onnx", " red = starry", "rgb(0,0,255)=photo"))
    assert list(effects.regions().items()) == [("#00ff00", "a.onnx"), ("red", "starry"), ("rgb(0,0,255)", "photo")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strength": -0.1}, "--strength is -0.1"),
        ({"strength": 1.6}, "expected 0 to 1, or to 1.5"),
        ({"strength": float("nan")}, "--strength is nan"),
        ({"mask": Path("m"), "feather": -1}, "--feather is -1"),
        ({"feather": 3}, "--feather is given without --mask"),
        ({"region": ("red=a",)}, "--region is given without --mask"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Effects(**settings)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (("red",), "--region red: expected COLOUR=STYLE"),
        (("=a",), "expected COLOUR=STYLE"),
        (("red=",), "expected COLOUR=STYLE"),
        (("red=a", "red=b"), "red is given twice"),
    ],
)
def test_regions_that_are_none(region: tuple[str, ...], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Effects(mask=Path("m"), region=region).regions()
