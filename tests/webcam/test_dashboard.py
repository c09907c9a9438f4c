"""The words over the picture."""

from dataclasses import replace

import numpy as np
import pytest

from fastnst.webcam import dashboard as dashboard_module
from fastnst.webcam.capture import Shot
from fastnst.webcam.controls import Controls
from fastnst.webcam.dashboard import Dashboard
from fastnst.webcam.inference_thread import StylizedShot
from fastnst.webcam.meter import Meter
from fastnst.webcam.overlay import Panel

PICTURE = np.zeros((48, 64, 3), np.uint8)
PAINTED = StylizedShot(Shot(PICTURE, 0.0, 0), PICTURE, (24, 32), Controls(), "trio", most=1.5)


def status(painted: StylizedShot, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[Panel] = []
    monkeypatch.setattr(dashboard_module, "write_on", lambda picture, panels: shown.extend(panels) or picture)
    Dashboard(["trio"], Meter()).compose(painted, 1.0, trouble="", note="", recorded_s=None)
    return shown[0].lines[0].split("   ")


def test_a_plain_style(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(PAINTED, monkeypatch) == ["trio", "0 fps", "0 ms", "32 x 24"]


def test_shares_of_styles_and_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = replace(PAINTED, mixed=(("munch", 0.75), ("monet", 0.0), ("klee", 0.25)), controls=Controls(strength=1.3))
    assert status(mixed, monkeypatch)[4:] == ["munch 75%", "klee 25%", "strength 1.3"]
