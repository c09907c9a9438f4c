"""Reading the pictures of films, one after another.

H height, W width in pixels. Decoded frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from av import VideoFrame
from av.codec.context import ThreadType

from fastnst.errors import InputError
from fastnst.video.color import ToRgb
from fastnst.video.decoder import DamagedError, FilmDamage, FilmDecoder, SeekMissedError, main_video, open_film, seek
from fastnst.video.fields import deinterlaced
from fastnst.video.film import Film, FilmFrame, Span

# Formats with an index good enough to jump.
_JUMPABLE = ("mov", "matroska")
# A seek goes by decoding times, which may lie this many frames before the times of showing.
_SEEK_FRAMES = 16
# Frames without a time at a film's start that are kept in memory until one has a time; others are counted from nought.
_MOST_UNSTAMPED = 64


def read_frames(
    film: Film,
    span: Span,
    *,
    done: int = 0,
    last_done: int | None = None,
    tolerate: bool = False,
    damage: FilmDamage | None = None,
    threads: int | None = None,
    deinterlace: bool = True,
) -> Iterator[FilmFrame]:
    """Decode the frames of a film that lie in a span, in the order they are shown.

    Args:
        film: from `probe`.
        span: the wanted part.
        done: frames of the span to leave out, because they are painted already.
        last_done: `pts` of the last of them: allows to jump there instead of decoding all that comes before.
        tolerate: go on after damage, counting it in `damage`; otherwise it is an error.
        damage: where to count.
        threads: threads of the decoder; None lets FFmpeg choose.
        deinterlace: turn interlaced frames into whole pictures.

    Raises:
        InputError: damage, or pictures that change their size.
    """
    reader = _Reader(film, span, done, tolerate, damage or FilmDamage(), threads, deinterlace)
    jump = last_done if last_done is not None else span.start
    if jump is not None and film.container.startswith(_JUMPABLE):
        try:
            yield from reader.read_from(jump, after=last_done)
        except SeekMissedError:
            pass
        else:
            return
    yield from reader.read_all()


@dataclass
class _Reader:
    film: Film
    span: Span
    read: int
    """Frames of the span so far."""

    tolerate: bool
    damage: FilmDamage
    threads: int | None
    deinterlace: bool

    def read_all(self) -> Iterator[FilmFrame]:
        """Decode from the start; leave out as many frames as are done."""
        skip, to_rgb = self.read, ToRgb()
        for decoded, pts, duration in self._decode(None):
            if skip:
                skip -= 1
                continue
            yield self._convert(to_rgb, decoded, pts, duration)

    def read_from(self, jump: int, after: int | None) -> Iterator[FilmFrame]:
        """Decode from a key frame before tick `jump`; leave out all up to the frame at tick `after`."""
        to_rgb, found = ToRgb(), after is None
        for decoded, pts, duration in self._decode(jump):
            if after is None or pts > after:
                if not found:
                    raise SeekMissedError
                yield self._convert(to_rgb, decoded, pts, duration)
            found = found or pts == after

    def _decode(self, jump: int | None) -> Iterator[tuple[VideoFrame, int, int]]:
        """Frames of the span with the time they are shown and how long, ticks."""
        with open_film(self.film.path) as container:
            stream = main_video(container, self.film.path)
            stream.codec_context.thread_type = ThreadType.AUTO
            stream.codec_context.thread_count = self.threads or 0
            if jump is not None:
                seek(container, stream, jump - _SEEK_FRAMES * self.film.frame_ticks)
            wanted = self.span.start if jump is None else jump
            decoder = FilmDecoder(container, stream, tolerate=self.tolerate, damage=self.damage, wanted=wanted)
            arrived = jump is None
            try:
                frames = _timed(self.film, decoder)
                for decoded, pts, duration in deinterlaced(frames) if self.deinterlace else frames:
                    if not arrived and jump is not None and pts > jump:
                        raise SeekMissedError
                    arrived = True
                    if self.span.end is not None and pts >= self.span.end:
                        return
                    if pts in self.span:
                        yield decoded, pts, duration
            except DamagedError as error:
                raise InputError(
                    f"{self.film.path}: {error} after {self.read} readable frame(s); "
                    "--damaged skip stylizes what can be decoded"
                ) from error

    def _convert(self, to_rgb: ToRgb, decoded: VideoFrame, pts: int, duration: int) -> FilmFrame:
        if (decoded.height, decoded.width) != self.film.size:
            height, width = self.film.size
            at_s = float(pts * self.film.time_base - self.film.origin_s)
            raise InputError(
                f"{self.film.path}: changes from {width}x{height} to {decoded.width}x{decoded.height} at {at_s:.2f} s; "
                "stylize the parts one by one with --start and --end"
            )
        self.read += 1
        try:
            frame, alpha = to_rgb(decoded)
        except InputError as error:
            raise InputError(f"{self.film.path}: {error}") from error
        return FilmFrame(frame, pts, duration, alpha)


def _timed(film: Film, frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, int, int]]:
    """Give each frame a time after the one before: some files have no stamps, or muddled ones."""
    last, following = None, 0
    for decoded in _in_order(film, _stamped_from_start(film, frames)):
        duration = decoded.duration or film.frame_ticks
        pts = following if decoded.pts is None else decoded.pts
        if last is not None and pts <= last:
            pts = last + 1
        last, following = pts, pts + duration
        yield decoded, pts, duration


def _in_order(film: Film, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Frames come in the order they are shown; two neighbors with each other's time (AVI, B frames) exchange them."""
    held: VideoFrame | None = None
    try:
        for decoded in frames:
            last, held = held, decoded
            if last is not None:
                _exchange_times(film, last, decoded)
                yield last
    except Exception:
        if held is not None:  # readable, before what is not
            yield held
        raise
    if held is not None:
        yield held


def _exchange_times(film: Film, earlier: VideoFrame, later: VideoFrame) -> None:
    if earlier.pts is not None and later.pts is not None:
        back = earlier.pts - later.pts
        if 0 < back <= _SEEK_FRAMES * film.frame_ticks:
            earlier.pts, later.pts = later.pts, earlier.pts


def _stamped_from_start(film: Film, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Frames without a time before the first that has one get theirs, counted back from it at the film's rate."""
    frames = iter(frames)
    early: list[VideoFrame] = []
    for decoded in frames:
        early.append(decoded)
        if decoded.pts is not None or len(early) == _MOST_UNSTAMPED:
            break
    first = early[-1].pts if early else None
    if first is not None:
        for place, decoded in enumerate(reversed(early)):
            decoded.pts = first - round(place / (film.rate * film.time_base))
    yield from early
    yield from frames
