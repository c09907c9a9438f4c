"""Putting a finished film together: painted pictures, and all the rest of the source as it was."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from fastnst.errors import OutputError
from fastnst.video.decoder import AnyPacket, FilmDamage, main_video, open_film, reason
from fastnst.video.encoder import Encoding, add_alpha, add_encoder
from fastnst.video.film import Film, Orientation, Track
from fastnst.video.matroska import TrackChange, change_tracks, display_size, make_room
from fastnst.video.segments import Segment
from fastnst.video.timing import Stamp, stamp_frames
from fastnst.video.tracks import Cut, add_tracks, copied_packets, kept_metadata

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
    """Write the film. Packets of sound and the like that are too damaged for the file format are left out.

    Args:
        assembly: what goes into it.
        segments: its pictures.
        target: the file to write, not yet under its own name.
        output: the name it will have, for messages.
        damage: where to count what is left out.

    Raises:
        OutputError: no space, or a file format that refuses what it is given.
        InputError: the source is gone.
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
        if source is not None and assembly.source is not None:
            _describe(film, pictures, source, assembly)
            targets = add_tracks(film, source, assembly.source, assembly.tracks, changes)
            strict = encoding.container in {"mp4", "mov"}
            copied = copied_packets(source, assembly.source, targets, assembly.cut, strict=strict)
            packets = heapq.merge(packets, copied, key=_decode_time)
        if encoding.keeps_alpha_aside:
            pictures.metadata["alpha_mode"] = "1"
        if 0 in changes:
            make_room(pictures, changes[0])
        film.start_encoding()
        for packet in packets:
            if not _write(film, packet) and damage is not None:
                damage.unwritable += 1
        film.close()
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
        raise ValueError("its parts were encoded in different ways; --fresh paints it anew")
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


def _decode_time(packet: AnyPacket) -> float:
    return float((packet.dts or 0) * packet.time_base)


@contextmanager
def _errors(output: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        raise OutputError(f"{output}: cannot be written ({reason(error)})") from error
