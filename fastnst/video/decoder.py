"""Opening film files and decoding their pictures, with an eye on damage."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import av
from av import Packet, VideoFrame
from av.codec import CodecContext
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from fastnst.errors import InputError
from fastnst.io.decoding import check_file
from fastnst.video.containers import MendedClock

if TYPE_CHECKING:
    AnyPacket: TypeAlias = Packet[Stream]  # generic for type checkers only
else:
    AnyPacket = Packet

# Metadata that is no UTF-8 must not keep a film from being read. PyAV 19 keeps its bytes (surrogateescape) unasked.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Formats whose header tells how long the film is. A file that ends earlier was cut short.
_TELL_DURATION = ("matroska", "avi", "flv")
_MICRO = 1_000_000
_MOST_BOXES = 1000
# FFmpeg's own decoders of these leave the opacity out.
_DECODE_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass
class FilmDamage:
    """What went wrong while a film was decoded, counted."""

    undecodable: int = 0
    """Packets that gave no picture."""

    patched: int = 0
    """Pictures of which the decoder had to guess a part."""

    unwritable: int = 0
    """Packets of sound and the like that the output's file format refused."""

    cut_short: bool = False
    """The file ends before the film does."""

    clock_jumps: int = 0
    """So often the file's clock starts again or jumps ahead; the film's runs on."""

    def __str__(self) -> str:
        words = [f"{self.undecodable} damaged packet(s) of pictures left out"] if self.undecodable else []
        words += [f"{self.patched} damaged frame(s) patched up"] if self.patched else []
        words += [f"{self.unwritable} damaged packet(s) of other tracks left out"] if self.unwritable else []
        words += ["the file ends before the film does"] if self.cut_short else []
        words += [f"the file's clock jumps {self.clock_jumps} time(s), fixed on all tracks"] if self.clock_jumps else []
        return ", ".join(words)


class DamagedError(Exception):
    """The film is damaged here, and that is not tolerated; the message says how, in a few words."""


class SeekMissedError(Exception):
    """A jump into the film did not arrive before the wanted frame."""


# What a user hands over is one film: formats that read other files, devices, or run scripts are none.
_NO_FILMS = frozenset(
    {"concat", "dash", "hls", "imf", "webm_dash_manifest"}  # lists
    | {"rtp", "rtsp", "sdp", "libcdio"}  # addresses and discs
    | {"avisynth", "lavfi", "vapoursynth"}  # scripts
    | {"alsa", "avfoundation", "decklink", "dshow", "fbdev", "gdigrab", "iec61883", "jack", "kmsgrab", "libdc1394"}
    | {"openal", "oss", "pulse", "sndio", "vfwcap", "video4linux2", "x11grab", "xcbgrab"}  # and these are devices
)
_LISTS = (b"ffconcat", b"#EXTM3U", b"<?xml", b"<MPD", b"v=0")


@cache
def _film_formats() -> str:
    """FFmpeg's formats of films that may be read, its own way of writing a list."""
    names = []
    for name in sorted(av.formats_available - _NO_FILMS):
        with suppress(ValueError):  # one that is only written
            names.append(av.ContainerFormat(name, "r").name)
    return ",".join(name for name in names if _NO_FILMS.isdisjoint(name.split(",")))


def _is_list(path: Path) -> bool:
    """Whether a file begins as lists of films do."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(16).lstrip(b"\xef\xbb\xbf").startswith(_LISTS)
    return False


@contextmanager
def open_film(path: Path) -> Iterator[InputContainer]:
    """Open a film file; errors of FFmpeg inside the block become InputError."""
    check_file(path, "film")
    try:
        # With `file:` and the lists, neither a name like `http:...` nor a playlist inside makes FFmpeg leave the file.
        allowed = {"protocol_whitelist": "file,data", "format_whitelist": _film_formats()}
        container = av.open(f"file:{path}", "r", container_options=allowed, **_LENIENT)
    except (av.FFmpegError, ValueError) as error:
        if _lacks_index(path):
            raise InputError(
                f"{path}: has no index (moov), because its recording or its copying broke off; copy it again, or let "
                "the camera fix it"
            ) from error
        if _is_list(path):
            raise InputError(f"{path}: is a list of other files, not a film; name the films themselves") from error
        raise InputError(f"{path}: not a film that can be read ({reason(error)})") from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise InputError(f"{path}: cannot be read any further ({reason(error)})") from error


def _lacks_index(path: Path) -> bool:
    """Whether a file has the pictures of an MP4 or MOV (ISO/IEC 14496-12), but not the list of where they are."""
    kinds: list[bytes] = []
    try:
        with path.open("rb") as file:
            while len(head := file.read(8)) == 8 and len(kinds) < _MOST_BOXES:
                size = int.from_bytes(head[:4], "big")
                kinds.append(head[4:])
                start = 8
                if size == 1:
                    size, start = int.from_bytes(file.read(8), "big"), 16
                if size < start:
                    break
                file.seek(size - start, io.SEEK_CUR)
    except OSError:
        return False
    return b"mdat" in kinds and b"moov" not in kinds


def _is_cut_gif(path: Path) -> bool:
    """Whether a GIF ends inside one of its blocks (GIF89a specification, section 12); FFmpeg does not tell."""
    with suppress(OSError), path.open("rb") as file:
        try:
            _skip_palette(file, at=10)
            while kind := file.read(1):
                if kind == b";":
                    return False
                if kind == b",":
                    _skip_palette(file, at=8)
                file.read(1)  # the kind of an extension, or the bits of a picture's first codes
                while size := file.read(1)[0]:
                    if len(file.read(size)) < size:
                        return True
        except IndexError:
            return True
    return False


def _skip_palette(file: IO[bytes], at: int) -> None:
    """Read a header and its palette; raises IndexError at the end of the file."""
    size = 13 if at == 10 else 9
    flags = file.read(size)[at]
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, io.SEEK_CUR)


def main_video(container: InputContainer, path: Path) -> VideoStream:
    """Return the track of pictures that players show. Raises InputError where there is none, or no decoder for it."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    if not streams:
        raise InputError(f"{path}: holds no moving pictures")
    chosen = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if chosen.codec_context is None:
        raise InputError(f"{path}: its pictures are in a codec that FFmpeg cannot decode here")
    return chosen


