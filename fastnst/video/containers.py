"""Where containers and PyAV fall short: clocks that jump, as in recordings that were joined and streams that broke off
and began again; languages by their codes; and, in Matroska, the pixels' aspect and odd sound.

Times are seconds, as Fractions. Codes of languages are those of ISO 639-2; what a container cannot name is said. The
head of a finished Matroska file is changed in place (RFC 9559). Room for it is made beforehand by a longer name of the
track.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.format import Flags
from av.stream import Stream
from av.video.stream import VideoStream

from fastnst.video.film import Track

if TYPE_CHECKING:
    from fastnst.video.decoder import AnyPacket

# FFmpeg's own limits (fftools/ffmpeg_demux.c): dts_delta_threshold, and the tenth of a second that it grants stamps.
_FORWARD_S = Fraction(10)
_BACKWARD_S = Fraction(1, 10)
# And dts_error_threshold, for formats whose clock does not begin anew.
_ABSURD_S = Fraction(30 * 3600)
# Stamps of one recording lie this close together in the file, whatever their tracks.
_TOGETHER_S = Fraction(5)
_MOST_WAITING = 500


@dataclass
class _Part:
    """A stretch of the film in which the file's clock runs on."""

    shift_s: Fraction
    """What to add to the file's stamps."""

    latest_s: Fraction
    """What the file's clock showed last."""


@dataclass
class _Pace:
    """How far a track is."""

    part: int
    following_s: Fraction
    """What the file's clock should show at the next packet."""


