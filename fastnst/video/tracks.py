"""The tracks beside the pictures: which there are, which a container holds, and their packets, carried over."""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

import av
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from fastnst.video.codecs import Transcoder, add_transcoder, encoded_layout, encoder_for
from fastnst.video.containers import MendedClock, TrackChange, container_language, make_room, sound_description
from fastnst.video.decoder import AnyPacket, main_video, open_film
from fastnst.video.film import Film, Track

_COVER_KINDS = {"mjpeg": "jpeg", "png": "png", "webp": "webp", "bmp": "bmp"}
# Written by muxers about the file at hand; copied, they would be wrong.
_STALE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
_QUICKTIME = {"handler_name", "vendor_id"}
_STALE_PREFIXES = ("bps", "number_of_", "_statistics_", "source_id")


_SAMPLED_PACKETS, _SAMPLES = 500, 3


@dataclass(frozen=True)
class Cut:
    """A part of a film, in seconds on the source's clock."""

    start_s: Fraction | None = None
    end_s: Fraction | None = None
    shift_s: Fraction = Fraction(0)
    """What the source's clock shows where the new film's shows nought."""

    def __contains__(self, at_s: Fraction) -> bool:
        return (self.start_s is None or at_s >= self.start_s) and (self.end_s is None or at_s < self.end_s)

    @property
    def is_whole(self) -> bool:
        """Nothing is left out."""
        return self.start_s is None and self.end_s is None


def list_tracks(container: InputContainer, main: VideoStream) -> tuple[Track, ...]:
    """List what there is beside the main pictures.

    Not listed: what players never show and the writer makes anew, such as QuickTime's tracks for the names of the
    chapters and for the time code.
    """
    return tuple(
        Track(
            stream.index,
            "cover art" if is_cover(stream) else stream.type,
            _codec(stream),
            stream.language or "",
            stream.metadata.get("title", ""),
        )
        for stream in container.streams
        if stream.index != main.index and stream.discard != Discard.all and not _is_time_code(stream, main)
    )


def add_tracks(
    target: OutputContainer,
    source: InputContainer,
    film: Film,
    tracks: Sequence[Track],
    changes: dict[int, TrackChange],
) -> dict[int, Stream | Transcoder]:
    """Add tracks of a film to a file; returns those with packets to copy or to encode anew, by their numbers.

    `changes` gets what is to be changed in the finished file, by the places of the tracks in it.
    """
    added: dict[int, Stream | Transcoder] = {}
    for track in tracks:
        stream = source.streams[track.index]
        if is_cover(stream) and target.format.name == "matroska":
            _attach_cover(target, stream, film)
        elif track.encoder:
            added[track.index] = transcoder = add_transcoder(target, stream, track.encoder)
            transcoder.target.metadata.update(kept_metadata(stream.metadata, target.format.name))
            transcoder.target.disposition = stream.disposition
        else:
            place = sum(each.type != "attachment" for each in target.streams)
            added[track.index], change = add_track(target, stream)
            if change is not None:
                changes[place] = change
    return added


def add_track(target: OutputContainer, stream: Stream) -> tuple[Stream, TrackChange | None]:
    """Add a track like `stream` to a file to be written; gives what is to be changed in the finished file, too.

    Raises what PyAV raises where it cannot hold it.
    """
    description = b""
    try:
        # opaque: for a second film, PyAV would otherwise look for an encoder.
        added = target.add_stream_from_template(stream, opaque=True)
    except ValueError:
        if target.format.name != "matroska" or not isinstance(stream, AudioStream):
            raise
        # Matroska holds whatever Windows has a number for, but PyAV does not ask FFmpeg for that.
        description = sound_description(stream)
        added = target.add_stream("pcm_u8", rate=stream.rate, layout=stream.layout)
    added.metadata.update(kept_metadata(stream.metadata, target.format.name))
    added.disposition = stream.disposition
    if not description:
        return added, None
    change = TrackChange(title=added.metadata.get("title", ""), sound=description)
    make_room(added, change)
    return added, change


def copied_packets(
    source: InputContainer, film: Film, targets: dict[int, Stream | Transcoder], cut: Cut, *, strict: bool
) -> Iterator[AnyPacket]:
    """Read the packets of the tracks from `add_tracks`, ready to be written, in the order of the file.

    `cut` is the part of the source that is wanted; `strict`: the container takes no two packets of a track at one time.
    """
    last: dict[int, int] = {}
    clock = MendedClock(source, main_video(source, film.path))
    for packet in clock.mend(_filled_packets(source)) if targets else ():
        if packet.stream_index not in targets:
            continue
        index = packet.stream_index
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and not is_cover(packet.stream):
            if stamp * packet.time_base not in cut:
                continue
            _shift(packet, round(cut.shift_s / packet.time_base))
        earliest = last[index] + strict if index in last else None
        put_in_order(packet, earliest)
        last[index] = packet.dts or 0
        target = targets[index]
        if isinstance(target, Stream):
            packet.stream = target
            yield packet
        else:
            yield from target.encode(packet)
    for target in targets.values():
        if not isinstance(target, Stream):
            yield from target.encode(None)


