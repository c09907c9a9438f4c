"""Films that FFmpeg does not read: numbered pictures in a folder, and animated WebP.

H height, W width in pixels.
"""

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from fastnst.errors import InputError, OutputError
from fastnst.io.decoding import check_file, check_header, quiet_pillow, reason
from fastnst.io.files import move_exclusively
from fastnst.io.folders import READ_SUFFIXES
from fastnst.io.images import Picture, format_of, read_picture, signed, write_picture
from fastnst.video.film import Colors, Film, FilmFrame, Span
from fastnst.video.job import JobFolder, writing

_FILM_TOO = {".gif", ".apng"}
_PLACE = re.compile(r"%(0?\d{0,2})d")  # no name of a file has more than 255 letters


ANIMATED_WEBP = "animated webp"
_TIME_BASE = Fraction(1, 1000)
# What browsers make of frames that say to be shown for no time at all.
_NO_DURATION_MS = 100


def is_pattern(path: Path) -> bool:
    """Whether a path means picture files and has a place for their number, such as `frames/%04d.png`."""
    return _PLACE.search(path.name) is not None and path.suffix.lower() in READ_SUFFIXES - _FILM_TOO


def find_frames(source: Path) -> list[Path]:
    """List the frames of a folder or a pattern by their numbers: 2.png comes before 10.png.

    Raises InputError: there are none.
    """
    if source.is_dir():
        found = [path for path in source.iterdir() if path.suffix.lower() in READ_SUFFIXES and path.name[0] != "."]
        frames = sorted(found, key=_natural_order)
    else:
        before, _, after = _PLACE.split(source.name, maxsplit=1)
        numbered = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
        names = source.parent.iterdir() if source.parent.is_dir() else ()
        matches = [(match, path) for path in names if (match := numbered.fullmatch(path.name))]
        frames = [path for match, path in sorted(matches, key=lambda pair: int(pair[0][1]))]
    if not frames:
        raise InputError(f"{source}: no picture files there; expected frames such as 0001.png")
    return frames


def describe_frames(source: Path, rate: Fraction) -> Film:
    """Describe picture files as a film of `rate` frames a second. Raises InputError."""
    frames = find_frames(source)
    first = read_picture(frames[0])
    height, width = first.frame.shape[:2]
    pixel_format = "rgb24" if first.alpha is None else "rgba"
    return Film(
        path=source,
        size=(height, width),
        pixel_format=pixel_format,
        time_base=1 / rate,
        rate=rate,
        colors=Colors(0, True, 1, 13),  # sRGB
        frames=len(frames),
        container="frames",
    )


def read_frame_files(film: Film, span: Span, done: int = 0) -> Iterator[FilmFrame]:
    """Read the frames of a span after its first `done`. Raises InputError for a damaged one or another size."""
    wanted = [(number, path) for number, path in enumerate(find_frames(film.path)) if number in span]
    for number, path in wanted[done:]:
        picture = read_picture(path)
        if picture.frame.shape[:2] != film.size:
            (height, width), (first_height, first_width) = picture.frame.shape[:2], film.size
            raise InputError(
                f"{path}: has {width}x{height} pixels, and the first frame {first_width}x{first_height}; "
                "expected frames of one size"
            )
        yield FilmFrame(picture.frame, number, 1, picture.alpha)


class FrameFileWriter:
    """Writes frames as picture files into a job's folder, and gives them their names when all are there."""

    def __init__(self, job: JobFolder, pattern: Path, words: str) -> None:
        """Count what an earlier run left of files such as `frames/%04d.png`, whose EXIF blocks hold the words."""
        format_of(pattern)
        self._job, self._pattern, self._words = job, pattern, words
        self.past = None
        """Frames that are held start anew."""

        self.done = 0
        """Frames that are written."""

        while job.resumed and self._path(self.done).exists():
            self.done += 1
        job.keep = self.done > 0

    @property
    def size(self) -> int:
        """Bytes that are written; not counted for picture files."""
        return 0

    @property
    def last_pts(self) -> int | None:
        """Frames are counted here, not timed."""
        return None

    def finish(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Nothing is left half-way."""

    def write(self, painted: FilmFrame) -> None:
        """Write a frame. Raises OutputError."""
        write_picture(self._path(self.done), signed(Picture(frame=painted.frame, alpha=painted.alpha), self._words))
        self.done += 1
        self._job.keep = True

    def publish(self, *, overwrite: bool) -> None:
        """Give the frames their names, numbered from 1; all or none where one is taken and `overwrite` is not set.

        Raises OutputError.
        """
        names = {self._path(number): numbered_name(self._pattern, number + 1) for number in range(self.done)}
        taken = None if overwrite else next(filter(os.path.lexists, names.values()), None)
        if taken is not None:
            raise OutputError(f"{taken}: already exists; --overwrite replaces it")
        with writing(self._pattern):
            self._pattern.parent.mkdir(parents=True, exist_ok=True)
            for painted, name in names.items():
                if overwrite:
                    painted.replace(name)
                else:
                    move_exclusively(painted, name)
        self._job.keep = False

    def _path(self, number: int) -> Path:
        return self._job.folder / f"{number + 1:09d}{self._pattern.suffix}"


def numbered_name(pattern: Path, number: int) -> Path:
    """Put a number into a pattern: `frames/%04d.png`, 7 -> `frames/0007.png`."""
    return pattern.with_name(_PLACE.sub(lambda place: place[0] % number, pattern.name, count=1))


def _natural_order(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def is_animated_webp(path: Path) -> bool:
    """Whether a file is a WebP with more than one picture."""
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False
    animated = 2  # bit of the flags, "WebP Container Specification", extended file format
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & animated)


def describe_animation(path: Path) -> Film:
    """Describe an animated WebP as a film; decodes all of it. Raises InputError."""
    frames = list(_read(path))
    if not frames:
        raise InputError(f"{path}: is damaged, not one frame of it can be decoded")
    height, width = frames[0].frame.shape[:2]
    end = frames[-1].pts + frames[-1].duration
    return Film(
        path=path,
        size=(height, width),
        pixel_format="rgb24" if all(frame.alpha is None for frame in frames) else "rgba",
        time_base=_TIME_BASE,
        rate=len(frames) / (end * _TIME_BASE),
        colors=Colors(0, True, 1, 13),  # sRGB
        frames=len(frames),
        end=end,
        container=ANIMATED_WEBP,
    )


def read_animation(film: Film, span: Span, done: int = 0) -> Iterator[FilmFrame]:
    """Read the frames of a span after its first `done`. Raises InputError for damage."""
    yield from islice((frame for frame in _read(film.path) if frame.pts in span), done, None)


def _read(path: Path) -> Iterator[FilmFrame]:
    check_file(path, "film")
    pts = 0
    try:
        with quiet_pillow(), Image.open(path) as animation:
            check_header(path, animation)
            for picture in ImageSequence.Iterator(animation):
                pixels = np.array(picture.convert("RGBA"))
                duration = int(picture.info.get("duration") or _NO_DURATION_MS)
                opaque = picture.mode != "RGBA"
                colors = np.ascontiguousarray(pixels[..., :3])
                yield FilmFrame(colors, pts, duration, None if opaque else np.ascontiguousarray(pixels[..., 3]))
                pts += duration
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise InputError(f"{path}: {reason(error)}") from error
