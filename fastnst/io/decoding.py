"""Guards between Pillow and files that anybody may have made: size, kind, warnings, words for errors, EXIF."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from fastnst.errors import InputError

MAX_PIXELS = 1_000_000_000
"""Largest picture that is read. Pillow takes anything above 89 megapixels for an attack; cameras are past that."""

# Read by what is in the file, whatever its name. Others that Pillow knows are left out on purpose: PostScript, for
# one, starts another program.
_READ_FORMATS = frozenset(["PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "TGA"])
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
        if kind == "picture" and _is_film(head):
            raise InputError(f"{path}: is a film; fastnst video stylizes films")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {reason(error)}") from error


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file, by its first bytes, only says where Git LFS keeps what belongs there."""
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def _is_film(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return is_avi or head.startswith(_FILM_HEADS) or head[4:8] in {b"moov", b"mdat", b"wide"}


def check_header(path: Path, picture: Image.Image) -> None:
    """Raise InputError for an opened, not yet decoded picture of a format or size that is not read."""
    if picture.format not in _READ_FORMATS:
        raise InputError(f"{path}: {picture.format} pictures are not read; save it as PNG, JPEG, WebP or TIFF")
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise InputError(f"{path}: {size} is more than the {MAX_PIXELS // 10**6} megapixels that are read; reduce it")


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
        return "is not a picture, or of a format that is not read (PNG, JPEG, WebP, TIFF, BMP and GIF are)"
    if isinstance(error, Image.DecompressionBombError):
        return f"is more than the {MAX_PIXELS // 10**6} megapixels that are read; reduce it"
    if isinstance(error, MemoryError):
        return "does not fit into memory; reduce it"
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EIO}:
        return f"cannot be read ({error.strerror})"
    words = " ".join(str(error).split())[:100]
    return f"is damaged or cut short ({words or type(error).__name__})"
