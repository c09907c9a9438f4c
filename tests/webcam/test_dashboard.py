"""The words over the picture."""

from dataclasses import replace

import numpy as np
import pytest

from fastnst.webcam import outlets
from fastnst.webcam.capture import Shot
from fastnst.webcam.inference_thread import StylizedShot
from fastnst.webcam.outlets import Dashboard, Meter, Panel, dim, write_on
from fastnst.webcam.settings import Controls

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


def test_words_alone_change_the_picture() -> None:
    np.testing.assert_array_equal(write_on(GREY, [Panel((), "top"), Panel(("",), "bottom")]), GREY)
    assert (write_on(GREY, [Panel(("12 ms",), "top")]) != write_on(GREY, [Panel(("88 ms",), "top")])).any()
    assert (dim(GREY) == 33).all()


@pytest.mark.parametrize("size", [(96, 160), (16, 16), (9, 300), (300, 9), (1, 1)])
def test_small_pictures_hold_what_they_can(size: tuple[int, int]) -> None:
    small = np.full((*size, 3), 50, np.uint8)
    long = Panel(tuple(f"a line of words, number {number}" for number in range(25)), "middle")
    assert write_on(small, [long, Panel(("status " * 20,), "top"), Panel(("notice " * 20,), "bottom")]).shape == (
        *size,
        3,
    )


def test_frame_rate_and_latency_by_hand() -> None:
    meter = Meter()
    for number in range(11):  # eleven pictures 0.1 s apart: ten steps in one second
        meter.note(captured_s=number / 10 - 0.03, shown_s=number / 10)
    assert meter.fps(1.0) == pytest.approx(10)
    assert meter.latency_ms() == pytest.approx(30)
    assert meter.shown == 11


def test_only_the_last_two_seconds_count() -> None:
    meter = Meter()
    for number in range(100):
        meter.note(number / 10 - 0.5, number / 10)
    for number in range(100):
        meter.note(10 + number / 20 - 0.01, 10 + number / 20)
    assert meter.fps(14.95) == pytest.approx(20)
    assert meter.latency_ms() == pytest.approx(10)
    meter = Meter()
    for number in range(11):
        meter.note(number / 10, number / 10)
    assert meter.fps(1.1) == pytest.approx(10)
    assert meter.fps(2.0) == pytest.approx(5)
    assert meter.fps(5.0) == 0


def test_shares_of_all_latencies() -> None:
    meter = Meter()
    for number in range(100):
        meter.note(0, number / 1000)
    assert meter.latency_share_ms(0.5) == pytest.approx(50)
    assert meter.latency_share_ms(0.95) == pytest.approx(95)
    meter = Meter()
    assert (meter.fps(1), meter.latency_ms(), meter.latency_share_ms(0.5), meter.shown) == (0, 0, 0, 0)


PICTURE = np.zeros((48, 64, 3), np.uint8)
PAINTED = StylizedShot(Shot(PICTURE, 0.0, 0), PICTURE, (24, 32), Controls(), "trio", most=1.5)


def status(painted: StylizedShot, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[Panel] = []
    monkeypatch.setattr(outlets, "write_on", lambda picture, panels: shown.extend(panels) or picture)
    Dashboard(["trio"], Meter()).compose(painted, 1.0, trouble="", note="", recorded_s=None)
    return shown[0].lines[0].split("   ")


def test_styles_with_shares_and_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(PAINTED, monkeypatch) == ["trio", "0 fps", "0 ms", "32 x 24"]
    mixed = replace(PAINTED, mixed=(("munch", 0.75), ("monet", 0.0), ("klee", 0.25)), controls=Controls(strength=1.3))
    assert status(mixed, monkeypatch)[4:] == ["munch 75%", "klee 25%", "strength 1.3"]


def test_a_notice_is_shown_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Panel] = []
    monkeypatch.setattr(outlets, "write_on", lambda picture, panels: shown.append(panels[1]) or picture)
    dashboard = Dashboard(["trio"], Meter())
    dashboard.notice("saved", 1.0)
    for now_s in (1.5, 60.0):
        dashboard.compose(PAINTED, now_s, trouble="", note="", recorded_s=None)
    assert [panel.lines for panel in shown] == [("saved",), ("",)]
