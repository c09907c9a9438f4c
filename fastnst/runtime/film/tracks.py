"""The tracks beside the pictures: which there are, which fit a container, and their packets, carried over untouched."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from fastnst.runtime.film.decoder import AnyPacket, open_film
from fastnst.runtime.film.film import Film, Track

_WITHOUT_ATTACHMENTS = frozenset({"webm"})
# Written by muxers about the file at hand; copied, they would be wrong.
_STALE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
_QUICKTIME = {"handler_name", "vendor_id"}
_STALE_PREFIXES = ("bps", "number_of_", "_statistics_", "source_id")


def list_tracks(container: InputContainer, main: VideoStream) -> tuple[Track, ...]:
    """List what there is beside the main pictures.

    Not listed: what players never show, such as the text track that QuickTime keeps for the chapter names.
    """
    return tuple(
        Track(stream.index, stream.type, _codec(stream), stream.language or "", stream.metadata.get("title", ""))
        for stream in container.streams
        if stream.index != main.index and stream.discard != Discard.all
    )


def split_by_fit(film: Film, container: str) -> tuple[list[Track], list[Track]]:
    """Sort a film's tracks into those that a container format can hold and those that it cannot.

    Found out by writing a file's head in memory with that one track: the lists that FFmpeg has are not complete.

    Args:
        film: from `probe`.
        container: FFmpeg's word: mp4, mov, matroska, webm, gif.
    """
    fitting: list[Track] = []
    others: list[Track] = []
    if film.tracks:
        with open_film(film.path) as source:
            for track in film.tracks:
                (fitting if _fits(source.streams[track.index], container) else others).append(track)
    return fitting, others


def add_tracks(target: OutputContainer, source: InputContainer, tracks: Sequence[Track]) -> dict[int, Stream]:
    """Add tracks to a file to be written; returns them by their number in the source."""
    return {track.index: _add_track(target, source.streams[track.index]) for track in tracks}


def copied_packets(
    source: InputContainer, targets: dict[int, Stream], start_s: Fraction, end_s: Fraction | None
) -> Iterator[AnyPacket]:
    """Read the packets of the tracks, ready to be written, in the order of the file.

    Args:
        source: the film.
        targets: from `add_tracks`.
        start_s: where the new film starts on the source's clock; packets before it are left out if there is a cut.
        end_s: where it ends; None: at the end.
    """
    last: dict[int, int] = {}
    streams = [source.streams[index] for index in targets]
    packets = iter(source.demux(streams))
    while (packet := _next(packets)) is not None:
        if packet.size == 0 or packet.stream_index not in targets:
            continue
        index, time_base = packet.stream_index, packet.time_base
        stamp = packet.pts if packet.pts is not None else packet.dts
        cover = bool(packet.stream.disposition & Disposition.attached_pic)
        if stamp is not None and not cover:
            at_s = stamp * time_base
            if (start_s > 0 and at_s < start_s) or (end_s is not None and at_s >= end_s):
                continue
            _shift(packet, round(start_s / time_base))
        # Damaged films have stamps that run backwards, which no container takes.
        dts = (
            packet.dts if packet.dts is not None else packet.pts if packet.pts is not None else last.get(index, -1) + 1
        )
        packet.dts = max(dts, last[index] + 1) if index in last else dts
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        last[index] = packet.dts
        packet.stream = targets[index]
        yield packet


def kept_metadata(metadata: dict[str, str], container: str) -> dict[str, str]:
    """Metadata without what the writer of the source said about its own file, for a file of format `container`."""
    left_out = _STALE if container in {"mp4", "mov"} else _STALE | _QUICKTIME
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in left_out and not key.lower().startswith(_STALE_PREFIXES)
    }


def _next(packets: Iterator[AnyPacket]) -> AnyPacket | None:
    """The next packet; None at the end, or where a damaged file cannot be read any further: its pictures end there."""
    try:
        return next(packets, None)
    except av.FFmpegError:
        return None


def _shift(packet: AnyPacket, ticks: int) -> None:
    packet.pts = None if packet.pts is None else packet.pts - ticks
    packet.dts = None if packet.dts is None else packet.dts - ticks


def _fits(stream: Stream, container: str) -> bool:
    if stream.type == "attachment" and container in _WITHOUT_ATTACHMENTS:
        return False
    target = av.open(io.BytesIO(), "w", format=container)
    try:
        _add_track(target, stream)
        target.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        with suppress(av.FFmpegError):  # a file without packets need not be closed well
            target.close()
    return True


def _add_track(target: OutputContainer, stream: Stream) -> Stream:
    # opaque: for a second film, PyAV would otherwise look for an encoder.
    added = target.add_stream_from_template(stream, opaque=True)
    added.metadata.update(kept_metadata(stream.metadata, target.format.name))
    added.disposition = stream.disposition
    return added


def _codec(stream: Stream) -> str:
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return str(getattr(stream, "name", None) or "unknown codec")
