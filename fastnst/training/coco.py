"""COCO's photographs (https://cocodataset.org), the usual content pictures for training, fetched once.

The pictures are those of Flickr users, each under a licence of its own; nothing of them is kept in a trained style.

The server of images.cocodataset.org has a certificate for its other name alone, s3.amazonaws.com. COCO publishes no
SHA-256 sums; these are those that a dozen public projects hold the same files to, some beside the MD5 sums known longer
(442b8da7639aecaf257c1dceb8ba8c80 and cced6f7f71b7629ddf16f17bbcfab6b2).
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from fastnst.errors import DownloadError, SettingError, nearest_hint
from fastnst.io.addresses import Announce, Progress, bytes_in, check_sha256, fetch


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
