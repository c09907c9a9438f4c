"""The photographs that a training learns from: COCO's, fetched once; and squares cut from a folder's picture files.

COCO (https://cocodataset.org) is the usual set. Its pictures are those of Flickr users, each under a license of its
own; nothing of them is kept in a trained style. The server of images.cocodataset.org has a certificate for its other
name alone, s3.amazonaws.com. COCO publishes no SHA-256 sums; these are those that a dozen public projects hold the same
files to, some beside the MD5 sums known longer (442b8da7639aecaf257c1dceb8ba8c80 and cced6f7f71b7629ddf16f17bbcfab6b2).

A frame is uint8 (H, W, 3) RGB; its height and width are the crop.
"""

import contextlib
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image, ImageFilter, ImageOps
from platformdirs import user_cache_path

from fastnst.errors import DownloadError, InputError, SettingError, nearest_hint
from fastnst.io.addresses import Announce, Progress, bytes_in, check_sha256, fetch
from fastnst.io.decoding import check_file, quiet_pillow, reason
from fastnst.io.folders import READ_SUFFIXES, list_left_out, name_left_out, walk
from fastnst.io.images import Frame, read_frame


@dataclass(frozen=True)
class Archive:
    """A ZIP file of pictures on a server."""

    url: str

    size: int
    """Bytes, to announce it; what the server says counts."""

    sha256: str

    pictures: int
    """How many it holds, to announce it."""


ARCHIVES: Mapping[str, Archive] = {
    "val2017": Archive(
        url="https://s3.amazonaws.com/images.cocodataset.org/zips/val2017.zip",
        size=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        pictures=5_000,
    ),
    "train2017": Archive(
        url="https://s3.amazonaws.com/images.cocodataset.org/zips/train2017.zip",
        size=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        pictures=118_287,
    ),
}
"""The splits of COCO, by name."""

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png"}


def default_root() -> Path:
    """Where COCO is looked for and put: data/coco below the current folder if that is there, else the user's cache."""
    here = Path("data", "coco")
    return here if here.is_dir() else user_cache_path("fastnst") / "coco"


def coco_folder(
    split: str,
    root: Path | None = None,
    *,
    announce: Announce,
    progress: Progress,
    archives: Mapping[str, Archive] = ARCHIVES,
) -> Path:
    """Return the folder `root`/`split` of pictures; downloads, checks and unpacks them where they are not there.

    The folder appears only when it is complete, so one that is there is trusted. `progress` is called with bytes,
    first of the download, then of the unpacking. Raises SettingError for an unknown split and DownloadError for
    anything that goes wrong; a later call goes on from there.
    """
    if split not in archives:
        raise SettingError(f"COCO {split}: no such split; {nearest_hint(split, archives)}")
    root = root or default_root()
    folder = root / split
    if _holds_files(folder):
        return folder
    with _disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f".{split}.lock", announce):
            if not _holds_files(folder):
                _fetch_and_unpack(archives[split], folder, announce, progress)
    return folder


def _fetch_and_unpack(archive: Archive, folder: Path, announce: Announce, progress: Progress) -> None:
    packed = folder.with_name(f"{folder.name}.zip")
    if not packed.exists():
        have = bytes_in(packed.with_name(f"{packed.name}.part"))
        announce(
            f"COCO {folder.name}: {archive.pictures:,} photographs are downloaded once, {_gigabytes(archive.size)} "
            f"from {archive.url} to {folder}" + (f"; {_gigabytes(have)} are there." if have else ".")
        )

        def check_room(coming: int, total: int) -> None:  # photographs do not compress: unpacked they are as large
            _check_room(folder.parent, coming + total)

        fetch(archive.url, packed, announce=announce, progress=progress, check_room=check_room)
    announce(f"Checking and unpacking {packed}.")
    check_sha256(packed, archive.sha256, archive.url)
    _unpack(packed, folder, progress)
    packed.unlink()


def _unpack(packed: Path, folder: Path, progress: Progress) -> None:
    """Unpack the pictures of an archive, whatever folders they lie in there, straight into `folder`."""
    unfinished = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    try:
        with ZipFile(packed) as archive:
            unfinished.mkdir()
            _write_pictures(archive, unfinished, progress)
        if folder.exists():  # empty, or nothing would be unpacked; Windows moves nothing onto it
            folder.rmdir()
        unfinished.replace(folder)
    except BadZipFile as error:
        packed.unlink()
        raise DownloadError(f"{packed}: no archive of pictures ({error}); removed it, run the command again") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_pictures(archive: ZipFile, folder: Path, progress: Progress) -> None:
    pictures = [entry for entry in archive.infolist() if _is_picture(entry)]
    total = sum(entry.file_size for entry in pictures)
    _check_room(folder, total)
    done = 0
    for entry in pictures:
        # The bare name, by the stricter system's rules, so that no archive can write anywhere else.
        path = folder / PureWindowsPath(entry.filename).name
        with archive.open(entry) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        done += entry.file_size
        progress(done, total)


def _is_picture(entry: ZipInfo) -> bool:
    name = PureWindowsPath(entry.filename)
    return not entry.is_dir() and name.suffix.lower() in PICTURE_SUFFIXES and not name.name.startswith(".")


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{folder}: {_gigabytes(free)} free, {_gigabytes(needed)} needed for the archive and its pictures; "
            "make room, or give a folder of your own photographs with --content"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


@contextmanager
def _alone(lock_file: Path, announce: Announce) -> Iterator[None]:
    """Keep other processes from fetching the same, such as a second training; they wait."""
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        announce(f"Another process is fetching {lock_file.parent}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{error.filename or root}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder, then run the command again"
        ) from error


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
