"""Files at addresses: by way of fsspec (s3://, gs://, az:// ...), and one large file over HTTP.

An object is fetched whole and written whole: it appears under its name, or not at all. Over HTTP, fetching goes on
where it stopped, retries a dropped connection and checks the SHA-256 sum: neither torchvision's routines nor pooch go
on with a partial file, and the training set of COCO has 19 GB.
"""

import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fastnst.errors import DownloadError, InputError, MissingPackageError, OutputError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(text: str | Path) -> bool:
    """Whether it is an address such as s3://bucket/photos, rather than a path."""
    return _ADDRESS.match(str(text)) is not None


class FileStamp(NamedTuple):
    """What tells one version of a file from another without reading it."""

    size: int
    changed_ns: int
    """When it was last changed, nanoseconds; of an object without a time, a number made of its version."""


def connect(address: str) -> tuple[Any, str]:
    """Give fsspec's file system of an address, and the path there.

    Raises MissingPackageError where fsspec, or its package for this kind of address, is not installed.
    """
    try:
        import fsspec  # noqa: PLC0415 - needed for addresses alone
    except ImportError as error:
        raise MissingPackageError(f"{address}: addresses need fsspec; pip install fsspec") from error
    try:
        files, path = fsspec.core.url_to_fs(address)
    except ImportError as error:  # its message names the package
        raise MissingPackageError(f"{address}: {first_line(error)}") from error
    except ValueError as error:
        raise InputError(f"{address}: {first_line(error)}; expected s3://, gs://, az:// or a path") from error
    return files, str(path)


def list_addresses(address: str) -> list[str]:
    """All objects below an address, or that match it where it has * in it, as addresses; itself where it is one.

    Raises InputError where there are none.
    """
    fixed = address.partition("*")[0].rpartition("/")[0] if "*" in address else address.rstrip("/")
    files, path = connect(address)
    try:
        found = files.glob(path) if "*" in path else [path] if files.isfile(path) else sorted(find_objects(files, path))
    except Exception as error:  # each store has errors of its own
        raise InputError(f"{address}: cannot be listed ({first_line(error)})") from error
    if not found:
        raise InputError(f"{address}: no object there")
    root = files._strip_protocol(fixed).rstrip("/")
    return [f"{fixed}{name.removeprefix(root)}" for name in found]


def source_stamp(source: str) -> FileStamp | None:
    """Size and time of a file, of all files in a folder together, or of an object; None where there is none."""
    if not is_address(source):
        return local_stamp(source)
    files, path = connect(source)
    try:
        return object_stamp(files.info(path))
    except FileNotFoundError:
        return None


def local_stamp(path: str) -> FileStamp | None:
    """Size and time of a file; of a folder, those of its files: bytes together, and the newest time."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a million Paths are slow
        if stat.S_ISDIR(status.st_mode):
            inside = [entry.stat() for entry in os.scandir(path) if entry.is_file()]
            return FileStamp(
                sum(each.st_size for each in inside), max((each.st_mtime_ns for each in inside), default=0)
            )
    except OSError:
        return None
    return FileStamp(status.st_size, status.st_mtime_ns)


@contextmanager
def fetched(source: str) -> Iterator[Path]:
    """Give a source as a file of this computer; an object is fetched whole, and removed when the block ends.

    Raises InputError.
    """
    if not is_address(source):
        yield Path(source)
        return
    files, path = connect(source)
    with tempfile.TemporaryDirectory(prefix="fastnst-") as folder:
        local = Path(folder, PurePosixPath(path).name)
        try:
            files.get_file(path, str(local))
        except FileNotFoundError as error:
            raise InputError(f"{source}: no such object") from error
        except Exception as error:  # each store has errors of its own
            raise InputError(f"{source}: cannot be fetched ({first_line(error)})") from error
        yield local


@contextmanager
def delivered(output: str) -> Iterator[Path]:
    """Give a path to write a result to; where that is an address's, it is sent there whole when the block ends well.

    Raises OutputError.
    """
    if not is_address(output):
        yield Path(output)
        return
    files, path = connect(output)
    with tempfile.TemporaryDirectory(prefix="fastnst-") as folder:
        local = Path(folder, PurePosixPath(path).name)
        yield local
        try:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, local.read_bytes()) if _is_small(local) else files.put_file(str(local), path)
        except Exception as error:  # each store has errors of its own
            raise OutputError(f"{output}: cannot be written ({first_line(error)})") from error


def _is_small(path: Path) -> bool:
    return path.stat().st_size < 64 << 20


def find_objects(files: Any, path: str) -> dict[str, Any]:
    """What a store tells of all objects below a path, by their paths."""
    try:
        found: dict[str, Any] = files.find(path, detail=True)
    except FileNotFoundError:
        return {}
    return found


def object_stamp(info: dict[str, Any]) -> FileStamp:
    """Of an object, by what its store tells: a time, or else a mark of its version."""
    changed = next(
        (info[key] for key in ("mtime", "LastModified", "last_modified", "updated", "ETag") if key in info), 0
    )
    if isinstance(changed, int | float):
        return FileStamp(int(info["size"]), round(changed * 1e9))
    if hasattr(changed, "timestamp"):
        return FileStamp(int(info["size"]), round(changed.timestamp() * 1e9))
    return FileStamp(int(info["size"]), int.from_bytes(str(changed).encode()[:8], "big"))


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


Announce = Callable[[str], None]
"""Called with one line for the user."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

