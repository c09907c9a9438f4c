"""What a film is made of, found out from its file and one of its frames.

H height, W width in pixels.
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from fastnst.errors import InputError
from fastnst.video.color import read_colors
from fastnst.video.decoder import FilmDamage, FilmDecoder, SeekMissedError, has_alpha_aside, main_video, open_film, seek
from fastnst.video.fields import first_field
from fastnst.video.film import Film, Orientation, read_orientation, read_views
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
    """Find out what a film is made of; decodes one frame.

    Args:
        path: the film.
        start: seconds at which to look, for films whose pictures change on the way; None: at the beginning.

    Raises:
        InputError: no film, or one of which nothing can be decoded.
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
