"""Picture files <-> frames, uint8 (H, W, 3) RGB.

H height, W width in pixels. Sizes are (height, width). What the network does not paint but a picture file carries
(transparency, colour profile, who made it and when) travels beside the frame in a `Picture`.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fastnst.errors import InputError, OutputError
from fastnst.io.decoding import check_file, check_header, exif_to_keep, quiet_pillow, reason
from fastnst.io.files import write_atomically
from fastnst.io.pixels import to_rgb_and_alpha

Frame: TypeAlias = npt.NDArray[np.uint8]

WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Format written for each file name suffix."""

_MAX_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
    "BMP": {},
}


@dataclass(kw_only=True)
class Picture:
    """A picture as its file holds it, upright."""

    frame: Frame
    """Colours, uint8 (H, W, 3) RGB."""

    alpha: Frame | None = None
    """Opacity, uint8 (H, W), 255 opaque; None where the file has none."""

    icc_profile: bytes | None = None
    """Colour profile of the frame; None means sRGB."""

    exif: bytes | None = None
    """Author, copyright, date, camera and description."""

    format: str = "PNG"
    """Format of the file in Pillow's word: PNG, JPEG, GIF ..."""

    animated: bool = False
    """The file holds more pictures; this is the first."""


def read_picture(path: str | Path) -> Picture:
    """Read a picture file of any format and colour mode, its EXIF orientation applied.

    Raises:
        InputError: the file is missing, empty, damaged, cut short, too large or no picture.
    """
    path = Path(path)
    check_file(path)
    try:
        with quiet_pillow(), Image.open(path) as picture:
            check_header(path, picture)
            return _decode(picture)
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise InputError(f"{path}: {reason(error)}") from error


def read_frame(path: str | Path) -> Frame:
    """Read a picture file as a frame: upright, transparent parts laid over white.

    Raises:
        InputError: as `read_picture`.
    """
    picture = read_picture(path)
    return picture.frame if picture.alpha is None else over_white(picture.frame, picture.alpha)


def write_picture(path: str | Path, picture: Picture, *, overwrite: bool = True) -> None:
    """Write a picture in the format of the path's suffix; it appears only when it is whole.

    JPEG (quality 95, colours at full resolution) and BMP know no transparency: it is laid over white.

    Raises:
        OutputError: unknown suffix, a picture too large for the format, or a file that cannot be written, or without
            `overwrite` one that already exists.
    """
    path = Path(path)
    kind = format_of(path)
    height, width = picture.frame.shape[:2]
    if max(height, width) > _MAX_SIDES.get(kind, max(height, width)):
        raise OutputError(f"{path}: {kind} holds at most {_MAX_SIDES[kind]} px a side, not {width}x{height}; use .png")
    buffer = io.BytesIO()
    try:
        with quiet_pillow():
            _to_pillow(picture, kind).save(buffer, kind, **_SAVE_OPTIONS[kind], **_kept(picture, kind))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be encoded as {kind} ({error})") from error
    write_atomically(path, buffer.getvalue(), overwrite=overwrite)


def format_of(path: Path) -> str:
    """Return the format that a path's suffix stands for.

    Raises:
        OutputError: the suffix is none that fastnst writes.
    """
    kind = WRITE_FORMATS.get(path.suffix.lower())
    if kind is None:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise OutputError(f"{path}: {found}; expected one of .png .jpg .webp .tif .bmp")
    return kind


def resize_frame(frame: Frame, size: tuple[int, int]) -> Frame:
    """Resample a frame (H, W, 3), or an alpha (H, W), to size = (height, width) pixels with Lanczos' filter."""
    height, width = size
    if frame.shape[:2] == (height, width):
        return frame
    return np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def fit_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Scale size = (height, width) so that its longer side is `long_side` pixels."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def over_white(frame: Frame, alpha: Frame) -> Frame:
    """Lay a frame (H, W, 3) with opacity alpha (H, W) over white."""
    return np.array(_over_white(frame, alpha))


def _over_white(frame: Frame, alpha: Frame) -> Image.Image:
    paper = Image.new("RGB", (frame.shape[1], frame.shape[0]), "white")
    paper.paste(Image.fromarray(frame), mask=Image.fromarray(alpha))
    return paper


def _decode(picture: Image.Image) -> Picture:
    kind = picture.format or "PNG"
    # A phone's JPEG with a depth map beside it (MPO) is one picture to its owner.
    animated = kind != "MPO" and bool(getattr(picture, "is_animated", False))
    picture.load()
    profile, exif = picture.info.get("icc_profile") or None, exif_to_keep(picture)
    with suppress(Exception):  # damaged EXIF: the picture is taken as upright
        ImageOps.exif_transpose(picture, in_place=True)
    frame, alpha, profile = to_rgb_and_alpha(picture, profile)
    kind = "JPEG" if kind == "MPO" else kind
    return Picture(frame=frame, alpha=alpha, icc_profile=profile, exif=exif, format=kind, animated=animated)


def _to_pillow(picture: Picture, kind: str) -> Image.Image:
    if picture.alpha is None:
        return Image.fromarray(picture.frame)
    if kind in {"JPEG", "BMP"}:
        return _over_white(picture.frame, picture.alpha)
    return Image.fromarray(np.dstack((picture.frame, picture.alpha)))


def _kept(picture: Picture, kind: str) -> dict[str, bytes]:
    """The profile and the EXIF block as arguments of Pillow's save; BMP holds neither."""
    extras = {"icc_profile": picture.icc_profile, "exif": picture.exif}
    return {name: value for name, value in extras.items() if value and kind != "BMP"}
