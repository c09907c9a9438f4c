"""Guards between Pillow and files that anybody may have made: size, kind, warnings, words for errors, EXIF.

H height, W width in pixels; sizes are (height, width).
"""

import errno
import importlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fastnst.errors import InputError
from fastnst.machine import available_memory, install_line

if TYPE_CHECKING:
    from fastnst.io.formats import PngHeader

MAX_PIXELS = 1_000_000_000
"""Largest picture that is read. Pillow takes anything above 89 megapixels for an attack; cameras are past that."""

# Read by what is in the file, whatever its name. Others that Pillow knows are left out on purpose: PostScript, for
# one, starts another program.
_READ_FORMATS = frozenset(["PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "TGA"])
_READ_FORMATS |= {"HEIF", "JXL"}
# Compressed as well as these formats can: deflate makes 1032 bytes of one; JPEG takes a bit at least for 64 pixels.
_MOST_DEFLATED, _MOST_JPEG_PIXELS = 1040, 1024
# What reading takes (Pillow's picture, ours, and what turns the one into the other; measured 8.6 to 12.7) and what a
# picture with its transparency takes while it is stylized and written (as WebP, 11 more than the two that there are).
_BYTES_PER_PIXEL = 18

# How files begin that take a package of their own, with it.
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_JXL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
EXTRA_READERS = {"HEIC": "pillow_heif", "JPEG XL": "pillow_jxl"}
"""Formats that Pillow reads with another package, and the package's module."""

# Who and when. Not carried on: the orientation (already applied), the thumbnail (it shows the photo as it was), sizes
# (they may change) and the place.
_EXIF_KEPT = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
_MAX_EXIF_BYTES = 60_000  # a JPEG file holds 65,533 in one segment

LFS_POINTER = "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
_HEAD_BYTES = 64
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Pictures in the file format of MP4: HEIF, AVIF, Canon's raw, JPEG XL, JPEG 2000.
_PICTURE_BRANDS = frozenset(
    [*b"heic heix heim heis hevc hevx mif1 mif2 msf1 avif avis".split(), b"crx ", b"jxl ", b"jp2 ", b"jpx ", b"jpm "]
)
# Matroska and WebM, ASF, FLV, MPEG programme stream, Ogg.
_FILM_HEADS = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75", b"FLV\x01", b"\x00\x00\x01\xba", b"OggS")
# Pillow's own limit is global. Errors start at twice its value; read_picture checks MAX_PIXELS itself.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)


def check_file(path: Path, kind: str = "picture") -> None:
    """Raise InputError for a path that is no file with something in it; kind says what was expected.

    Before Pillow sees the path: a named pipe, for one, would make it wait for ever.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected a {kind} file")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; expected a {kind} file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty (0 bytes); expected a {kind}")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if is_lfs_pointer(head):
            raise InputError(f"{path}: {LFS_POINTER}")
        if kind == "picture" and is_film(head):
            raise InputError(f"{path}: is a film; fastnst video stylizes films")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {reason(error)}") from error


def unread_variant(head: bytes) -> str | None:
    """Name a variant of a known format that no reader here reads, by the file's first bytes; None for any other."""
    if head[12:16] == b"CgBI":
        return "is a PNG file from inside an iPhone app, which other programs do not read; convert it with pngcrush"
    at = 2
    while head.startswith(b"\xff\xd8") and at + 5 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _JPEG_FRAMES:
            found = f"is a JPEG of {head[at + 4]} bits a color, which are not read; save it with 8"
            return found if head[at + 4] != 8 else None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file, by its first bytes, only says where Git LFS keeps what belongs there."""
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def is_film(head: bytes) -> bool:
    """Whether a file is a film of a usual format, by its first bytes."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return is_avi or head.startswith(_FILM_HEADS) or head[4:8] in {b"moov", b"mdat", b"wide"}


def check_header(path: Path, picture: Image.Image) -> None:
    """Raise InputError for an opened, not yet decoded picture of a format or a number of pixels that is not read."""
    if picture.format not in _READ_FORMATS:
        raise InputError(f"{path}: {picture.format} pictures are not read; save it as PNG, JPEG, WebP or TIFF")
    _check_pixels(path, (picture.height, picture.width))


def check_size(path: Path, size: tuple[int, int], bytes_per_pixel: int = _BYTES_PER_PIXEL) -> None:
    """Raise InputError for a size = (height, width) that is not read, or for which there is no memory."""
    height, width = size
    _check_pixels(path, size)
    needed, free = width * height * bytes_per_pixel, available_memory()
    if needed > free:
        words = f"{width}x{height} takes {needed / 1e9:.1f} GB of memory to read, and {free / 1e9:.1f} GB are free"
        raise InputError(f"{path}: {words}; reduce it")


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    height, width = size
    if width * height > MAX_PIXELS:
        words = f"{width}x{height} is more than the {MAX_PIXELS // 10**6} megapixels that are read"
        raise InputError(f"{path}: {words}; reduce it")


def check_claim(path: Path, picture: Image.Image, png: "PngHeader | None") -> None:
    """Raise InputError for a header that claims more pixels than so short a file can hold."""
    length = path.stat().st_size
    if png is not None:
        lies = png.decoded_bytes > length * _MOST_DEFLATED
    else:
        lies = picture.format in {"JPEG", "MPO"} and picture.width * picture.height > length * _MOST_JPEG_PIXELS
    if lies:
        size = f"{picture.width}x{picture.height}"
        raise InputError(f"{path}: is damaged or cut short ({length} bytes cannot hold the {size} pixels it claims)")


def load_extra_reader(path: Path) -> None:
    """Let Pillow read HEIC or JPEG XL, where the file is one; raises InputError where the package is missing."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        kind = "HEIC"
    elif start.startswith(_JXL_STARTS):
        kind = "JPEG XL"
    else:
        return
    try:
        reader = importlib.import_module(EXTRA_READERS[kind])
    except ImportError as error:
        raise InputError(
            f"{path}: is {kind}, which is not read without another package; {install_line('heif')} lets it be read"
        ) from error
    if kind == "HEIC":
        reader.register_heif_opener()


def open_without_end(path: Path) -> Image.Image | None:
    """Decode a JPEG file whose pixels are all there and only the marker of its end is not; None for any other file.

    Whether they are all there shows when something is put behind them: another filling must not change a pixel.
    """
    content = path.read_bytes().rstrip(b"\xff")  # half of the marker; among pixels, ff is never the last byte
    if not content.startswith(b"\xff\xd8"):
        return None
    decoded = []
    with suppress(Exception):  # damaged files make Pillow's readers raise nearly anything
        for filling in (b"\x00", b"\xaa"):
            decoded.append(Image.open(io.BytesIO(content + filling * 4096 + b"\xff\xd9"), formats=["JPEG"]))
            decoded[-1].load()
        if np.array_equal(np.asarray(decoded[0]), np.asarray(decoded[1])):
            return decoded[0]
    return None


def resolution(picture: Image.Image) -> tuple[float, float] | None:
    """Dots per inch across and down; None where the file does not say, or says what cannot be, as a filler of 1."""
    with suppress(Exception):  # whatever a damaged file says
        across, down = (float(value) for value in picture.info["dpi"])
        if all(math.isfinite(value) and 1 < value <= 65535 for value in (across, down)):
            return across, down
    return None


def color_codes(path: Path, picture: Image.Image, png: "PngHeader | None") -> tuple[int, int] | None:
    """Primaries and transfer function by ITU-T H.273, where the file has them; None where it does not say."""
    if png is not None:
        return png.color_codes
    if picture.format not in {"AVIF", "HEIF"}:
        return None
    with path.open("rb") as file:
        head = file.read(1 << 16)
    place = head.find(b"colrnclx")  # a box of ISO/IEC 23008-12; the first one is the picture's
    if place < 0 or len(head) < place + 12:
        return None
    return int.from_bytes(head[place + 8 : place + 10], "big"), int.from_bytes(head[place + 10 : place + 12], "big")


def exif_to_keep(picture: Image.Image) -> bytes | None:
    """Return author, copyright, date, camera and description as an EXIF block; None where there are none."""
    kept = Image.Exif()
    with suppress(Exception):  # a damaged block's parser raises nearly anything, and only tags are lost
        found = picture.getexif()
        for tag in _EXIF_KEPT:
            if isinstance(found.get(tag), str):
                kept[tag] = found[tag].encode("latin-1")  # the bytes as they were, UTF-8 mostly
        content = kept.tobytes()
        return content if len(kept) and len(content) <= _MAX_EXIF_BYTES else None
    return None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow's warnings (odd EXIF tags, large pictures) are no news for the user.

    The filters name Pillow only: should two threads leave this in the wrong order, no other warning is lost.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def reason(error: Exception) -> str:
    """Say in a few words why a picture could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture, or of a format that is not read (PNG, JPEG, WebP, AVIF, TIFF, BMP and GIF are)"
    if isinstance(error, Image.DecompressionBombError):
        return f"is more than the {MAX_PIXELS // 10**6} megapixels that are read; reduce it"
    if isinstance(error, MemoryError):
        return "does not fit into memory; reduce it"
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EIO}:
        return f"cannot be read ({error.strerror})"
    words = " ".join(str(error).split())[:100]
    return f"is damaged or cut short ({words or type(error).__name__})"
