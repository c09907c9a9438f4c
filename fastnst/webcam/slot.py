"""A buffer of one between two threads: the newest item wins."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Holds at most one item; a newer one takes the place of one that nobody has fetched.

    A queue would let pictures grow old in it: whoever takes here always gets the latest.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Closed, the last item is fetched, and no error waits for the taker."""
        with self._changed:
            return self._closed and self._item is None and self._error is None

    def put(self, item: T) -> None:
        """Lay an item down, in place of the one before if that is still there."""
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """Fetch the item, waiting for one; None if none came in time or none will come any more.

        Raises:
            BaseException: the error that the giver closed with, once the last item is fetched.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more items come; `error` is raised in the taker after the last one."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()
