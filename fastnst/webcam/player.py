"""A film that plays as if it were a camera: in real time, leaving out frames that come too late."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fastnst.errors import InputError
from fastnst.io.images import Frame, over_white
from fastnst.io.opencv import resample
from fastnst.video.film import FilmFrame, Span, turn_upright
from fastnst.video.probing import probe
from fastnst.video.reader import read_frames
from fastnst.webcam.capture import SourceEndedError

# Behind by more than this, the film goes on from where it is instead of catching up.
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
        """Open a film.

        Args:
            path: the film.
            loop: begin again at its end.
            clock: seconds.
            sleep: waits so many seconds.

        Raises:
            InputError: no film that can be read.
        """
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

        Raises:
            SourceEndedError: the film is over.
            InputError: it cannot be read any further.
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
