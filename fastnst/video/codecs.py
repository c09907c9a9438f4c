"""What encoders are called and how each is told quality and speed; sound and subtitles in another codec, where the
output's file format cannot hold the source's.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

import av
from av import AudioFrame, AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from fastnst.errors import SettingError, nearest_hint
from fastnst.video.decoder import AnyPacket

CODECS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
    "ffv1": "ffv1",
    "gif": "gif",
}
"""FFmpeg's encoder for each codec's everyday name."""

DEFAULT_CODECS = {"mp4": "h264", "mov": "h264", "matroska": "h264", "webm": "vp9", "gif": "gif"}
"""Codec for each container where the user names none."""

_X26_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
_PRORES_PRESETS = ("proxy", "lt", "standard", "hq", "4444", "4444xq")
# Lower is better. Painted films are full of fine strokes, which the encoders' own defaults blur.
_QUALITY = {"libx264": 16, "libx265": 18, "libvpx-vp9": 24, "libsvtav1": 24}
_QUALITY_RANGE = {"libx264": (0, 51), "libx265": (0, 51), "libvpx-vp9": (0, 63), "libsvtav1": (1, 63)}
# A film from a disc or a camera has as many bits for each pixel; from there down, the size follows the source's.
_GENEROUS_BITS, _STEPS_FOR_HALF, _MOST_STEPS = 0.1, 3.5, 10
# Colours finer than by default, for a sixth more bytes: flat areas then come out within 3 levels, not 6.
_CHROMA_OFFSET = "-6"
# On painted frames veryfast with trellis at 16 takes 0.4 of the time of medium at 18, for a file 19 % larger and as
# good. Without trellis, flat colours are off by a level more.
_X264_PRESET = "veryfast"
# x265, source/encoder/frameencoder: frames that are encoded side by side, for at least so many cores.
_X265_THREADS = ((32, 6), (16, 5), (8, 3), (4, 2), (0, 1))
FIXED_QUALITY = frozenset({"ffv1", "gif", "prores_ks"})
"""Encoders without a setting for quality: they lose nothing, or as much as their form of the format says."""


def find_encoder(name: str) -> str:
    """Return FFmpeg's name for a codec's everyday name; names of FFmpeg's encoders are given back.

    Raises SettingError: there is no such encoder.
    """
    encoder = CODECS.get(name, name)
    try:
        known = Codec(encoder, "w").type == "video"
    except UnknownCodecError:
        known = False
    if not known:
        raise SettingError(f"codec {name!r}: FFmpeg has no such video encoder here; {nearest_hint(name, CODECS)}")
    return encoder


def fitted_quality(name: str, bits_per_pixel: float | None) -> int | None:
    """The default quality of an encoder, by FFmpeg's name, lower for a source that is known to be compressed hard.

    Such a source has little to keep.
    """
    quality = _QUALITY.get(name)
    if quality is None or not bits_per_pixel:
        return quality
    halvings = math.log2(_GENEROUS_BITS / bits_per_pixel)
    return quality + round(min(max(_STEPS_FOR_HALF * halvings, 0), _MOST_STEPS))


def encoder_options(name: str, quality: int | None, preset: str | None) -> dict[str, str]:
    """Return an encoder's own options for a quality and a speed; None: the defaults.

    Raises SettingError: values that it does not take.
    """
    quality = _checked_quality(name, quality)
    makers: dict[str, Callable[[], dict[str, str]]] = {
        "libx264": lambda: {
            "crf": str(quality),
            "preset": _choice(name, preset or _X264_PRESET, _X26_PRESETS),
            "chromaoffset": _CHROMA_OFFSET,
            **({} if preset else {"trellis": "1"}),
        },
        "libx265": lambda: {
            "crf": str(quality),
            "preset": _choice(name, preset or "medium", _X26_PRESETS),
            "x265-params": f"log-level=none:cbqpoffs={_CHROMA_OFFSET}:crqpoffs={_CHROMA_OFFSET}",
        },
        "libvpx-vp9": lambda: {
            "crf": str(quality),
            "b": "0",
            "row-mt": "1",
            "deadline": "good",
            "cpu-used": _choice(name, preset or "4", [str(speed) for speed in range(9)]),
        },
        "libsvtav1": lambda: {
            "crf": str(quality),
            "preset": _choice(name, preset or "8", [str(speed) for speed in range(14)]),
        },
        "prores_ks": lambda: {"profile": _choice(name, preset, _PRORES_PRESETS)} if preset else {},
        "ffv1": lambda: {"level": "3", "slicecrc": "1"},
        # Each segment starts with a palette of its own, which one for the whole file would contradict.
        "gif": lambda: {"global_palette": "0"},
    }
    if name in makers:
        return makers[name]()
    return _device_options(name, quality, preset)


def _device_options(name: str, quality: int | None, preset: str | None) -> dict[str, str]:
    """Options of hardware encoders, each maker's own; other encoders take quality as `global_quality`."""
    options = {"preset": preset} if preset else {}
    if quality is None:
        return options
    level = str(quality)
    if name.endswith("_nvenc"):
        return options | {"rc": "vbr", "cq": level, "b": "0"}
    if name.endswith("_qsv"):
        return options | {"global_quality": level}
    if name.endswith("_amf"):
        return options | {"rc": "cqp", "qp_i": level, "qp_p": level, "qp_b": level}
    return options


def encoder_threads(name: str, cores: int) -> int | None:
    """How many threads an encoder takes whose frames depend on their number; None: any number gives the same.

    As many as x264 and x265 choose for so many cores. Said to them, so that a stopped film can go on with as many.
    """
    if name == "libx264":
        return max(1, cores * 3 // 2)
    if name == "libx265":
        return next(threads for least, threads in _X265_THREADS if cores >= least)
    return None


def takes_qscale(name: str) -> bool:
    """Whether quality is said to this encoder by FFmpeg's common scale, not by an option of its own."""
    own = (*_QUALITY, *FIXED_QUALITY)
    return name not in own and not name.endswith(("_nvenc", "_qsv", "_amf"))


def _checked_quality(name: str, quality: int | None) -> int | None:
    if quality is None:
        return _QUALITY.get(name)
    if name in FIXED_QUALITY:
        raise SettingError(f"--crf {quality}: {name} has no such setting; leave it out")
    low, high = _QUALITY_RANGE.get(name, (0, 100))
    if not low <= quality <= high:
        raise SettingError(f"--crf {quality}: {name} takes {low} (best) to {high}")
    return quality


def _choice(name: str, preset: str, choices: Sequence[str]) -> str:
    if preset not in choices:
        raise SettingError(f"encoder speed {preset!r}: {name} has {', '.join(choices)}")
    return preset


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


def encoder_for(stream: Stream, container: str) -> str | None:
    """Name what a track is to be encoded with for a file format; None: it cannot be."""
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return SOUND_ENCODERS.get(container)
    if stream.type == "subtitle" and stream.codec_context is not None and _name(stream) in _TEXTS:
        return TEXT_ENCODERS.get(container)
    return None


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


Transcoder: TypeAlias = _Sound | _Words
"""Takes the packets of a track, with None what is held back at the end, and gives those to be written to its `target`.

It counts the packets that gave nothing, `undecodable`.
"""


def add_transcoder(target: OutputContainer, stream: Stream, encoder: str) -> Transcoder:
    """Add a track to a file to be written that will hold what `stream` holds, encoded anew."""
    if isinstance(stream, AudioStream):
        return _Sound(target, stream, encoder)
    return _Words(target, stream, encoder)


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
