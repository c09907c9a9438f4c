"""Films in place of a camera, in real time, leaving out frames that come too late; and recording what is shown.

A recording is written in a thread of its own, into a file that appears when it is whole. Both lie apart since nothing
else here needs PyAV. Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from fastnst.errors import InputError, OutputError
from fastnst.io.blending import resample
from fastnst.io.files import atomic_path
from fastnst.io.images import Frame, over_white
from fastnst.video.codecs import encoder_options
from fastnst.video.color import FromRgb, encoded_colors
from fastnst.video.decoder import reason
from fastnst.video.encoder import Encoding, add_encoder
from fastnst.video.film import Colors, FilmFrame, Span, turn_upright
from fastnst.video.reader import probe, read_frames
from fastnst.webcam.capture import SourceEndedError

_GIVE_UP_S = 0.5


class FilmPlayer:
    """Plays a film file."""

    live = False

    def __init__(
        self,
        path: Path,
        *,
        loop: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open a film, which begins again at its end with `loop`; raises InputError for none that can be read."""
        self._film, self._loop = probe(path), loop
        self._clock, self._sleep = clock, sleep
        self.name = path.name
        self.dropped = 0
        """Frames that were left out."""

        self._frames = self._decode()
        self._first_pts: int | None = None
        self._begin_s = self._end_s = self._given_s = clock()

    def read(self) -> Frame:
        """Wait until the next frame is due.

        Raises SourceEndedError: the film is over; InputError: it cannot be read any further.
        """
        while True:
            frame = self._next()
            duration_s, due_s = self._seconds(frame.duration), self._due_s(frame)
            late_s = self._clock() - due_s
            if late_s > _GIVE_UP_S:
                self._begin_s += late_s
            # Catching up, it shows frames at their usual pace and leaves out those between. Where decoding itself is
            # too slow for that, nothing is won by leaving out.
            elif late_s > duration_s and self._clock() - self._given_s < duration_s:
                self.dropped += 1
                continue
            elif late_s < 0:
                self._sleep(-late_s)
            self._given_s = self._clock()
            self._end_s = max(due_s, self._given_s) + duration_s
            return self._as_shown(frame)

    def _as_shown(self, frame: FilmFrame) -> Frame:
        """Upright and with square pixels, as cameras give pictures."""
        film, size = self._film, self._film.size
        picture = frame.frame if frame.alpha is None else over_white(frame.frame, frame.alpha)
        if film.pixel_aspect is not None:
            size = (size[0], max(1, round(size[1] * film.pixel_aspect)))
        return turn_upright(resample(picture, size), film.orientation)

    def close(self) -> None:
        """Close the file."""
        self._frames.close()  # type: ignore[attr-defined]  # read_frames is a generator

    def _decode(self) -> Iterator[FilmFrame]:
        return read_frames(self._film, Span(), tolerate=True, threads=1)

    def _next(self) -> FilmFrame:
        frame = next(self._frames, None)
        if frame is None and self._loop and self._first_pts is not None:
            self._frames, self._first_pts = self._decode(), None
            frame = next(self._frames, None)
        if frame is None:
            raise SourceEndedError
        if self._first_pts is None:
            self._first_pts, self._begin_s = frame.pts, max(self._clock(), self._end_s)
        return frame

    def _due_s(self, frame: FilmFrame) -> float:
        return self._begin_s + self._seconds(frame.pts - (self._first_pts or 0))

    def _seconds(self, ticks: int) -> float:
        return float(ticks * self._film.time_base)


def open_film_player(path: Path, *, loop: bool = False) -> FilmPlayer:
    """Open a film to be played as a camera; raises InputError, which also names what a camera would be."""
    if not path.exists():
        raise InputError(f"{path}: no such file; --source expects a film. Cameras are chosen with --camera")
    return FilmPlayer(path, loop=loop)


# Recording

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's word for each suffix."""