def kept_metadata(metadata: dict[str, str], container: str) -> dict[str, str]:
    """Metadata without what the writer of the source said about its own file, for a file of format `container`."""
    left_out = _STALE if container in {"mp4", "mov"} else _STALE | _QUICKTIME
    kept = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in left_out and not key.lower().startswith(_STALE_PREFIXES)
    }
    if "language" in kept:
        kept["language"] = container_language(kept["language"], container)
    return kept


def is_cover(stream: Stream) -> bool:
    """Whether a track is one picture that players show for the whole file."""
    return bool(stream.disposition & Disposition.attached_pic)


def next_packet(packets: Iterator[AnyPacket]) -> AnyPacket | None:
    """The next packet; None at the end, or where a damaged file cannot be read any further: its pictures end there."""
    try:
        return next(packets, None)
    except (av.FFmpegError, IndexError):  # IndexError: see FilmDecoder
        return None


def _filled_packets(source: InputContainer) -> Iterator[AnyPacket]:
    packets = iter(source.demux())
    while (packet := next_packet(packets)) is not None:
        if packet.size:
            yield packet


def put_in_order(packet: AnyPacket, earliest: int | None) -> None:
    """Move a packet that comes before `earliest`: damaged films have stamps that run backwards; no container does."""
    known = packet.dts if packet.dts is not None else packet.pts
    dts = known if known is not None else earliest or 0
    packet.dts = dts if earliest is None else max(dts, earliest)
    packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)


def _is_time_code(stream: Stream, main: VideoStream) -> bool:
    return stream.type == "data" and "timecode" in stream.metadata and "timecode" in main.metadata


def _attach_cover(target: OutputContainer, stream: Stream, film: Film) -> None:
    """Matroska keeps cover art as an attached file, which must be there before the first packet."""
    with open_film(film.path) as again:
        picture = next((packet for packet in again.demux([again.streams[stream.index]]) if packet.size), None)
    if picture is not None:
        kind = _COVER_KINDS.get(_codec(stream), "png")
        name = stream.metadata.get("filename", f"cover.{kind}")
        target.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), bytes(picture))


def _shift(packet: AnyPacket, ticks: int) -> None:
    packet.pts = None if packet.pts is None else packet.pts - ticks
    packet.dts = None if packet.dts is None else packet.dts - ticks


def _codec(stream: Stream) -> str:
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return str(getattr(stream, "name", None) or "unknown codec")


def split_by_fit(film: Film, container: str, *, encode: bool = False) -> tuple[list[Track], list[Track]]:
    """Sort a film's tracks into those that a container format, in FFmpeg's word, can hold and those that it cannot.

    Found out by writing a file in memory with that track's first packets: the lists that FFmpeg has are not complete.
    With `encode` sound and subtitles in another codec count as held.
    """
    fitting: list[Track] = []
    others: list[Track] = []
    if film.tracks:
        with open_film(film.path) as source:
            samples = _first_packets(source, {track.index for track in film.tracks})
            for track in film.tracks:
                stream = source.streams[track.index]
                if _fits(stream, container, samples[track.index]):
                    fitting.append(track)
                elif encode and (encoder := encoder_for(stream, container)):
                    fitting.append(replace(track, encoder=encoder, mixed=_mixed(stream)))
                else:
                    others.append(track)
    return fitting, others


def _mixed(stream: Stream) -> str:
    """Say what becomes of channels that the encoded track has not; empty where it has all of them."""
    if not isinstance(stream, AudioStream):
        return ""
    layout, count = encoded_layout(stream), stream.layout.nb_channels
    return f"its {count} channels become {layout}" if AudioLayout(layout).nb_channels < count else ""


def held_by_matroska(film: Film, tracks: Sequence[Track]) -> list[Track]:
    """Which of a film's tracks Matroska can hold as they are, or encoded anew."""
    fitting, _ = split_by_fit(replace(film, tracks=tuple(tracks)), "matroska", encode=True)
    return fitting


def _first_packets(source: InputContainer, tracks: set[int]) -> dict[int, list[AnyPacket]]:
    """A few packets of each of the tracks that begins near the film's start."""
    samples: dict[int, list[AnyPacket]] = {track: [] for track in tracks}
    packets = iter(source.demux())
    for _ in range(_SAMPLED_PACKETS):
        packet = next_packet(packets)
        if packet is None or all(len(found) == _SAMPLES for found in samples.values()):
            break
        found = samples.get(packet.stream_index)
        if found is not None and packet.size and len(found) < _SAMPLES:
            found.append(packet)
    return samples


def _fits(stream: Stream, container: str, samples: Sequence[AnyPacket]) -> bool:
    if stream.type == "attachment" and container == "webm":  # FFmpeg leaves them out without a word
        return False
    if is_cover(stream) and container in {"mov", "webm"}:  # likewise
        return False
    target = av.open(io.BytesIO(), "w", format=container)
    try:
        added, _ = add_track(target, stream)
        target.start_encoding()
        earliest = None
        for packet in samples:
            put_in_order(packet, earliest)
            earliest = (packet.dts or 0) + 1
            packet.stream = added
            target.mux(packet)
        if samples:
            target.close()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        with suppress(av.FFmpegError):  # a file without packets need not be closed well
            target.close()
    return True
