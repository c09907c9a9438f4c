"""Ctrl-C, and the system's wish that a program end, as a flag: a recording is finished before the program ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Ending:
    """Whether the program should end."""

    def __init__(self) -> None:
        self.wanted = False


@contextlib.contextmanager
def ending_on_signals() -> Iterator[Ending]:
    """Give a flag that Ctrl-C and SIGTERM set; a second one ends at once. Unset outside the main thread."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(_number: int, _frame: FrameType | None) -> None:
        ending.wanted = True
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield ending
    finally:
        restore()
