"""Files that may lie at an address (s3://, gs://, az:// ...) as well as in a folder, by way of fsspec.

An object is fetched whole and written whole: it appears under its name, or not at all.
"""

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from fastnst.errors import InputError, MissingPackageError, OutputError

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
