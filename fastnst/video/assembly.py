"""Putting a finished film together: painted pictures, each at its time, and all the rest of the source as it was."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from fastnst.errors import OutputError
from fastnst.video.codecs import Transcoder
from fastnst.video.containers import TrackChange, change_tracks, display_size, make_room
from fastnst.video.decoder import AnyPacket, FilmDamage, main_video, open_film, reason
from fastnst.video.encoder import Encoding, add_alpha, add_encoder
from fastnst.video.film import Film, Orientation, Track
from fastnst.video.tracks import Cut, add_tracks, copied_packets, kept_metadata
from fastnst.video.writer import Segment

if TYPE_CHECKING:
    from av.container.core import Chapter  # in PyAV's type hints only


# What an MP4 file has a field for; anything else (a phone's model, a place) needs QuickTime's free keys.
_MP4_KEYS = frozenset(
    {
        "title",
        "artist",
        "album_artist",
        "album",
        "composer",
        "comment",
        "copyright",
        "date",
        "genre",
        "grouping",
        "lyrics",
        "description",
        "synopsis",
        "show",
        "episode_id",
        "network",
        "keywords",
        "track",
        "disc",
        "creation_time",
        "encoder",
        "hd_video",
        "gapless_playback",
        "compilation",
        "media_type",
        "location",
    }
)


_MILLISECOND = Fraction(1, 1000)


class Stamp(NamedTuple):
    """The times of a frame, ticks."""

    shown: int
    decoded: int
    duration: int


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What goes into the finished film."""

    encoding: Encoding
    cut: Cut
    """The part of the source that it is made from."""

    source: Film | None = None
    """Where tracks, chapters and metadata come from; None: there are none."""

    tracks: tuple[Track, ...] = ()
    """Those of its tracks that are carried over."""

    orientation: Orientation | None = None
    """The display matrix to write."""


def assemble(
    assembly: Assembly, segments: Sequence[Segment], target: Path, output: Path, damage: FilmDamage | None = None
) -> None:
    """Write the film to `target`; its name will be `output`, for messages.

    Packets of sound and the like that are too damaged for the file format are left out, and counted. Raises OutputError
    for no space, or a file format that refuses what it is given; InputError where the source is gone.
    """
    encoding, start = assembly.encoding, round(assembly.cut.shift_s / assembly.encoding.time_base)
    exact = _counts_milliseconds(assembly.source) and encoding.container in {"mp4", "mov"}
    # Where the source breaks off, what it says of its end would make the last frame stay for all the rest.
    breaks_off = damage is not None and damage.cut_short
    whole = assembly.source if assembly.cut.is_whole and not breaks_off else None
    stamps, time_base = stamp_frames(segments, encoding.time_base, encoding.rate, start=start, whole=whole, exact=exact)
    with ExitStack() as stack:
        source = stack.enter_context(open_film(assembly.source.path)) if assembly.source else None
        stack.enter_context(_errors(output))
        options = _options(assembly, source)
        film = stack.enter_context(av.open(f"file:{target}", "w", format=encoding.container, container_options=options))
        pictures = add_encoder(film, replace(encoding, time_base=time_base))
        pictures.set_display_matrix(assembly.orientation)
        _set_extradata(pictures, segments)
        changes = _aspect_change(encoding, assembly, source)
        packets = _picture_packets(pictures, segments, stamps, time_base)
        targets: dict[int, Stream | Transcoder] = {}
        if source is not None and assembly.source is not None:
            _describe(film, pictures, source, assembly)
            targets = add_tracks(film, source, assembly.source, assembly.tracks, changes)
            strict = encoding.container in {"mp4", "mov"}
            copied = copied_packets(source, assembly.source, targets, assembly.cut, strict=strict)
            packets = heapq.merge(packets, copied, key=lambda packet: float((packet.dts or 0) * packet.time_base))
        if encoding.keeps_alpha_aside:
            pictures.metadata["alpha_mode"] = "1"
        if 0 in changes:
            make_room(pictures, changes[0])
        film.start_encoding()
        for packet in packets:
            if not _write(film, packet) and damage is not None:
                damage.unwritable += 1
        film.close()
        if damage is not None:
            damage.unwritable += sum(each.undecodable for each in targets.values() if not isinstance(each, Stream))
        if changes:
            change_tracks(target, changes)


def _aspect_change(encoding: Encoding, assembly: Assembly, source: InputContainer | None) -> dict[int, TrackChange]:
    """What a finished Matroska file must be told of pixels that are not square, where its pictures cannot tell."""
    aspect = encoding.pixel_aspect
    if encoding.container not in {"matroska", "webm"} or aspect in {None, 1} or encoding.tells_aspect:
        return {}
    assert aspect is not None
    title = ""
    if source is not None and assembly.source is not None:
        title = main_video(source, assembly.source.path).metadata.get("title", "")
    return {0: TrackChange(title=title, display=display_size(encoding.size, aspect))}


def _write(film: OutputContainer, packet: AnyPacket) -> bool:
    """Write a packet; False: it is of another track than the pictures, and the file format refuses it."""
    try:
        film.mux(packet)
    except av.FFmpegError as error:
        if isinstance(error, OSError) or packet.stream_index == 0:
            raise
        return False
    return True


def _picture_packets(
    pictures: VideoStream, segments: Sequence[Segment], stamps: Sequence[Stamp], time_base: Fraction
) -> Iterator[AnyPacket]:
    frames = (frame for segment in segments for frame in segment.frames())
    for frame, stamp in zip(frames, stamps, strict=True):
        packet = Packet(frame.data)
        packet.stream, packet.is_keyframe, packet.time_base = pictures, frame.is_key, time_base
        packet.pts, packet.dts, packet.duration = stamp
        if frame.alpha:
            add_alpha(packet, frame.alpha)
        yield packet


