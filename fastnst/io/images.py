"""Picture files <-> frames, uint8 (H, W, 3) RGB.

H height, W width in pixels. Sizes are (height, width). What the network does not paint but a picture file carries
(transparency, colour profile, who made it and when) travels beside the frame in a `Picture`.
"""

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from fastnst.errors import InputError, OutputError
from fastnst.io.decoding import (
    check_claim,
    check_file,
    check_header,
    check_size,
    color_codes,
    exif_to_keep,
    load_extra_reader,
    open_without_end,
    quiet_pillow,
    reason,
    resolution,
    unread_variant,
)
from fastnst.io.files import write_atomically
from fastnst.io.formats import (
    PngHeader,
    Source,
    check_not_raw,
    mend_transparent_color,
    open_deep_tiff,
    read_png_header,
    sixteen_bits,
    without_damaged_additions,
)
from fastnst.io.pixels import BT2020, HLG, PQ, fill_hidden, is_known, is_srgb, to_rgb_and_alpha, to_srgb
from fastnst.machine import installed_version

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

_SOFTWARE = 0x000B
"""EXIF's ProcessingSoftware."""

_MAX_WORDS = 4000
"""Characters of it: a JPEG file holds 65,533 bytes of EXIF, and most of them may be the photo's own."""

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
    """A picture as its file holds it, upright.

    Examples:
        >>> clear = Picture(frame=np.zeros((4, 6, 3), np.uint8), alpha=np.full((4, 6), 128, np.uint8))
        >>> write_picture("half.png", clear)
        >>> read_picture("half.png").alpha[0, 0]
        np.uint8(128)
    """

    frame: Frame
    """Colors, uint8 (H, W, 3) RGB."""

    alpha: Frame | None = None
    """Opacity, uint8 (H, W), 255 opaque; None where the file has none."""

    icc_profile: bytes | None = None
    """Color profile of the frame; None means sRGB."""

    exif: bytes | None = None
    """Author, copyright, date, camera and description."""

    format: str = "PNG"
    """Format of the file in Pillow's word: PNG, JPEG, GIF ..."""

    animated: bool = False
    """The file holds more pictures; this is the first."""

    dpi: tuple[float, float] | None = None
    """Resolution in print, dots per inch across and down; None where the file does not say."""

    notes: tuple[str, ...] = ()
    """What a user should know of how the file was read, each to stand behind its name."""


def read_picture(path: str | Path) -> Picture:
    """Read a picture file of any format and colour mode, its EXIF orientation applied.

    Pictures for bright screens (PQ, HLG) and of wide gamuts that are coded by number come as sRGB. What full
    transparency hides is replaced by the colours of what is visible beside it.

    Raises:
        InputError: the file is missing, empty, damaged, cut short, too large or no picture.

    Examples:
        >>> write_picture("print.jpg", Picture(frame=np.zeros((4, 6, 3), np.uint8), dpi=(300, 300)))
        >>> picture = read_picture("print.jpg")
        >>> picture.frame.shape, picture.alpha, picture.dpi
        ((4, 6, 3), None, (300.0, 300.0))
    """
    path = Path(path)
    check_file(path)
    check_not_raw(path)
    try:
        with quiet_pillow():
            deep = open_deep_tiff(path)
            if deep is not None:
                return _to_picture(path, path, deep, None)
            load_extra_reader(path)
            return _read(path)
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise InputError(f"{path}: {reason(error)}") from error


def read_frame(path: str | Path) -> Frame:
    """Read a picture file as a frame: upright, transparent parts laid over white.

    Raises:
        InputError: as `read_picture`.

    Examples:
        >>> read_frame("photo.jpg")
        Traceback (most recent call last):
            ...
        fastnst.errors.InputError: photo.jpg: no such file
    """
    picture = read_picture(path)
    return picture.frame if picture.alpha is None else over_white(picture.frame, picture.alpha)


def signed(picture: Picture, words: str) -> Picture:
    """A picture whose EXIF block also says how it was made, under ProcessingSoftware; what it holds already stays.

    BMP files hold no such block. `words` follow the name and version of fastnst; what is not ASCII becomes ?.
    """
    exif = Image.Exif()
    if picture.exif is not None:
        exif.load(picture.exif)
    made_by = f"fastnst {installed_version()}: {words}".encode("ascii", "replace").decode()
    exif[_SOFTWARE] = made_by[:_MAX_WORDS]
    return replace(picture, exif=exif.tobytes())


def write_picture(path: str | Path, picture: "Picture | Frame", *, overwrite: bool = True) -> None:
    """Write a picture, or an array uint8 (H, W, 3) RGB, in the format of the path's suffix.

    The file appears only when it is whole.

        >>> import numpy as np
        >>> write_picture("gray.png", np.full((4, 6, 3), 128, np.uint8))
        >>> read_frame("gray.png").shape
        (4, 6, 3)

    JPEG (quality 95, colours at full resolution) and BMP know no transparency: it is laid over white.

    Raises:
        InputError: an array of another type or shape.
        OutputError: unknown suffix, a picture too large for the format, or a file that cannot be written, or without
            `overwrite` one that already exists.
    """
    path = Path(path)
    if not isinstance(picture, Picture):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise InputError(f"an array of {picture.dtype} {picture.shape}; expected uint8 (height, width, 3) RGB")
        picture = Picture(frame=picture)
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
    """Return the format that a path's suffix stands for. Raises OutputError: the suffix is none that fastnst writes."""
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


def resize_long_side(frame: Frame, long_side: int) -> Frame:
    """Resize a frame (H, W, 3) so that its longer side is `long_side` pixels, with Lanczos' filter."""
    return resize_frame(frame, fit_long_side((frame.shape[0], frame.shape[1]), long_side))


