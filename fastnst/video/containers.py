"""Which tracks a container format can hold, found out by writing their first packets."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import av
from av.container import InputContainer
from av.stream import Stream

from fastnst.video.decoder import AnyPacket, open_film
from fastnst.video.film import Film, Track
from fastnst.video.tracks import add_track, is_cover, next_packet, put_in_order
from fastnst.video.transcoding import encoder_for

_SAMPLED_PACKETS, _SAMPLES = 500, 3


def split_by_fit(film: Film, container: str, *, encode: bool = False) -> tuple[list[Track], list[Track]]:
    """Sort a film's tracks into those that a container format can hold and those that it cannot.

    Found out by writing a file in memory with that track's first packets: the lists that FFmpeg has are not complete.

    Args:
        film: from `probe`.
        container: FFmpeg's word: mp4, mov, matroska, webm, gif.
        encode: sound and subtitles in another codec count as held.
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
                    fitting.append(replace(track, encoder=encoder))
                else:
                    others.append(track)
    return fitting, others


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