def _set_extradata(pictures: VideoStream, segments: Sequence[Segment]) -> None:
    """Describe the pictures by what their own encoder said, which some know only after the first frame."""
    context = pictures.codec_context
    if any(segment.extradata != segments[0].extradata for segment in segments):
        raise ValueError("its parts were encoded in different ways; --resume never starts again")
    if segments[0].extradata != (context.extradata or b""):
        context.extradata = segments[0].extradata


def _describe(film: OutputContainer, pictures: VideoStream, source: InputContainer, assembly: Assembly) -> None:
    """Carry over what the source says of itself, and its chapters."""
    container = assembly.encoding.container
    film.metadata.update(kept_metadata(source.metadata, container))
    assert assembly.source is not None
    main = main_video(source, assembly.source.path)
    pictures.metadata.update(kept_metadata(main.metadata, container))
    for key in [key for key in pictures.metadata if key.lower() == "alpha_mode"]:
        del pictures.metadata[key]
    pictures.disposition = main.disposition
    film.set_chapters([chapter for chapter in _chapters(source, assembly.cut) if chapter["end"] > chapter["start"]])


def _chapters(source: InputContainer, cut: Cut) -> "Iterator[Chapter]":
    for chapter in source.chapters():
        time_base = chapter["time_base"] or Fraction(1, 1000)
        shift = round(cut.shift_s / time_base)
        end = chapter["end"] if cut.end_s is None else min(chapter["end"], round(cut.end_s / time_base))
        yield {**chapter, "time_base": time_base, "start": max(0, chapter["start"] - shift), "end": end - shift}


def _options(assembly: Assembly, source: InputContainer | None) -> dict[str, str]:
    """Options of the file format: in MP4, the index first, so that players can start while they load."""
    container = assembly.encoding.container
    if container not in {"mp4", "mov"}:
        return {}
    keys = kept_metadata(source.metadata, container) if source is not None else {}
    free = any(key.lower() not in _MP4_KEYS for key in keys)
    return {"movflags": "faststart+use_metadata_tags" if free else "faststart"}


def _counts_milliseconds(film: Film | None) -> bool:
    return film is not None and film.container.startswith("matroska")


@contextmanager
def _errors(output: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        raise OutputError(f"{output}: cannot be written ({reason(error)})") from error


def stamp_frames(
    segments: Sequence[Segment], time_base: Fraction, rate: Fraction, *, start: int, whole: Film | None, exact: bool
) -> tuple[list[Stamp], Fraction]:
    """Stamp the frames for the finished film, which starts at a tick of the encoder's time base.

    `rate` is the source's, frames a second; `whole` the source, if all of its frames are there. `exact` turns times
    that were rounded to milliseconds into a steady rate, if that is what they stand for. Returns the stamps, in the
    order in which frames are decoded, and the time base in which they count.
    """
    shown = [pts - start for segment in segments for pts in segment.pts]
    durations = [ticks for segment in segments for ticks in segment.durations]
    final = durations[shown.index(max(shown))]
    if whole is not None:
        final = _final_duration(whole, max(shown) + start, final)
    steps = steady_grid(shown, time_base, rate) if exact else None
    if steps is not None:
        shown, durations, final, time_base = steps, [1] * len(steps), 1, 1 / rate
    length = max(shown) - min(shown) if whole is None else round(len(shown) / (rate * time_base)) - final
    # The frame that is decoded last ends the film as much as the one that is shown last.
    durations[-1] = final
    stamps = zip(shown, decode_stamps(shown, length), durations, strict=True)
    return [Stamp(*stamp) for stamp in stamps], time_base


def decode_stamps(shown: Sequence[int], length: int) -> list[int]:
    """Find when each frame must be decoded so that all are there when they are shown, ticks, in the order of decoding.

    `length` are the ticks from when the first is decoded to when the last is; MP4 files tell their mean rate by it.
    Returns rising ticks, none after the frame's own: the times of showing, moved back by as few frames as will do.
    """
    ordered = sorted(shown)
    rank = {pts: place for place, pts in enumerate(ordered)}
    delay = max((place - rank[pts] for place, pts in enumerate(shown)), default=0)
    if delay == 0:
        return ordered
    # Before the first is shown there are no times to take, so these are free.
    last = ordered[-1 - delay]
    first = min(last - length, ordered[0] - delay)
    lead = [first + (ordered[0] - first) * place // delay for place in range(delay)]
    return lead + ordered[:-delay]


def steady_grid(shown: Sequence[int], time_base: Fraction, rate: Fraction) -> list[int] | None:
    """Count frames in steps of a steady rate, if that is what their times, ticks in any order, stand for; else None.

    Matroska counts in milliseconds: 29.97 frames a second can be stored there only rounded, to whole ticks.
    """
    steps = [pts * time_base * rate for pts in shown]
    rounded = [round(step) for step in steps]
    tolerance = time_base * rate * Fraction(3, 4)
    on_grid = all(abs(step - whole) <= tolerance for step, whole in zip(steps, rounded, strict=True))
    unbroken = sorted(rounded) == list(range(min(rounded), min(rounded) + len(rounded)))
    return rounded if on_grid and unbroken else None


def _final_duration(film: Film, last: int, reported: int) -> int:
    """How long the frame shown last, at tick `last`, stays; with reordered frames MP4 tells only the film's end."""
    if film.end is None or film.end <= last:
        return reported
    # Edit lists round to milliseconds: then the frame knows better.
    rounded = abs(film.end - last - reported) * film.time_base <= _MILLISECOND
    return reported if rounded else film.end - last
