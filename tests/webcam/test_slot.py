"""The buffer of one: the newest item wins, and an end or an error is never missed."""

import threading
import time

import pytest

from fastnst.webcam.slot import Newest


def test_the_newest_item_wins() -> None:
    slot: Newest[int] = Newest()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0) == 3
    assert slot.take(0) is None


def test_a_taker_waits_for_an_item() -> None:
    slot: Newest[str] = Newest()
    threading.Timer(0.05, slot.put, ["late"]).start()
    assert slot.take(10) == "late"


def test_the_last_item_comes_before_the_end() -> None:
    slot: Newest[int] = Newest()
    slot.put(7)
    slot.close()
    assert not slot.ended
    assert slot.take(0) == 7
    assert slot.ended
    assert slot.take(0) is None


def test_an_error_comes_after_the_last_item() -> None:
    slot: Newest[int] = Newest()
    slot.put(7)
    slot.close(ValueError("broken"))
    assert slot.take(0) == 7
    # A taker that looks for the end first would miss the error.
    assert not slot.ended
    with pytest.raises(ValueError, match="broken"):
        slot.take(0)


def test_an_end_wakes_a_waiting_taker() -> None:
    slot: Newest[int] = Newest()
    threading.Timer(0.05, slot.close).start()
    started = time.monotonic()
    assert slot.take(60) is None
    assert time.monotonic() - started < 50