CheckRoom = Callable[[int, int], None]
"""Called with the bytes to come and the bytes in all before any is written; may raise."""

CHUNK_BYTES = 1 << 20

TIMEOUT_S = 30.0
"""How long a silent server is waited for."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses before the attempts that follow a failed one; one that got further starts them anew."""

OFFLINE_ATTEMPTS = 2
"""Attempts where the server's name is not known and nothing has arrived: a computer without a network gains nothing by
waiting."""

_TRANSIENT_STATUS = {408, 416, 425, 429}
"""Client errors (4xx) that another attempt may cure."""


def fetch(url: str, target: Path, *, announce: Announce, progress: Progress, check_room: CheckRoom) -> None:
    """Download `url` to `target`, by way of `target`.part, which a later call goes on with.

    Raises DownloadError when the attempts are used up, the server refuses or the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    furthest = bytes_in(part)
    failures = 0
    while True:
        try:
            _receive(url, part, progress, check_room)
            break
        except (OSError, HTTPException) as error:
            have = bytes_in(part)
            failures = 1 if have > furthest else failures + 1
            furthest = max(furthest, have)
            reason = _reason(error)
            attempts = OFFLINE_ATTEMPTS if _is_offline(error) and not have else len(PAUSES_S) + 1
            if _is_final(error) or failures >= attempts:
                further = f" to go on at byte {have:,}" if have else ""
                raise DownloadError(f"{url}: {reason}; run the command again{further}") from error
            pause_s = PAUSES_S[failures - 1]
            announce(f"Download interrupted ({reason}); going on in {pause_s:g} s.")
            time.sleep(pause_s)
    part.replace(target)


def check_sha256(path: Path, sha256: str, url: str) -> None:
    """Compare a file with its SHA-256 sum; one that differs is removed, with a DownloadError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise DownloadError(
            f"{url}: the file has SHA-256 {found}, expected {sha256}; removed it, run the command again to fetch it "
            "anew"
        )


def bytes_in(path: Path) -> int:
    """Size of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, progress: Progress, check_room: CheckRoom) -> None:
    """Make one attempt; raises OSError or HTTPException when the connection fails or ends too early."""
    have = bytes_in(part)
    headers = {"User-Agent": "fastnst", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # nothing was missing
        part.unlink()  # longer than the file on the server: not its beginning
        raise
    with response:
        done = have if response.status == 206 else 0  # 200: the server sends the whole file
        total = done + response.length if response.length is not None else None
        if total is not None:
            check_room(total - done, total)
        with _open(part, "ab" if done else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                _write(file, chunk, part)
                done += len(chunk)
                progress(done, total or done)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended at byte {done:,} of {total:,}")


def _open(part: Path, mode: str) -> FileIO:
    """Open without a buffer, so that what has arrived is on the disk whatever comes next."""
    try:
        return FileIO(part, mode)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _write(file: FileIO, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _cannot_write(part, error) from error


def _cannot_write(part: Path, error: OSError) -> DownloadError:
    return DownloadError(f"{part}: cannot be written ({error.strerror}); make room, then run the command again")


def _is_final(error: Exception) -> bool:
    return isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in _TRANSIENT_STATUS


def _is_offline(error: Exception) -> bool:
    reason = getattr(error, "reason", error)
    return isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) == errno.ENETUNREACH


def _reason(error: Exception) -> str:
    text = str(getattr(error, "reason", "") or error) or type(error).__name__
    return f"the server answered {error.code} {text}" if isinstance(error, HTTPError) else text
