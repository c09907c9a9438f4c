"""PNG and TIFF where Pillow falls short, and photographs left raw, which are refused.

Of PNG: color codes (cICP), all 16 bits, the transparent color beside them. Of TIFF: more than 8 bits in unusual orders.

H height, W width in pixels, S samples of a pixel.
"""

import io
import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from fastnst.errors import InputError
from fastnst.io.decoding import check_size
from fastnst.io.pixels import BT2020, PQ

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Chunks before the pixels that are looked at; a file may hold any number.
_MOST_CHUNKS = 1000
# How some programs say PQ by a profile's name alone (W3C, "Using the ITU BT.2100 PQ EOTF with the PNG format").
_PQ_PROFILE = b"ITUR_2100_PQ_FULL"
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}

Source: TypeAlias = Path | io.BytesIO


@dataclass(frozen=True)
class PngHeader:
    """What stands before the pixels."""

    depth: int
    """Bits for each channel."""

    channels: int
    width: int
    height: int
    color_codes: tuple[int, int] | None
    """Primaries and transfer function by ITU-T H.273; None where the file does not say."""

    @property
    def decoded_bytes(self) -> int:
        """Length of the pixels before compression."""
        return self.height * (1 + -(-self.width * self.channels * self.depth // 8))


def read_png_header(path: Path) -> PngHeader | None:
    """Read what stands before the pixels; None for another kind of file, or a damaged one."""
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return None
        depth, color_type, width, height = 0, -1, 0, 0
        codes: tuple[int, int] | None = None
        for _ in range(_MOST_CHUNKS):
            start = file.read(8)
            if len(start) < 8 or start[4:] in {b"IDAT", b"IEND"}:
                break
            length = struct.unpack(">I", start[:4])[0]
            content = file.read(min(length, 32))
            file.seek(max(length - 32, 0) + 4, 1)
            if start[4:] == b"IHDR" and len(content) >= 13:
                width, height, depth, color_type = struct.unpack(">IIBB", content[:10])
            elif start[4:] == b"cICP" and len(content) >= 4:
                codes = (content[0], content[1])
            elif start[4:] == b"iCCP" and content.startswith(_PQ_PROFILE) and codes is None:
                codes = (BT2020, PQ)
    return PngHeader(depth, _CHANNELS[color_type], width, height, codes) if color_type in _CHANNELS else None


def without_damaged_additions(path: Path) -> tuple[io.BytesIO, str] | None:
    """Leave out what is not needed for the pixels of a PNG file and is damaged, as viewers do (libpng warns of it).

    That is every addition with a wrong checksum, and all texts: Pillow refuses those of more than a megabyte.

    Returns the file without them, and their names; None for another kind of file, or where there is nothing to leave
    out.
    """
    content = path.read_bytes()
    if not content.startswith(SIGNATURE):
        return None
    kept, left_out, at = [SIGNATURE], list[str](), len(SIGNATURE)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind, checksum = content[at + 4 : at + 8], content[end - 4 : end]
        is_addition = bool(kind[0] & 0x20)  # a small letter
        damaged = is_addition and zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big") != checksum
        if damaged or kind in _TEXTS:
            left_out.append(kind.decode("latin-1"))
        else:
            kept.append(content[at:end])
        at = end
    return (io.BytesIO(b"".join(kept)), ", ".join(dict.fromkeys(left_out))) if left_out else None


def sixteen_bits(source: Source, picture: Image.Image) -> npt.NDArray[np.uint16] | None:
    """All bits of a picture of 16 bits a channel, uint16 (H, W, 3 or 4); None where Pillow keeps no low halves.

    Pillow, which opened and decoded the same source, decodes such colors to 8 bits: once more by the other half of each
    sample, and nothing is lost.
    """
    with Image.open(source) as again:
        tile = again.tile[0]
        if tile.args not in {"RGB;16B", "RGBA;16B"}:
            return None
        again.tile = [tile._replace(args=tile.args.replace("16B", "16L"))]
        again.load()
        levels: npt.NDArray[np.uint16] = np.asarray(picture).astype(np.uint16) << 8 | np.asarray(again)
        return levels


def mend_transparent_color(source: Source, picture: Image.Image, header: PngHeader) -> Image.Image:
    """Let a color that means "transparent" (tRNS) be found in a decoded picture of few or of 16 bits.

    Pillow compares its number with levels that are scaled already, or cut to 8 bits.
    """
    key = picture.info.get("transparency")
    if key is None or picture.mode == "P":
        return picture
    if header.depth in {2, 4} and isinstance(key, int):
        picture.info["transparency"] = key * 255 // (2**header.depth - 1)
    elif header.depth == 16 and picture.mode == "RGB" and (levels := sixteen_bits(source, picture)) is not None:
        mended = picture.convert("RGB")
        mended.putalpha(Image.fromarray(np.where((levels == key).all(-1), 0, 255).astype(np.uint8)))
        mended.format = picture.format
        mended.info = {name: value for name, value in picture.info.items() if name != "transparency"}
        return mended
    return picture


_RAW = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
RAW_SUFFIXES = frozenset(f".{kind}" for kind in _RAW.split())
"""Names of cameras' raw files."""

RAW_WORDS = "is a camera's raw file, which is not developed here; export it as TIFF, PNG or JPEG first"

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags and values of the TIFF 6.0 and DNG specifications.
_DNG_VERSION, _COLOR_FILTER_ARRAY, _LINEAR_RAW = 50706, 32803, 34892
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_UNSIGNED, _FLOAT = 1, 3
_PREMULTIPLIED = 1
# Integers of 32 bits that are no more than this are measurements, not shares of full scale.
_SMALL_32_BIT = 2**24


def check_not_raw(path: Path) -> None:
    """Raise InputError for a camera's raw file, by its name: what other readers find in it is a small preview."""
    if path.suffix.lower() in RAW_SUFFIXES:
        raise InputError(f"{path}: {RAW_WORDS}")


def open_deep_tiff(path: Path) -> Image.Image | None:
    """Read the first page of a TIFF file whose samples Pillow would get wrong, scaled to 8 bits.

    Returns a decoded picture of mode L, LA, RGB or RGBA with what the file carries beside it; None for files that are
    not TIFF, and those that Pillow reads right. Raises InputError: a raw photograph, a preview, or a layout that is not
    read; Exception: tifffile's own, for a damaged file.
    """
    with path.open("rb") as file:
        if file.read(4) not in _MAGIC:
            return None
    import tifffile  # noqa: PLC0415 - for these files only

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else its warnings go to stderr
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        photometric = int(page.photometric) if page.photometric is not None else _BLACK_IS_ZERO
        if _DNG_VERSION in page.tags or photometric in {_COLOR_FILTER_ARRAY, _LINEAR_RAW}:
            raise InputError(f"{path}: {RAW_WORDS}")
        if page.is_reduced and len(tiff.pages) == 1 and page.tags.get("SubIFDs") is not None:
            raise InputError(f"{path}: begins with a preview of a picture that {RAW_WORDS.removeprefix('is ')}")
        bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
        if bits <= 8 or _pillow_reads(page, photometric, bits):
            return None
        return _scaled(path, page, photometric, bits)


def _pillow_reads(page: Any, photometric: int, bits: int) -> bool:
    if page.samplesperpixel > 1 and int(page.planarconfig) != 1:
        return False
    if int(page.sampleformat) == _FLOAT:
        return bits == 32 and (photometric, page.samplesperpixel) == (_BLACK_IS_ZERO, 1)
    samples = {_BLACK_IS_ZERO: {1}, _RGB: {3, 4}, _CMYK: {4}}.get(photometric, set())
    return bits == 16 and int(page.sampleformat) == _UNSIGNED and page.samplesperpixel in samples


def _scaled(path: Path, page: Any, photometric: int, bits: int) -> Image.Image:
    size = (int(page.imagelength), int(page.imagewidth))
    check_size(path, size, bytes_per_pixel=8 + page.samplesperpixel * bits // 8)
    colors = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(photometric)
    floats = page.dtype is not None and page.dtype.kind == "f"
    if colors is None or page.samplesperpixel < colors or page.imagedepth > 1 or page.dtype is None:
        raise InputError(f"{path}: {_layout(page, bits)} is a kind of TIFF that is not read; save it with 8 or 16 bits")
    if floats and colors == 3:
        raise InputError(
            f"{path}: {_layout(page, bits)} does not say how bright its numbers are; save it with 8 or 16 bits"
        )
    try:
        values = page.asarray()
    except Exception as error:  # ValueError or NotImplementedError, by version and by what is missing
        if "imagecodecs" not in str(error):
            raise
        raise InputError(
            f"{path}: {_layout(page, bits)}, stored with {page.compression.name} compression, is not read; "
            "save it with 16 bits and without compression, or with 8 bits"
        ) from error
    if page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(*size, page.samplesperpixel)
    white = _white(values[..., :colors], page.dtype, bits)
    levels = _to_levels(values[..., :colors], white)
    if photometric == _WHITE_IS_ZERO:
        levels = 255 - levels
    return _as_picture(page, _with_alpha(levels, values, page, bits))


def _layout(page: Any, bits: int) -> str:
    kind = {"f": "floats", "i": "signed numbers"}.get(page.dtype.kind if page.dtype is not None else "", "numbers")
    photometric = getattr(page.photometric, "name", "unknown")
    return f"{photometric} with {page.samplesperpixel} {kind} of {bits} bits a pixel"


def _white(values: npt.NDArray[Any], dtype: Any, bits: int) -> float:
    """Full scale: what the bits hold, but of floats and 32 bits the first of 1 (floats), 255, 65535 not exceeded."""
    if dtype.kind == "u" and bits <= 16:
        return float(2**bits - 1)
    brightest = float(np.nan_to_num(values.max(initial=0), nan=0, posinf=0))
    if dtype.kind == "u" and brightest > _SMALL_32_BIT:
        return float(2**bits - 1)
    scales = (1.0, 255.0, 65535.0) if dtype.kind == "f" else (255.0, 32767.0 if bits == 16 else 65535.0)
    return next((scale for scale in scales if brightest <= scale), brightest)


def _to_levels(values: npt.NDArray[Any], white: float) -> npt.NDArray[np.uint8]:
    levels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):  # no wide copy of a whole picture
        rows = np.nan_to_num(values[top : top + 256].astype(np.float64), nan=0, posinf=0, neginf=0)
        levels[top : top + 256] = np.rint((rows / white).clip(0, 1) * 255)
    return levels


def _with_alpha(levels: npt.NDArray[np.uint8], values: npt.NDArray[Any], page: Any, bits: int) -> npt.NDArray[np.uint8]:
    """Add the first sample that means opacity, if there is one; colors multiplied by it are divided again."""
    kinds = [int(kind) for kind in page.extrasamples]
    place = next((number for number, kind in enumerate(kinds) if kind in {1, 2}), None)
    if place is None:
        return levels
    opacity = values[..., levels.shape[2] + place]
    alpha = _to_levels(opacity, 1.0 if page.dtype.kind == "f" else float(2**bits - 1))
    if kinds[place] == _PREMULTIPLIED:
        share = np.maximum(alpha, 1)[..., None].astype(np.float32) / 255
        levels = np.rint((levels / share).clip(0, 255)).astype(np.uint8)
    return np.concatenate((levels, alpha[..., None]), axis=2)


def _as_picture(page: Any, levels: npt.NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    picture.format = "TIFF"
    exif = picture.getexif()
    kept = (ExifTags.Base.Orientation, ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model)
    for tag in (*kept, ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.Copyright):
        if tag in page.tags:
            exif[tag] = page.tags[tag].value
    if 34675 in page.tags:  # ICC profile
        picture.info["icc_profile"] = bytes(page.tags[34675].value)
    unit = {2: 1.0, 3: 2.54}.get(int(page.tags[296].value) if 296 in page.tags else 2)
    if unit and 282 in page.tags and 283 in page.tags:
        across, down = ((value[0] / max(value[1], 1)) for value in (page.tags[282].value, page.tags[283].value))
        picture.info["dpi"] = (across * unit, down * unit)
    return picture
