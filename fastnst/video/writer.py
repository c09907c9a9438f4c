"""Encoding painted frames into segments, in a folder that outlives the process.

A segment is a run of encoded frames on disk, made by an encoder of its own, so that none needs another to be decoded.
The file: a mark, the frames (head and data), the extradata, a foot with counts and a checksum. Written front to back,
because some encoders know their extradata only at the end.
"""

import itertools
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import av
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from fastnst.errors import OutputError
from fastnst.inference.steadying import Past, load_past, save_past
from fastnst.video.color import FromRgb, ToPalette
from fastnst.video.decoder import reason
from fastnst.video.encoder import ALPHA_DATA, SEGMENT_FRAMES, Encoding, open_encoder
from fastnst.video.film import FilmFrame, MarkFields
from fastnst.video.job import JobFolder, SharedFolder, writing

_MARK = b"fastnst segment 1\n"
_HEAD = struct.Struct("<qqIB")
_IS_KEY, _HAS_ALPHA = 1, 2
_SIZE = struct.Struct("<I")
_FOOT = struct.Struct("<III")
_CHUNK = 1 << 20

SEGMENT_SECONDS = 20.0
"""Of work, after which a segment is finished though it has room for more frames."""


class EncodedFrame(NamedTuple):
    """One frame as an encoder gave it; times are ticks of the encoder."""

    pts: int
    """When it is shown."""

    duration: int
    is_key: bool
    data: bytes
    alpha: bytes = b""
    """What WebM keeps beside a picture: its opacity, encoded."""


@dataclass(frozen=True)
class Segment:
    """A finished run of encoded frames."""

    path: Path
    extradata: bytes
    """What a decoder needs to start."""

    pts: tuple[int, ...]
    """When its frames are shown, in the order in which they are decoded."""

    durations: tuple[int, ...]
    """How long each of them is shown."""

    def frames(self) -> Iterator[EncodedFrame]:
        """Read the frames in the order in which they are decoded, one at a time."""
        with self.path.open("rb") as file:
            file.seek(len(_MARK))
            for _ in self.pts:
                yield _read_frame(file)


class SegmentWriter:
    """Writes one segment; it counts only after `finish`."""

    def __init__(self, path: Path) -> None:
        """Start the segment that will be at `path`. Raises OSError."""
        self._path, self._part = path, path.with_suffix(".part")
        self._file: IO[bytes] = self._part.open("wb")
        self._checksum = 0
        self._pts: list[int] = []
        self._durations: list[int] = []
        try:
            self._write(_MARK)
        except OSError:
            self.abandon()
            raise

    def add(self, frame: EncodedFrame) -> None:
        """Add a frame. Raises OSError."""
        content = _SIZE.pack(len(frame.alpha)) + frame.alpha + frame.data if frame.alpha else frame.data
        flags = (_IS_KEY if frame.is_key else 0) | (_HAS_ALPHA if frame.alpha else 0)
        self._write(_HEAD.pack(frame.pts, frame.duration, len(content), flags))
        self._write(content)
        self._pts.append(frame.pts)
        self._durations.append(frame.duration)

    def finish(self, extradata: bytes) -> Segment:
        """Make the segment whole. Raises OSError."""
        self._write(extradata)
        self._file.write(_FOOT.pack(len(self._pts), len(extradata), self._checksum))
        self._file.close()
        self._part.replace(self._path)
        return Segment(self._path, extradata, tuple(self._pts), tuple(self._durations))

    def abandon(self) -> None:
        """Drop the segment."""
        with suppress(OSError):  # what is dropped need not be written out
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._checksum = zlib.crc32(content, self._checksum)