class MendedClock:
    """Makes the stamps of all tracks run on over every jump of the file's clock.

    The pictures say by how much the clock jumps, and the other tracks follow, so that sound and pictures stay together.
    """

    def __init__(self, container: InputContainer, main: VideoStream) -> None:
        """Prepare for a film that is read from its start; `main` is its pictures."""
        # Other formats have no clock that can begin anew: what looks like it there is a gap, or damage; but not days.
        joinable: Any = Flags.ts_discont.value  # PyAV's type hints say otherwise
        self._joinable = bool(container.format.flags & joinable)
        self._forward_s = _FORWARD_S if self._joinable else _ABSURD_S
        self._main = main.index
        self._frame_s = 1 / (main.average_rate or Fraction(25))
        self._parts: list[_Part] = []
        self._paces: dict[int, _Pace] = {}
        self._delays_s: dict[int, Fraction] = {}

    @property
    def jumps(self) -> int:
        """How often the clock jumped so far."""
        return max(0, len(self._parts) - 1)

    def mend(self, packets: "Iterable[AnyPacket]") -> "Iterator[AnyPacket]":
        """Give the packets of all tracks, in the order of the file, with mended stamps."""
        waiting: list[AnyPacket] = []
        for packet in packets:
            waiting.append(packet)
            # Sound may jump first; by how much the film does, the pictures will say.
            open_question = any(self._departs(each) for each in waiting)
            decided = packet.stream_index == self._main and self._departs(packet)
            if not open_question or decided or len(waiting) == _MOST_WAITING:
                yield from self._settle(waiting)
                waiting = []
        yield from self._settle(waiting)

    def _settle(self, waiting: "list[AnyPacket]") -> "list[AnyPacket]":
        for packet in sorted(waiting, key=lambda each: each.stream_index != self._main):
            self._repair_seam(packet)
            ticks = round(self._shift_s(packet) / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return waiting

    def _repair_seam(self, packet: "AnyPacket") -> None:
        """FFmpeg's readers show the last picture before a jump by the clock after it: give it the usual delay."""
        if packet.pts is None or packet.dts is None or not self._joinable:
            return
        delay_s = (packet.pts - packet.dts) * packet.time_base
        if 0 <= delay_s <= _TOGETHER_S:
            self._delays_s[packet.stream_index] = delay_s
        else:
            usual_s = self._delays_s.get(packet.stream_index, Fraction(0))
            packet.pts = packet.dts + round(usual_s / packet.time_base)

    def _shift_s(self, packet: "AnyPacket") -> Fraction:
        at_s, index = _stamp_s(packet), packet.stream_index
        if at_s is None:
            return self._parts[self._paces[index].part].shift_s if index in self._paces else Fraction(0)
        if not self._parts:
            self._parts.append(_Part(Fraction(0), at_s))
        if not _is_steady(packet):  # words come seldom
            return self._parts[self._latest_near(at_s, len(self._parts) - 1)].shift_s
        part = self._part(packet, at_s)
        length_s = packet.duration * packet.time_base if packet.duration else self._frame_s
        if length_s > self._forward_s:
            length_s = self._frame_s
            packet.duration = round(length_s / packet.time_base)
        self._paces[index] = _Pace(part, at_s + length_s)
        self._parts[part].latest_s = at_s
        return self._parts[part].shift_s

    def _part(self, packet: "AnyPacket", at_s: Fraction) -> int:
        pace = self._paces.get(packet.stream_index)
        if pace is None:
            return self._latest_near(at_s, len(self._parts) - 1)
        if not self._departs(packet):
            return pace.part
        later = [part for part in range(pace.part + 1, len(self._parts)) if self._near(at_s, part)]
        if later:
            return later[0]
        if packet.stream_index != self._main and self._near(at_s, pace.part):  # muddled, but of this part
            return pace.part
        self._parts.append(_Part(pace.following_s + self._parts[pace.part].shift_s - at_s, at_s))
        return len(self._parts) - 1

    def _departs(self, packet: "AnyPacket") -> bool:
        """Whether a packet does not go on where its track stopped, nor where the others are after a gap in its own."""
        at_s, pace = _stamp_s(packet), self._paces.get(packet.stream_index)
        if at_s is None or pace is None or not _is_steady(packet):
            return False
        ahead_s = at_s - pace.following_s
        if ahead_s < -_BACKWARD_S:
            return self._joinable
        return ahead_s > self._forward_s and not self._near(at_s, pace.part)

    def _near(self, at_s: Fraction, part: int) -> bool:
        return abs(at_s - self._parts[part].latest_s) <= _TOGETHER_S

    def _latest_near(self, at_s: Fraction, otherwise: int) -> int:
        return next((part for part in reversed(range(len(self._parts))) if self._near(at_s, part)), otherwise)


def _stamp_s(packet: "AnyPacket") -> Fraction | None:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None or packet.time_base is None else ticks * packet.time_base


def _is_steady(packet: "AnyPacket") -> bool:
    """Whether the packets of this track follow one another without gaps."""
    return packet.stream.type in {"video", "audio"}


# Names of languages that QuickTime's writer in FFmpeg knows by another code of ISO 639-2, or by one of its own; under
# the usual ones it would leave the language out.
_QUICKTIME_LANGUAGES = {
    **{"sqi": "alb", "hye": "arm", "eus": "baq", "bod": "tib", "mya": "bur", "zho": "chi", "cze": "ces", "nld": "dut"},
    **{"kat": "geo", "deu": "ger", "ell": "gre", "isl": "ice", "mkd": "mac", "msa": "may", "fas": "per", "rum": "ron"},
    **{"slo": "slk", "cym": "wel", "fre": "fra", "nob": "nor", "nno": "nor", "swe": "sve", "hrv": "hr ", "srp": "sr "},
    **{"fao": "fo ", "gle": "iri", "pan": "pa "},
}
_USUAL_LANGUAGES = {"sve": "swe", "hr ": "hrv", "sr ": "srp", "fo ": "fao", "iri": "gle", "pa ": "pan"}
# Of these, QuickTime's code says less than the film's.
_BROADER = {"nob": "nor", "nno": "nor"}
_UNSAID = {"", "und"}
_RATE = 8000


def container_language(language: str, container: str) -> str:
    """The code under which a container's writer knows a language."""
    languages = _QUICKTIME_LANGUAGES if container == "mov" else _USUAL_LANGUAGES
    return languages.get(language, language)


def language_notes(tracks: Sequence[Track], container: str, suffix: str) -> Iterator[str]:
    """Say of which tracks a container (FFmpeg's word) cannot name the language, or only one that includes it."""
    spoken = [track for track in tracks if track.kind in {"audio", "subtitle", "video"}]
    lost = [track for track in spoken if not _holds(track.language, container)]
    if lost:
        yield f"{suffix} cannot name the language of {', '.join(map(str, lost))}; it is left out, and .mkv keeps it"
    for language, broader in _BROADER.items() if container == "mov" else ():
        if found := [track for track in spoken if track.language == language]:
            yield f"{suffix} has no {language}; stored as {broader}: {', '.join(map(str, found))}"


@cache
def _holds(language: str, container: str) -> bool:
    """Found out by writing a file in memory: FFmpeg does not tell which languages it knows."""
    if language in _UNSAID or container not in {"mov", "mp4"}:
        return True
    written = io.BytesIO()
    with av.open(written, "w", format=container) as target:
        sound = target.add_stream("aac", rate=_RATE, layout="mono")
        sound.metadata["language"] = container_language(language, container)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = _RATE
        target.mux([*sound.encode(silence), *sound.encode(None)])
    written.seek(0)
    with av.open(written) as again:
        return (again.streams[0].language or "") not in _UNSAID


_SEGMENT, _CLUSTER, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_CRC, _VOID, _NAME, _CODEC_ID, _CODEC_PRIVATE = 0xBF, 0xEC, 0x536E, 0x86, 0x63A2
_VIDEO, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0xE0, 0x54B0, 0x54BA, 0x54B2
_AUDIO, _BIT_DEPTH = 0xE1, 0x6264
# Enough for what is added beside a sound's description.
_ROOM = 64
_MOST_ENLARGED = 4


@dataclass(frozen=True, kw_only=True)
class TrackChange:
    """What is to be said of a track."""

    title: str
    """Its name, which was lengthened by `make_room`."""

    display: tuple[int, int] | None = None
    """Height and width in which players show its pictures."""

    sound: bytes = b""
    """What its packets are, as Windows describes it (WAVEFORMATEX); empty: as the writer said."""


def make_room(stream: Stream, change: TrackChange) -> None:
    """Lengthen the name of a track that will be changed; before the file is begun."""
    stream.metadata["title"] = change.title + " " * (_ROOM + len(change.sound))


def change_tracks(path: Path, changes: Mapping[int, TrackChange]) -> None:
    """Change what a finished file says of its tracks, by their places in it. Raises OSError, ValueError."""
    with path.open("r+b") as file:
        start, size = _find_tracks(file)
        file.seek(start)
        content = file.read(size)
        tracks, place = b"", 0
        for number, payload in _elements(content):
            if number == _TRACK:
                payload = _changed(payload, changes[place]) if place in changes else payload  # noqa: PLW2901
                place += 1
            if number != _CRC:
                tracks += _element(number, payload)
        filled = _filled(tracks, size - 6)
        file.seek(start)
        file.write(_element(_CRC, zlib.crc32(filled).to_bytes(4, "little")) + filled)


def display_size(size: tuple[int, int], pixel_aspect: Fraction) -> tuple[int, int]:
    """Height and width in which pictures of a size are shown whose pixels are not square.

    Whole numbers that say the ratio exactly, if there are some not much larger than the pictures.
    """
    height, width = size
    for times in range(1, _MOST_ENLARGED + 1):
        wide = width * pixel_aspect * times
        if wide.denominator == 1:
            return height * times, int(wide)
    return height, max(1, round(width * pixel_aspect))


def sound_description(stream: Stream) -> bytes:
    """Describe a track of sound as Windows does (WAVEFORMATEX), which FFmpeg writes into WAV files.

    Raises what PyAV raises where Windows has no number for its codec.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as wav:
        wav.add_stream_from_template(stream, opaque=True)
        wav.start_encoding()
    content = file.getvalue()
    start = content.index(b"fmt ") + 8
    return content[start : start + int.from_bytes(content[start - 4 : start], "little")]


def _find_tracks(file: BinaryIO) -> tuple[int, int]:
    """Where the list of tracks begins and how long it is, in bytes."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    while file.tell() < end:
        number, size = _head(file)
        if number == _TRACKS:
            return file.tell(), size
        if number == _CLUSTER:
            break
        if number != _SEGMENT:
            file.seek(size, io.SEEK_CUR)
    raise ValueError("its head has no list of tracks")


def _changed(track: bytes, change: TrackChange) -> bytes:
    entries = b""
    for number, payload in _elements(track):
        if number == _NAME:
            entries += _element(_NAME, change.title.encode()) if change.title else b""
        elif number == _CODEC_ID and change.sound:
            entries += _element(_CODEC_ID, b"A_MS/ACM") + _element(_CODEC_PRIVATE, change.sound)
        elif number == _CODEC_PRIVATE and change.sound:
            continue
        elif number == _VIDEO and change.display is not None:
            entries += _element(_VIDEO, _shown_as(payload, change.display))
        elif number == _AUDIO and change.sound:
            kept = [each for each in _elements(payload) if each[0] != _BIT_DEPTH]
            entries += _element(_AUDIO, b"".join(_element(*each) for each in kept))
        else:
            entries += _element(number, payload)
    return entries


def _shown_as(video: bytes, display: tuple[int, int]) -> bytes:
    stale = {_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT}
    kept = b"".join(_element(*each) for each in _elements(video) if each[0] not in stale)
    height, width = (
        _element(number, side.to_bytes(4, "big"))
        for number, side in ((_DISPLAY_HEIGHT, display[0]), (_DISPLAY_WIDTH, display[1]))
    )
    return kept + width + height


def _filled(content: bytes, size: int) -> bytes:
    """Fill up with an empty element to a size in bytes."""
    room = size - len(content)
    if room == 0:
        return content
    if room < 2:
        raise ValueError("its list of tracks has no room")
    head = 1 + (1 if room < 128 else 8)
    return content + _VOID.to_bytes(1, "big") + _coded_size(room - head, head - 1) + bytes(room - head)


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    file = io.BytesIO(content)
    while file.tell() < len(content):
        number, size = _head(file)
        yield number, file.read(size)


def _head(file: BinaryIO) -> tuple[int, int]:
    """Read an element's number and the size of what it holds, bytes."""
    first = file.read(1)
    if not first or not first[0]:
        raise ValueError("its head is damaged")
    number = int.from_bytes(first + file.read(8 - first[0].bit_length()), "big")
    first = file.read(1)
    if not first or not first[0]:
        raise ValueError("its head is damaged")
    length = 9 - first[0].bit_length()
    coded = int.from_bytes(first + file.read(length - 1), "big")
    return number, coded - (1 << 7 * length)


def _element(number: int, payload: bytes) -> bytes:
    length = next(length for length in range(1, 9) if len(payload) < (1 << 7 * length) - 1)
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + _coded_size(len(payload), length) + payload


def _coded_size(size: int, length: int) -> bytes:
    return (size | 1 << 7 * length).to_bytes(length, "big")
