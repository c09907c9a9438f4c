"""Films read: what one is made of, found out from its file and one of its frames; and its pictures, one after another.

H height, W width in pixels. Decoded frames are uint8 (H, W, 3) RGB.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av import VideoFrame
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.stream import VideoStream

from fastnst.errors import InputError
from fastnst.video.color import ToRgb, read_colors
from fastnst.video.decoder import (
    DamagedError,
    FilmDamage,
    FilmDecoder,
    SeekMissedError,
    has_alpha_aside,
    main_video,
    open_film,
    seek,
)
from fastnst.video.film import (
    Film,
    FilmFrame,
    Orientation,
    Span,
    deinterlaced,
    first_field,
    read_orientation,
    read_views,
)
from fastnst.video.tracks import list_tracks

# Formats whose clock starts at nought, so that what it shows at the first frame is part of the film.
_OWN_CLOCK = ("mov", "matroska", "gif", "avi", "apng")
_MAX_SIDE = 16_384
_MOST_PROBED = 1000
_MOST_FPS = 2000
_DOLBY_TAGS = {"dvh1", "dvhe", "dva1", "dvav", "dav1"}
_UNSPECIFIED = 2  # ITU-T H.273
_MICRO = 1_000_000


def probe(path: Path, start: Fraction | None = None) -> Film:
    """Find out what a film is made of; decodes one frame, at `start` seconds, where pictures change on the way.

    Raises InputError for no film, or one of which nothing can be decoded.
    """
    with open_film(path) as container:
        name = container.format.name
        if name.endswith("_pipe") or name in {"image2", "tty"}:
            raise InputError(f"{path}: is no film; for single pictures use fastnst stylize")
        stream = main_video(container, path)
        first = _frame_at(path, start) or next(_leniently(container, stream), None)
        if first is None:
            raise InputError(f"{path}: is damaged, not one frame of it can be decoded")
        if max(first.width, first.height) > _MAX_SIDE:
            raise InputError(f"{path}: has frames of {first.width}x{first.height}; expected at most {_MAX_SIDE} a side")
        if _is_dolbys_own(stream, first):
            raise InputError(
                f"{path}: its colors are Dolby Vision's own (profile 5), which would come out purple and green; "
                "convert it to HDR10 or to BT.709 first"
            )
        rate = _rate(stream)
        return Film(
            path=path,
            size=(first.height, first.width),
            pixel_format=first.format.name,
            time_base=stream.time_base or Fraction(1, 1000),
            rate=rate,
            colors=read_colors(first, first.format.name, first.height),
            pixel_aspect=stream.sample_aspect_ratio or None,
            orientation=read_orientation(first) or _orientation_of_track(path, stream),
            frames=_count(container, stream, rate),
            end=_end(container, stream),
            container=name,
            origin_s=_origin(container, path),
            tracks=list_tracks(container, stream),
            fields=first_field(first),
            views=read_views(first),
            views_by_name="stereo_mode" in stream.metadata,
            bits_per_pixel=_bits_per_pixel(container, stream, rate, first),
        )


def _is_dolbys_own(stream: VideoStream, first: VideoFrame) -> bool:
    """Whether pictures need Dolby's program to be shown: other Dolby Vision tells the colours that others see."""
    side_data: Any = first.side_data
    dolby = stream.codec_context.codec_tag in _DOLBY_TAGS or "DOVI_METADATA" in side_data
    return dolby and first.color_trc == _UNSPECIFIED


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second; some formats (raw DV) give the ticks of their clock as the average."""
    said = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((rate for rate in said if rate and rate <= _MOST_FPS), Fraction(25))


def _frame_at(path: Path, start: Fraction | None) -> VideoFrame | None:
    """The first frame from `start` seconds on; None where a jump there finds none."""
    if start is None:
        return None
    with open_film(path) as container:
        stream = main_video(container, path)
        if stream.time_base is None:
            return None
        ticks = math.ceil((_origin(container, path) + start) / stream.time_base)
        try:
            seek(container, stream, ticks)
        except SeekMissedError:
            return None
        frames = itertools.islice(_leniently(container, stream), _MOST_PROBED)
        return next((frame for frame in frames if frame.pts is not None and frame.pts >= ticks), None)


def _orientation_of_track(path: Path, stream: VideoStream) -> Orientation | None:
    """How a track is turned whose frames come from another decoder than FFmpeg's own, which does not say."""
    if not has_alpha_aside(stream):
        return None
    with open_film(path) as container:
        first = next(container.decode(main_video(container, path)), None)
        return None if first is None else read_orientation(first)


def _bits_per_pixel(container: InputContainer, stream: VideoStream, rate: Fraction, first: VideoFrame) -> float | None:
    bits = stream.codec_context.bit_rate or container.bit_rate
    return bits / float(rate * first.width * first.height) if bits else None


def _leniently(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    return iter(FilmDecoder(container, stream, tolerate=True, damage=FilmDamage()))


def _count(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return math.ceil(stream.duration * stream.time_base * rate)
    return math.ceil(container.duration * rate / _MICRO) if container.duration else None


def _end(container: InputContainer, stream: VideoStream) -> int | None:
    """MP4 and MOV tell when a track ends; elsewhere it is counted from frames, or guessed."""
    if not container.format.name.startswith("mov") or not stream.duration:
        return None
    return (stream.start_time or 0) + stream.duration


def _origin(container: InputContainer, path: Path) -> Fraction:
    if container.start_time is None:
        return Fraction(0)
    if container.format.name.startswith(_OWN_CLOCK) and not _starts_before_nought(container, path):
        return Fraction(0)
    return Fraction(container.start_time, _MICRO)


def _starts_before_nought(container: InputContainer, path: Path) -> bool:
    """Whether pictures, too, come before nought, as in films cut without encoding; sound alone is primed there."""
    if (container.start_time or 0) >= 0:
        return False
    with open_film(path) as again:
        main = main_video(again, path)
        first = next((packet for packet in again.demux(main) if packet.size), None)
        return first is not None and (first.pts is None or first.pts < 0)


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

    The first `done` of them are left out, because they are painted already; `last_done`, `pts` of the last of them,
    allows to jump there instead of decoding all that comes before. With `tolerate` damage is counted; otherwise it is
    an error. Threads of the decoder: None lets FFmpeg choose. Raises InputError for damage, or pictures that change
    their size.
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