def load_segment(path: Path) -> Segment | None:
    """Load a segment that an earlier run finished; None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            return _load(path, file)
    except (OSError, EOFError, struct.error):
        return None


def _load(path: Path, file: IO[bytes]) -> Segment | None:
    body = path.stat().st_size - _FOOT.size
    file.seek(max(body, 0))
    count, extra_size, checksum = _FOOT.unpack(file.read())
    file.seek(0)
    found = 0
    for start in range(0, body, _CHUNK):
        found = zlib.crc32(_read(file, min(_CHUNK, body - start)), found)
    if found != checksum:
        return None
    file.seek(len(_MARK))
    heads = [_read_frame(file)[:2] for _ in range(count)]
    extradata = _read(file, extra_size)
    return Segment(path, extradata, tuple(pts for pts, _ in heads), tuple(duration for _, duration in heads))


def _read_frame(file: IO[bytes]) -> EncodedFrame:
    pts, duration, size, flags = _HEAD.unpack(_read(file, _HEAD.size))
    content, alpha = _read(file, size), b""
    if flags & _HAS_ALPHA:
        end = _SIZE.size + _SIZE.unpack_from(content)[0]
        content, alpha = content[end:], content[_SIZE.size : end]
    return EncodedFrame(pts, duration, bool(flags & _IS_KEY), content, alpha)


def _read(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError
    return content


class SegmentedEncoder:
    """Encodes frames into a job's folder, `SEGMENT_FRAMES` to a segment; begins after what an earlier run left.

    Where painting is slow, a segment ends after `SEGMENT_SECONDS`: an interruption costs no more.
    """

    def __init__(
        self, job: JobFolder | SharedFolder, encoding: Encoding, *, held: bool = False, first: int = 0
    ) -> None:
        """Load what there is; `first` is the number of the first segment, those before are somebody else's.

        Where frames are `held` to those before, what the first frame of the next segment depends on is kept.
        """
        self._job, self._encoding, self._first, self._held = job, encoding, first, held
        palette = encoding.pixel_format == "pal8"
        self._convert = ToPalette(encoding.size) if palette else FromRgb(encoding.pixel_format, encoding.colors)
        self._mark = MarkFields(encoding) if encoding.fields else None
        self.segments = list(self._load())
        """Finished segments, in order."""

        self.past: Past | None = None
        """What the next frame depends on, where frames are held."""

        while held and self.segments and self.past is None:
            self.past = load_past(self._past_path(len(self.segments) - 1))
            if self.past is None:
                self.segments.pop()
        self._open: tuple[VideoCodecContext, SegmentWriter] | None = None
        self._durations: dict[int, int] = {}
        self._began_s = time.monotonic()
        job.keep = bool(self.segments)

    @property
    def done(self) -> int:
        """Frames in finished segments."""
        return sum(len(segment.pts) for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes that finished segments take."""
        return sum(segment.path.stat().st_size for segment in self.segments)

    @property
    def last_pts(self) -> int | None:
        """When the last of them is shown, ticks."""
        return max(self.segments[-1].pts) if self.segments else None

    def write(self, painted: FilmFrame) -> None:
        """Encode a frame. Raises OutputError: no space, or an encoder that gives up."""
        coded = self._convert(painted.frame, painted.alpha)
        coded = coded if self._mark is None else self._mark(coded)
        coded.pts, coded.time_base, coded.duration = painted.pts, self._encoding.time_base, painted.duration
        self._durations[painted.pts] = painted.duration
        self.past = painted.past
        with self._errors():
            if self._open is None:
                self._open = open_encoder(self._encoding), SegmentWriter(self._path(len(self.segments)))
                self._began_s = time.monotonic()
            _encode(*self._open, coded, self._durations)
        if len(self._durations) == SEGMENT_FRAMES or self._takes_long():
            self.finish()

    def _takes_long(self) -> bool:
        """Whether the segment at hand holds so many seconds of work that these should be kept."""
        return len(self._durations) > 1 and time.monotonic() - self._began_s > SEGMENT_SECONDS

    def finish(self) -> None:
        """Make the segment at hand whole. Raises OutputError."""
        if self._open is None:
            return
        context, writer = self._open
        if self.past is not None and self._held:
            save_past(self._past_path(len(self.segments)), self.past)
        with self._errors():
            _encode(context, writer, None, self._durations)
            segment = writer.finish(context.extradata or b"")
        if len(segment.pts) != len(self._durations):
            raise OutputError(f"{self._job.output}: {self._encoding.encoder} left out frames; choose another --codec")
        self._past_path(len(self.segments) - 1).unlink(missing_ok=True)
        self.segments.append(segment)
        self._job.keep = True
        self._open, self._durations = None, {}

    def abandon(self) -> None:
        """Drop the segment at hand."""
        if self._open is not None:
            self._open[1].abandon()
            self._open = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with writing(self._job.output):
            try:
                yield
            except av.FFmpegError as error:
                words = f"{self._job.output}: {self._encoding.encoder} failed ({reason(error)})"
                raise OutputError(words) from error

    def _load(self) -> Iterator[Segment]:
        for number in itertools.count() if self._job.resumed else ():
            segment = load_segment(self._path(number))
            if segment is None:
                return
            yield segment

    def _path(self, number: int) -> Path:
        return self._job.folder / segment_name(self._first + number)

    def _past_path(self, number: int) -> Path:
        return self._path(number).with_suffix(".npz")


def segment_name(number: int) -> str:
    """The name of a segment's file, by its place in the film."""
    return f"{number:06d}.segment"


def _encode(
    context: VideoCodecContext, writer: SegmentWriter, coded: VideoFrame | None, durations: dict[int, int]
) -> None:
    """Encode one frame, or with None what the encoder still holds back."""
    for packet in context.encode(coded):
        pts = packet.pts or 0
        alpha = bytes(packet.get_sidedata(ALPHA_DATA)) if packet.has_sidedata(ALPHA_DATA) else b""
        writer.add(EncodedFrame(pts, durations.get(pts, 0), packet.is_keyframe, bytes(packet), alpha))