def over_white(frame: Frame, alpha: Frame) -> Frame:
    """Lay a frame (H, W, 3) with opacity alpha (H, W) over white."""
    return np.array(_over_white(frame, alpha))


def _over_white(frame: Frame, alpha: Frame) -> Image.Image:
    paper = Image.new("RGB", (frame.shape[1], frame.shape[0]), "white")
    paper.paste(Image.fromarray(frame), mask=Image.fromarray(alpha))
    return paper


def _read(path: Path) -> Picture:
    try:
        with Image.open(path) as picture:
            return _decode(path, path, picture)
    except (InputError, MemoryError):
        raise
    except Exception:
        mended = without_damaged_additions(path)
        if mended is None:
            _refuse_variants(path)
            raise
        source, left_out = mended
        with Image.open(source) as picture:
            return _decode(
                path,
                source,
                picture,
                f"what it says beside its pixels is damaged or too long, and left out ({left_out})",
            )


def _refuse_variants(path: Path) -> None:
    with path.open("rb") as file:
        words = unread_variant(file.read(1 << 16))
    if words is not None:
        raise InputError(f"{path}: {words}")


def _decode(path: Path, source: Source, picture: Image.Image, *notes: str) -> Picture:
    png = read_png_header(path) if picture.format == "PNG" else None
    check_header(path, picture)
    check_claim(path, picture, png)
    check_size(path, (picture.height, picture.width))
    try:
        picture.load()
    except OSError:
        whole = open_without_end(path)
        if whole is None:
            raise
        return _to_picture(path, source, whole, png, "ends without JPEG's end marker; its pixels are all there")
    if png is not None:
        picture = mend_transparent_color(source, picture, png)
    return _to_picture(path, source, picture, png, *notes)


def _to_picture(path: Path, source: Source, picture: Image.Image, png: PngHeader | None, *notes: str) -> Picture:
    kind = picture.format or "PNG"
    # A phone's JPEG with a depth map beside it (MPO) is one picture to its owner.
    several = kind != "MPO" and bool(getattr(picture, "is_animated", False))
    animated = several and kind not in {"TIFF", "HEIF"}
    if animated:
        notes = (*notes, "animated; its first picture was stylized")
    elif several:
        notes = (*notes, f"holds {getattr(picture, 'n_frames', 'several')} pictures; the first was stylized")
    if kind in {"JPEG", "MPO"} and _has_gain_map(picture):
        notes = (*notes, "its gain map for bright screens is left out; the ordinary picture was stylized")
    profile, exif = picture.info.get("icc_profile") or None, exif_to_keep(picture)
    codes = color_codes(path, picture, png)
    if codes is not None and not is_srgb(*codes):
        picture, note = _in_srgb(path, source, picture, codes)
        profile, notes = None, (*notes, note)
    with suppress(Exception):  # damaged EXIF: the picture is taken as upright
        ImageOps.exif_transpose(picture, in_place=True)
    frame, alpha, profile = to_rgb_and_alpha(picture, profile)
    return Picture(
        frame=frame if alpha is None else fill_hidden(frame, alpha),
        alpha=alpha,
        icc_profile=profile,
        exif=exif,
        format="JPEG" if kind == "MPO" else kind,
        animated=animated,
        dpi=resolution(picture),
        notes=notes,
    )


def _has_gain_map(picture: Image.Image) -> bool:
    """Android's and Apple's JPEG files for bright screens: an ordinary picture, and how much brighter it may be."""
    packet = picture.info.get("xmp", b"")
    return isinstance(packet, bytes) and (b"hdr-gain-map" in packet or b"HDRGainMap" in packet)


def _in_srgb(path: Path, source: Source, picture: Image.Image, codes: tuple[int, int]) -> tuple[Image.Image, str]:
    """Convert a decoded picture from the colours that its file names by code points (ITU-T H.273), and say so."""
    primaries, transfer = codes
    if transfer in {PQ, HLG} and primaries == 2:
        primaries = BT2020  # not said; nothing else is in use
    if not is_known(primaries, transfer):
        raise InputError(
            f"{path}: its colors (primaries {primaries}, transfer function {transfer} of ITU-T H.273) are not read; "
            "save it as sRGB"
        )
    levels: np.ndarray[Any, Any] | None = sixteen_bits(source, picture) if picture.format == "PNG" else None
    shown = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if levels is None:
        levels = np.asarray(shown)
    converted = Image.fromarray(to_srgb(levels[..., :3], primaries, transfer))
    if shown.mode == "RGBA":
        converted.putalpha(shown.getchannel("A"))
    converted.format, converted.info = picture.format, {**picture.info}
    converted.info.pop("transparency", None)
    orientation = picture.getexif().get(ExifTags.Base.Orientation)
    if orientation is not None:
        converted.getexif()[ExifTags.Base.Orientation] = orientation
    bright = {PQ: "HDR (PQ): ", HLG: "HDR (HLG): "}.get(transfer, "of a wide gamut: ")
    return converted, f"{bright}its colors were brought to an ordinary screen's"


def _to_pillow(picture: Picture, kind: str) -> Image.Image:
    if picture.alpha is None:
        return Image.fromarray(picture.frame)
    if kind in {"JPEG", "BMP"}:
        return _over_white(picture.frame, picture.alpha)
    return Image.fromarray(np.dstack((picture.frame, picture.alpha)))


def _kept(picture: Picture, kind: str) -> dict[str, Any]:
    """The profile, the EXIF block and the resolution as arguments of Pillow's save, where the format holds them."""
    extras = {"icc_profile": picture.icc_profile, "exif": picture.exif, "dpi": picture.dpi}
    left_out = {"BMP": {"icc_profile", "exif"}, "WEBP": {"dpi"}}.get(kind, set())
    return {name: value for name, value in extras.items() if value and name not in left_out}
