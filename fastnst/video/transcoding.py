"""Sound and subtitles in another codec, where the output's file format cannot hold the source's."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol

import av
from av import AudioFrame, AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from fastnst.video.decoder import AnyPacket

SOUND_ENCODERS = {"webm": "libopus", "mp4": "aac", "mov": "aac", "matroska": "aac"}
"""FFmpeg's encoder of sound for each file format."""

TEXT_ENCODERS = {"webm": "webvtt", "mp4": "mov_text", "mov": "mov_text", "matroska": "subrip"}
"""FFmpeg's codec of subtitles for each file format."""

_TEXTS = {"mov_text", "subrip", "webvtt", "ass"}
_RATES = {"libopus": (48_000,), "aac": (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 8000)}
_BITS_PER_CHANNEL = 96_000
_GAP_S = 0.1
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
# Encoders of subtitles want a description of styles, which none of these files keeps.
_HEADER = b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name\nStyle: Default\n[Events]\nFormat: Text\n"
_ASS_FIELDS = 8
_TAGS = re.compile(r"<[^>]*>|\{\\[^}]*\}")


class Transcoder(Protocol):
    """Takes the packets of a track and gives those to be written."""

    target: Stream
    """The track in the file to be written."""

    undecodable: int
    """Packets that gave nothing."""

    def encode(self, packet: AnyPacket | None) -> Iterator[AnyPacket]:
        """Encode a packet; None: what is still held back at the end."""
        ...


def encoder_for(stream: Stream, container: str) -> str | None:
    """Name what a track is to be encoded with for a file format; None: it cannot be."""
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return SOUND_ENCODERS.get(container)
    if stream.type == "subtitle" and stream.codec_context is not None and _name(stream) in _TEXTS:
        return TEXT_ENCODERS.get(container)
    return None


def add_transcoder(target: OutputContainer, stream: Stream, encoder: str) -> Transcoder:
    """Add a track to a file to be written that will hold what `stream` holds, encoded anew."""
    if isinstance(stream, AudioStream):
        return _Sound(target, stream, encoder)
    return _Words(target, stream, encoder)


def encoded_layout(stream: AudioStream) -> str:
    """Name the channels that a track of sound is encoded with: its own up to 8, which players know, else stereo."""
    # Some files do not say which loudspeakers their channels are for.
    count, name = stream.layout.nb_channels, stream.layout.name
    return name if count in _LAYOUTS and "channels" not in name else _LAYOUTS.get(count, "stereo")


class _Sound:
    def __init__(self, target: OutputContainer, stream: AudioStream, encoder: str) -> None:
        self._decoder = stream.codec_context
        rates = _RATES[encoder]
        rate = stream.rate if stream.rate in rates else next((each for each in rates if each <= stream.rate), rates[-1])
        rate = 48_000 if encoder == "libopus" else rate
        added = target.add_stream(encoder, rate=rate, layout=encoded_layout(stream))
        assert isinstance(added, AudioStream)
        context = added.codec_context
        context.bit_rate = _BITS_PER_CHANNEL * context.layout.nb_channels
        added.time_base = context.time_base = Fraction(1, context.sample_rate)
        context.open()
        self.target: Stream = added
        self._encoder, self._rate = added, context.sample_rate
        self._resampler = AudioResampler(context.format, context.layout, context.sample_rate, context.frame_size)
        self._following: int | None = None
        self.undecodable = 0

    def encode(self, packet: AnyPacket | None) -> Iterator[AnyPacket]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:  # damaged sound is silence
            self.undecodable += 1
            return
        for frame in frames:
            yield from self._encode(self._resampler.resample(frame))
        if packet is None:
            yield from self._encode(self._resampler.resample(None))
            yield from self._encoder.encode(None)

    def _encode(self, parts: Iterable[AudioFrame]) -> Iterator[AnyPacket]:
        """Encode one after the other: stamps that overlap a little are stretched, gaps stay."""
        for part in parts:
            # The resampler leaves the source's own ticks where it has nothing else to do: Matroska's milliseconds.
            ticks_s = part.time_base or Fraction(1, self._rate)
            stamp = None if part.pts is None else round(part.pts * ticks_s * self._rate)
            following = self._following
            if following is None or (stamp is not None and stamp > following + self._rate * _GAP_S):
                following = stamp or 0
            part.pts, self._following = following, following + part.samples
            part.time_base = Fraction(1, self._rate)
            yield from self._encoder.encode(part)


class _Words:
    def __init__(self, target: OutputContainer, stream: Stream, encoder: str) -> None:
        self._from, self._to = _name(stream), encoder
        added = target.add_stream(encoder)
        assert isinstance(added, SubtitleStream)
        added.codec_context.subtitle_header = _HEADER
        self.target: Stream = added
        self.undecodable = 0

    def encode(self, packet: AnyPacket | None) -> Iterator[AnyPacket]:
        words = "" if packet is None else _plain(bytes(packet), self._from)
        if packet is None or not words:  # MP4 fills the time between with empty ones
            return
        content = words.encode()
        rewritten = av.Packet(len(content).to_bytes(2, "big") + content if self._to == "mov_text" else content)
        rewritten.stream, rewritten.time_base = self.target, packet.time_base
        rewritten.pts, rewritten.dts, rewritten.duration = packet.pts, packet.dts, packet.duration
        yield rewritten


def _plain(content: bytes, codec: str) -> str:
    """The words of a subtitle, without styles."""
    if codec == "mov_text":
        content = content[2 : 2 + int.from_bytes(content[:2], "big")]
    words = content.decode("utf-8", "replace")
    if codec == "ass":
        words = words.split(",", _ASS_FIELDS)[-1].replace(r"\N", "\n").replace(r"\n", "\n")
    return _TAGS.sub("", words).strip()


def _name(stream: Stream) -> str:
    return str(stream.codec_context.codec.canonical_name)
