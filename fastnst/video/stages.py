"""Reading, painting and writing at the same time, with bounded memory and no way to hang.

Three stages, each in its own thread, joined by short queues. Whichever stage fails, the others stop, all threads end,
and the caller gets the error of the stage that failed.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

# A wait without end cannot be interrupted by Ctrl-C on Windows.
_WAIT_S = 0.5


class Channel(Generic[T]):
    """A bounded queue from one thread to another that either end can close.

    The giver calls `put`, then `finish`; the taker iterates, and calls `abandon` if it leaves early.
    """

    def __init__(self, depth: int) -> None:
        """Make a channel that holds at most `depth` items."""
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._finished = self._abandoned = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add an item. False: nobody takes any more, stop."""
        with self._changed:
            while len(self._items) >= self._depth and not self._abandoned:
                self._changed.wait(_WAIT_S)
            if not self._abandoned:
                self._items.append(item)
                self._changed.notify_all()
            return not self._abandoned

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no more items come; `error` is raised in the taker after the last one."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that nobody takes any more; drops what is waiting."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._finished and not self._abandoned:
                    self._changed.wait(_WAIT_S)
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error


@contextmanager
def overlapping(
    source: Iterable[A], sink: Callable[[B], None], *, depth: int = 4
) -> Iterator[tuple[Iterable[A], Callable[[B], bool]]]:
    """Read in one thread and write in another, while the block works in the caller's, so that Ctrl-C reaches it.

        with overlapping(frames, writer.write) as (read, write):
            for frame in read:
                if not write(work(frame)):
                    break

    Order is kept. All that `source` gave before it failed still comes to the block, and what that writes to `sink`.

    Args:
        source: iterated in its own thread; a generator is also closed there.
        sink: called in its own thread.
        depth: items that wait between two stages at most.

    Yields:
        What was read, and what hands an item to `sink`: False means that it has failed, and the block should end.

    Raises:
        Exception: what the block or `source` raised, else what `sink` raised.
    """
    read: Channel[A] = Channel(depth)
    done: Channel[B] = Channel(depth)
    failures: list[BaseException] = []
    threads = (
        threading.Thread(target=_feed, args=(source, read), name="reader", daemon=True),
        threading.Thread(target=_drain, args=(done, sink, failures), name="writer", daemon=True),
    )
    for thread in threads:
        thread.start()
    try:
        yield read, done.put
    finally:
        read.abandon()
        done.finish()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _feed(source: Iterable[A], channel: Channel[A]) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not channel.put(item):
                break
        if isinstance(source, Generator):
            source.close()
    except BaseException as caught:
        error = caught
    finally:
        channel.finish(error)


def _drain(channel: Channel[B], sink: Callable[[B], None], failures: list[BaseException]) -> None:
    try:
        for item in channel:
            sink(item)
    except BaseException as error:
        failures.append(error)
    finally:
        channel.abandon()