def seek(container: InputContainer, stream: VideoStream, ticks: int) -> None:
    """Jump to a key frame before a tick. Raises SeekMissedError where the file cannot."""
    try:
        container.seek(ticks, stream=stream)
    except av.FFmpegError as error:
        raise SeekMissedError from error


def has_alpha_aside(stream: VideoStream) -> bool:
    """Whether a track keeps its opacity as a second picture beside the first, as VP8 and VP9 do in WebM."""
    said = {key.lower(): value for key, value in stream.metadata.items()}
    return stream.codec_context.name in _DECODE_ALPHA and said.get("alpha_mode") == "1"


class FilmDecoder:
    """Decodes one track of pictures from where the container stands to the end."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        tolerate: bool,
        damage: FilmDamage,
        wanted: int | None = None,
    ) -> None:
        """Prepare; with `tolerate` it goes on after damage, counting it, and otherwise raises DamagedError.

        Damage before the tick `wanted` does not matter.
        """
        self._container, self._stream = container, stream
        self._tolerate, self._damage, self._wanted = tolerate, damage, wanted
        self._pts: int | None = None
        self._dts: int | None = None
        self._reached_s = 0.0
        self._clock = MendedClock(container, stream)
        self._context: VideoCodecContext | None = _alpha_decoder(stream) if has_alpha_aside(stream) else None

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames in the order they are shown."""
        for packet in self._clock.mend(self._packets()):
            self._damage.clock_jumps = self._clock.jumps
            if packet.stream_index == self._stream.index:
                yield from self._decode(packet)
        yield from self._decode(None)
        if self._ends_early():
            self._note_cut("the file is cut short")

    def _packets(self) -> Iterator[AnyPacket]:
        """The packets of all tracks; an error of the file format ends them like the file's end would."""
        packets = iter(self._container.demux())
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._note_cut("cannot be read any further")
                return
            except IndexError:  # PyAV 18, at the end of files in which tracks appear on the way
                return
            if packet is None:
                return
            if packet.size == 0:  # PyAV's sign to empty the decoders: done above
                continue
            if packet.pts is not None:
                self._reached_s = max(self._reached_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            yield packet

    def _decode(self, packet: AnyPacket | None) -> Iterator[VideoFrame]:
        if packet is not None and packet.dts is not None:
            self._dts = packet.dts
        try:
            frames = self._stream.decode(packet) if self._context is None else self._context.decode(packet)
        except av.FFmpegError:
            self._note("undecodable")
            return
        for frame in frames:
            self._pts = frame.pts if frame.pts is not None else self._pts
            if frame.is_corrupt:
                self._note("patched")
            yield frame

    def _note(self, kind: str) -> None:
        if self._wanted is not None and (self._pts is None or self._pts < self._wanted):
            return
        if not self._tolerate:
            raise DamagedError("damaged")
        setattr(self._damage, kind, getattr(self._damage, kind) + 1)

    def _note_cut(self, words: str) -> None:
        if not self._tolerate:
            raise DamagedError(words)
        self._damage.cut_short = True

    def _ends_early(self) -> bool:
        """Whether the index, or the header, promised more than the file held."""
        name, duration = self._container.format.name, self._container.duration
        if name == "gif":
            return _is_cut_gif(Path(self._container.name.removeprefix("file:")))
        if name.startswith("mov"):
            entries = self._stream.index_entries
            return len(entries) > 0 and self._dts is not None and self._dts < entries[len(entries) - 1].timestamp
        if name.startswith(_TELL_DURATION) and duration:
            frames_s = 3 / float(self._stream.average_rate or 25)
            return self._reached_s < duration / _MICRO - max(0.5, frames_s)
        return False


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    try:
        context = CodecContext.create(_DECODE_ALPHA[stream.codec_context.name], "r")
    except UnknownCodecError:
        return None
    assert isinstance(context, VideoCodecContext)
    context.extradata = stream.codec_context.extradata
    context.thread_count = stream.codec_context.thread_count
    return context


def reason(error: Exception) -> str:
    """Say in a few words what FFmpeg found wrong."""
    words = str(getattr(error, "strerror", None) or error or type(error).__name__)
    return words.splitlines()[0][:120]
