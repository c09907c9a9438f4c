"""Squares cut from the picture files of a folder: which files there are, and how one is read quickly.

A frame is uint8 (H, W, 3) RGB; its height and width are the crop.
"""

import contextlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from fastnst.errors import InputError
from fastnst.io.decoding import check_file, quiet_pillow, reason
from fastnst.io.folders import READ_SUFFIXES, list_left_out, name_left_out, walk
from fastnst.io.images import Frame, read_frame

MIN_SHORT_SIDE = 32
"""Pixels; a smaller picture has too little in it to learn from and is skipped."""

MAX_ZOOM = 4.0
"""The shorter side is scaled to a random length of 1 to this many crops, shorter ones more often: a photograph of many
megapixels has little detail in a crop's size."""

MAX_ENLARGEMENT = 1.25
"""No crop is enlarged more than this by its zoom: what is enlarged is blurred, and networks that learn from blurred
pictures paint blurred ones."""

CROP_STREAM = 1
"""Keeps these random numbers apart from others drawn from the same seed."""


class Skipped(NamedTuple):
    """A file of the folder that cannot be used, and why."""

    name: str
    reason: str


class Corruption(NamedTuple):
    """What is done to a crop, as cameras and video do: `kind` is "jpeg", "noise", "blur" or "" for nothing."""

    kind: str = ""
    amount: float = 0.0
    """JPEG quality, standard deviation of the noise in levels of 255, or radius of the blur in pixels."""


class Framing(NamedTuple):
    """Which square of a picture is taken: everything in [0, 1] but `zoom`, the shorter side in crops."""

    zoom: float = 1.0
    across: float = 0.5
    down: float = 0.5
    mirror: bool = False
    corruption: Corruption = Corruption()
    noise_seed: int = 0


def list_pictures(folder: Path) -> list[str]:
    """List the picture files of a folder and its subfolders: paths relative to it, with /, in alphabetical order.

    Pictures are known by suffix; hidden files and folders are passed over, links to folders are followed.
    Raises InputError where there are none.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise InputError(f"{folder}: {found}; expected a folder of photographs, nested or not")
    names = [
        (place / name).relative_to(folder).as_posix()
        for place, _, files in walk(folder)
        for name in files
        if Path(name).suffix.lower() in READ_SUFFIXES
    ]
    if not names:
        words = f"{folder}: no pictures in it or below; expected JPEG, PNG, WebP ... files"
        raise InputError("; ".join([words, *name_left_out(list_left_out(folder))]))
    return sorted(names)


def draw_framing(seed: int, n: int) -> Framing:
    """Zoom, position, mirror and corruption of sample n; they do not depend on the file or the crop size."""
    generator = np.random.default_rng((CROP_STREAM, seed, n))
    zoom, across, down, mirror, chance, amount = (float(drawn) for drawn in generator.random(6))
    zoom = 1 + (MAX_ZOOM - 1) * zoom**2
    return Framing(zoom, across, down, mirror < 0.5, _draw_corruption(chance, amount), int(generator.integers(1 << 31)))


def _draw_corruption(chance: float, amount: float) -> Corruption:
    """Two crops of three are left as they are."""
    if chance < 0.15:
        return Corruption("jpeg", 15 + 45 * amount)
    if chance < 0.25:
        return Corruption("noise", 2 + 10 * amount)
    return Corruption("blur", 0.5 + 1.5 * amount) if chance < 0.33 else Corruption()


def read_square(path: Path, crop: int, framing: Framing) -> Frame:
    """Read a square of a picture, uint8 (crop, crop, 3) RGB; small pictures are enlarged.

    Raises InputError for a picture that is broken or under MIN_SHORT_SIDE.
    """
    check_file(path)
    try:
        with quiet_pillow(), Image.open(path) as opened:
            _check_size(path, opened)
            framing = framing._replace(zoom=_sharp_zoom(framing.zoom, min(opened.size), crop))
            return _cut(_upright(opened, path, at_least=crop * framing.zoom), crop, framing)
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise InputError(f"{path}: {reason(error)}") from error


def _check_size(path: Path, opened: Image.Image) -> None:
    if min(opened.size) < MIN_SHORT_SIDE:
        width, height = opened.size
        raise InputError(f"{path}: {width} x {height} pixels; the shorter side must have {MIN_SHORT_SIDE}")


def _sharp_zoom(zoom: float, short_side: int, crop: int) -> float:
    """The zoom, or what a picture with this shorter side bears of it."""
    return max(1.0, min(zoom, MAX_ENLARGEMENT * short_side / crop))


def _upright(opened: Image.Image, path: Path, at_least: float) -> Image.Image:
    """Decode, EXIF orientation applied; a JPEG no larger than needed for a shorter side of `at_least` pixels."""
    if opened.format != "JPEG" or opened.mode not in {"RGB", "L"}:
        return Image.fromarray(read_frame(path))
    short_side = int(np.ceil(at_least))
    opened.draft(None, (short_side, short_side))  # decodes at 1/2, 1/4 or 1/8 where that is enough
    opened.load()
    with contextlib.suppress(Exception):  # a damaged EXIF block raises nearly anything, and the picture is fine
        ImageOps.exif_transpose(opened, in_place=True)
    return opened


def _cut(picture: Image.Image, crop: int, framing: Framing) -> Frame:
    width, height = picture.size
    side = min(width, height) / framing.zoom
    left, top = framing.across * (width - side), framing.down * (height - side)
    box = (left, top, left + side, top + side)
    square = picture.resize((crop, crop), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
    if framing.mirror:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _corrupted(square.convert("RGB"), framing)


def _corrupted(square: Image.Image, framing: Framing) -> Frame:
    kind, amount = framing.corruption
    if kind == "jpeg":
        written = io.BytesIO()
        square.save(written, "JPEG", quality=round(amount))
        return np.array(Image.open(written))
    if kind == "blur":
        return np.array(square.filter(ImageFilter.GaussianBlur(amount)))
    frame = np.array(square)
    if kind == "noise":
        noise = np.random.default_rng(framing.noise_seed).normal(0, amount, frame.shape)
        return np.clip(frame + noise, 0, 255).round().astype(np.uint8)
    return frame


def first_usable(
    folder: Path, names: Iterable[str], crop: int, framing: Framing
) -> tuple[Frame | None, str, list[Skipped]]:
    """Read a square of the first picture that can be used: the frame, its name and the files passed over.

    The frame is None, and the name empty, where there is none.
    """
    skipped: list[Skipped] = []
    for name in names:
        path = folder / name
        try:
            return read_square(path, crop, framing), name, skipped
        except InputError as error:
            skipped.append(Skipped(name, str(error).removeprefix(f"{path}: ")))
    return None, "", skipped
