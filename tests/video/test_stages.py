"""Three stages at once: order is kept, errors reach the caller, nothing hangs, memory is bounded."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from fastnst.video.job import Channel, overlapping

WITHIN_S = 5


class BrokenError(Exception):
    pass


def overlap(source: Iterable[Any], work: Callable[[Any], Any], sink: Callable[[Any], None], depth: int = 4) -> None:
    with overlapping(source, sink, depth=depth) as (read, write):
        for item in read:
            if not write(work(item)):
                break


def run_in_time(action: object) -> BaseException | None:
    """Run something in a thread; fail if it is not back within seconds. Returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WITHIN_S)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in {"reader", "writer"}]


def test_order_is_kept() -> None:
    written: list[int] = []
    overlap(range(50), lambda number: number * 10, written.append, depth=3)
    assert written == [number * 10 for number in range(50)]
    assert workers() == []
    overlap([], lambda item: item, lambda item: None)
    assert workers() == []


@pytest.mark.parametrize("at", [0, 1, 7])
def test_reader_breaks(at: int) -> None:
    written: list[int] = []

    def source() -> Iterator[int]:
        yield from range(at)
        raise BrokenError("reader")

    error = run_in_time(lambda: overlap(source(), lambda number: number, written.append, depth=2))
    assert isinstance(error, BrokenError)
    assert str(error) == "reader"
    assert written == list(range(at))  # what was read before is not lost
    assert workers() == []


@pytest.mark.parametrize("at", [0, 1, 7])
def test_worker_breaks(at: int) -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    def work(number: int) -> int:
        if number == at:
            raise BrokenError("worker")
        return number

    error = run_in_time(lambda: overlap(source(), work, lambda number: None, depth=2))
    assert isinstance(error, BrokenError)
    assert closed.is_set()  # the reader's files are closed
    assert workers() == []


@pytest.mark.parametrize("at", [0, 1, 7])
def test_writer_breaks(at: int) -> None:
    def sink(number: int) -> None:
        if number == at:
            raise BrokenError("writer")

    error = run_in_time(lambda: overlap(iter(range(1_000_000)), lambda number: number, sink, depth=2))
    assert isinstance(error, BrokenError)
    assert workers() == []


def test_writer_breaks_on_the_last_item() -> None:
    def sink(number: int) -> None:
        if number == 4:
            time.sleep(0.05)
            raise BrokenError("writer")

    error = run_in_time(lambda: overlap(range(5), lambda number: number, sink))
    assert isinstance(error, BrokenError)


def test_the_first_to_break_is_heard_when_all_break() -> None:
    def sink(number: int) -> None:
        raise BrokenError("writer")

    def work(number: int) -> int:
        if number == 3:
            raise BrokenError("worker")
        return number

    error = run_in_time(lambda: overlap(range(10), work, sink, depth=1))
    assert isinstance(error, BrokenError)


def test_stages_overlap() -> None:
    # Ten items of three stages of 20 ms each: 600 ms one after another, about 240 ms at once.
    def slow(item: int) -> int:
        time.sleep(0.02)
        return item

    def source() -> Iterator[int]:
        for number in range(10):
            yield slow(number)

    started = time.perf_counter()
    overlap(source(), slow, slow)
    assert time.perf_counter() - started < 0.45


def test_memory_is_bounded() -> None:
    read = 0
    ahead: list[int] = []

    def source() -> Iterator[int]:
        nonlocal read
        for number in range(40):
            read += 1
            yield number

    def sink(number: int) -> None:
        time.sleep(0.005)
        ahead.append(read - number)

    overlap(source(), lambda number: number, sink, depth=3)
    # Three wait before the worker, three after it; one is in each stage's hands.
    assert max(ahead) <= 3 + 3 + 3


def test_keyboard_interrupt_stops_all() -> None:
    def work(number: int) -> int:
        raise KeyboardInterrupt

    error = run_in_time(lambda: overlap(iter(range(1000)), work, lambda number: None))
    assert isinstance(error, KeyboardInterrupt)
    assert workers() == []


def test_channels_give_errors_last_and_say_that_the_taker_has_gone() -> None:
    channel: Channel[int] = Channel(1)
    assert channel.put(1)
    threading.Timer(0.05, channel.abandon).start()
    assert not channel.put(2)
    channel: Channel[int] = Channel(4)
    channel.put(1)
    channel.put(2)
    channel.finish(BrokenError())
    taken = iter(channel)
    assert (next(taken), next(taken)) == (1, 2)
    with pytest.raises(BrokenError):
        next(taken)
