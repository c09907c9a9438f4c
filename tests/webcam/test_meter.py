"""Frame rate and latency from made-up times."""

import pytest

from fastnst.webcam.meter import Meter


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


def test_the_frame_rate_falls_when_nothing_comes() -> None:
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


def test_before_the_first_picture() -> None:
    meter = Meter()
    assert (meter.fps(1), meter.latency_ms(), meter.latency_share_ms(0.5), meter.shown) == (0, 0, 0, 0)
