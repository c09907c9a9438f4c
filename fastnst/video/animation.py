"""Animated WebP as films: FFmpeg reads their first picture only.

H height, W width in pixels.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from fastnst.errors import InputError
from fastnst.io.decoding import check_file, check_header, quiet_pillow, reason
from fastnst.video.film import Colors, Film, FilmFrame, Span

CONTAINER = "animated webp"
_TIME_BASE = Fraction(1, 1000)
# What browsers make of frames that say to be shown for no time at all.
_NO_DURATION_MS = 100


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
        container=CONTAINER,
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
