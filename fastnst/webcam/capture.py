"""A thread that always holds the newest picture of a camera, and brings the camera back when it is lost.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB. Times are seconds of one monotonic clock.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fastnst.errors import InputError
from fastnst.io.images import Frame

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

        Raises BaseException: the error that the giver closed with, once the last item is fetched.
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


SILENT_S = 1.5
"""A camera without a new picture for so long is in trouble; slow ones in the dark still give 5 a second."""

HUNG_S = 5.0
"""A driver that does not return for so long is left behind, and the camera opened anew."""

RETRY_S = 1.0
"""Between two attempts to open a lost camera."""

_JOIN_S = 1.0


class CameraLostError(Exception):
    """The camera gives no more pictures: unplugged, or taken by another program."""


class SourceEndedError(Exception):
    """A film that stands in for a camera is over."""


class Camera(Protocol):
    """Where frames come from."""

    name: str
    """For messages: camera 0, film.mp4."""

    live: bool
    """It can be opened anew to go on; a film would start again."""

    def read(self) -> Frame:
        """Wait for the next frame.

        Raises CameraLostError: it gives no more; opening it anew may help; SourceEndedError: there are no more.
        """
        ...

    def close(self) -> None:
        """Free the device."""
        ...


@dataclass(frozen=True)
class Shot:
    """One picture of the camera."""

    frame: Frame
    captured_s: float
    """When it arrived."""

    number: int
    """From 0."""


class Capture:
    """Reads a camera in a thread of its own; `newest` holds its latest picture."""

    def __init__(self, open_camera: Callable[[], Camera], *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Prepare; `open_camera` is called again, in the thread, when the camera was lost. It raises InputError."""
        self._open, self._clock = open_camera, clock
        self.newest: Newest[Shot] = Newest()
        self.captured = 0
        """Pictures that arrived."""

        self._name, self._live, self._lost = "camera", True, False
        self._alive_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the camera and begin to read. Raises InputError if it cannot be opened."""
        camera = self._open()
        self._name, self._live = camera.name, camera.live
        self._alive_s = self._clock()
        self._launch(camera)

    def stop(self) -> None:
        """End the thread and free the camera; a driver that does not return is not waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def trouble(self) -> str:
        """Say what is wrong with the camera at this moment, empty if nothing; also gives up on a driver that hangs."""
        if self.newest.ended:
            return ""
        silent_s = self._clock() - self._alive_s
        if self._lost:
            return f"{self._name} is gone. Waiting for it to be plugged in again"
        if silent_s < SILENT_S:
            return ""
        if self._live and silent_s > HUNG_S:
            self._stop.set()
            self._lost = True
            self._launch(None)
        return f"{self._name} delivers no pictures"

    def _launch(self, camera: Camera | None) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(camera, self._stop), name="capture", daemon=True)
        self._thread.start()

    def _work(self, camera: Camera | None, stop: threading.Event) -> None:
        error: BaseException | None = None
        try:
            while not stop.is_set():
                if camera is None:
                    camera = self._reopen(stop)
                    continue
                try:
                    frame = camera.read()
                except CameraLostError:
                    camera.close()
                    camera, self._lost = None, self._lost or not stop.is_set()
                else:
                    self._deliver(frame, stop)
        except SourceEndedError:
            pass
        except BaseException as caught:
            error = caught
        finally:
            if camera is not None:
                camera.close()
            if not stop.is_set():
                self.newest.close(error)

    def _reopen(self, stop: threading.Event) -> Camera | None:
        try:
            return self._open()
        except InputError:
            stop.wait(RETRY_S)
            return None

    def _deliver(self, frame: Frame, stop: threading.Event) -> None:
        with self._lock:
            if stop.is_set():  # left behind while it hung in the driver
                return
            self._alive_s, self._lost = self._clock(), False
            self.newest.put(Shot(frame, self._alive_s, self.captured))
            self.captured += 1