_ENCODER, _QUALITY, _PRESET = "libx264", 20, "superfast"
_TIME_BASE = Fraction(1, 90_000)
# Pictures that wait for the encoder; more are left out, so that a slow disk never holds up the screen.
_DEPTH = 16
# One thread takes 12 ms for a picture of 1280 x 720 at this preset, and leaves the other cores to the network.
_THREADS = 1
_WAIT_S = 0.2
_RGB = Colors(0, True, 1, 1)


class FilmRecorder:
    """Encodes pictures with the times at which they were captured (H.264 in MP4, MOV or Matroska)."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, *, overwrite: bool = False) -> None:
        """Open a file beside `path` (.mp4 .mov .mkv) that takes its name at the end, for about `fps` pictures a second.

        Odd sides lose their last row or column, which H.264 as players show it cannot hold. Raises OutputError for
        another suffix, a file that is there, or one that cannot be written.
        """
        check_path(path, overwrite=overwrite)
        self._overwrite = overwrite
        self.path = path
        self.dropped = 0
        """Pictures that the encoder had no time for."""

        self.seconds = 0.0
        """Length so far."""

        self._size = (max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2))
        self._begin_s: float | None = None
        self._queue: queue.Queue[tuple[Frame, float] | None] = queue.Queue(_DEPTH)
        self._error: BaseException | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(fps,), name="recorder", daemon=True)
        self._thread.start()
        self._opened.wait()
        self._raise()

    def write(self, picture: Frame, captured_s: float) -> None:
        """Hand over a picture, which must not change any more. Raises OutputError if an earlier one failed."""
        self._raise()
        self._begin_s = captured_s if self._begin_s is None else self._begin_s
        time_s = captured_s - self._begin_s
        try:
            self._queue.put_nowait((picture, time_s))
        except queue.Full:
            self.dropped += 1
        else:
            self.seconds = time_s

    def finish(self) -> None:
        """Encode what waits, and give the file its name. Raises OutputError if the film could not be written."""
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=_WAIT_S)
                break
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self, fps: float) -> None:
        try:
            with atomic_path(self.path, overwrite=self._overwrite) as temporary:
                self._encode(temporary, fps)
        except (av.FFmpegError, ValueError) as error:
            self._error = OutputError(f"{self.path}: cannot be written ({reason(error)})")
        except BaseException as error:
            self._error = error
        finally:
            self._opened.set()

    def _encode(self, temporary: Path, fps: float) -> None:
        container = CONTAINERS[self.path.suffix.lower()]
        encoding = self._encoding(container, fps)
        convert = FromRgb(encoding.pixel_format, encoding.colors)
        with av.open(f"file:{temporary}", "w", format=container) as film:
            stream = add_encoder(film, encoding)
            self._opened.set()
            last = -1
            while (item := self._queue.get()) is not None:
                picture, time_s = item
                coded: Any = convert(self._fit(picture))
                last = max(last + 1, round(time_s / _TIME_BASE))
                coded.pts, coded.time_base = last, _TIME_BASE
                film.mux(stream.encode(coded))
            if last < 0:
                raise OutputError(f"{self.path}: not one picture came to be recorded")
            film.mux(stream.encode(None))

    def _encoding(self, container: str, fps: float) -> Encoding:
        return Encoding(
            encoder=_ENCODER,
            size=self._size,
            pixel_format="yuv420p",
            time_base=_TIME_BASE,
            rate=Fraction(fps).limit_denominator(1001),
            colors=encoded_colors(_RGB, self._size[0]),
            threads=_THREADS,
            container=container,
            options=encoder_options(_ENCODER, _QUALITY, _PRESET),
        )

    def _fit(self, picture: Frame) -> Frame:
        """Cut off an odd row and column; after a camera of another size was plugged in, resample."""
        height, width = picture.shape[:2]
        if (height // 2 * 2, width // 2 * 2) == self._size:
            return picture[: self._size[0], : self._size[1]]
        return resample(picture, self._size)


def check_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a recording's name that cannot be. Raises OutputError."""
    if path.suffix.lower() not in CONTAINERS:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise OutputError(f"{path}: {found}; expected a film to record into: .mp4, .mov or .mkv")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: already exists; --overwrite replaces it")
