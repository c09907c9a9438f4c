"""Runs of encoded frames on disk, each made by an encoder of its own, so that none needs another to be decoded.

The file: a mark, the frames (head and data), the extradata, a foot with counts and a checksum. Written front to back,
because some encoders know their extradata only at the end.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

_MARK = b"fastnst segment 1\n"
_HEAD = struct.Struct("<qqIB")
_IS_KEY, _HAS_ALPHA = 1, 2
_SIZE = struct.Struct("<I")
_FOOT = struct.Struct("<III")
_CHUNK = 1 << 20


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
