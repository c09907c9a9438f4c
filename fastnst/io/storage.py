"""Where files lie: in a folder of this computer, or below an address (s3://, gs://, az:// ...) by way of fsspec.

Both look alike to who keeps records there: names below the root, with "/" between folders. An object of an address is
always written whole; it appears under its name, or not at all.
"""

import contextlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from fastnst.errors import InputError, MissingPackageError, OutputError
from fastnst.io.files import check_folder_for_results, write_atomically

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(text: str | Path) -> bool:
    """Whether it is an address such as s3://bucket/photos, rather than a path."""
    return _ADDRESS.match(str(text)) is not None


class FileStamp(NamedTuple):
    """What tells one version of a file from another without reading it."""

    size: int
    changed_ns: int
    """When it was last changed, nanoseconds; of an object without a time, a number made of its version."""


class Storage(Protocol):
    """Files below a root. All raise OutputError where the system refuses to write."""

    root: str

    def stamp(self, name: str, *, fresh: bool = False) -> FileStamp | None:
        """Size and time of a file, None where there is none; without `fresh` as known since this was opened."""

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where it is missing."""

    def read(self, name: str, start: int = 0) -> bytes:
        """The bytes from `start` on; none where the file is missing."""

    def append(self, name: str, text: str) -> None:
        """Append to a file that no other process writes."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file; False where there is one of that name: of several processes, one gets True."""

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Write a file whole, or replace it; `durable`: it outlives a loss of power from then on."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""

    def check(self) -> None:
        """Raise OutputError where nothing can be written."""


def open_storage(root: str | Path) -> Storage:
    """Open a folder of this computer, which need not exist yet, or an address."""
    return RemoteStorage(str(root)) if is_address(root) else LocalStorage(Path(root))


class LocalStorage:
    """A folder of this computer, or of a disk that several computers share."""

    def __init__(self, root: Path) -> None:
        """Take the folder; it need not exist."""
        self.path, self.root = root, str(root)
        self._made: set[Path] = set()

    def stamp(self, name: str, *, fresh: bool = False) -> FileStamp | None:  # noqa: ARG002 - it always is
        """Size and time of a file."""
        return local_stamp(f"{self.root}{os.sep}{name}")

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder."""
        with contextlib.suppress(OSError):
            return sorted(
                each.name for each in os.scandir(self.path / folder) if each.name[0] != "." and each.is_file()
            )
        return []

    def read(self, name: str, start: int = 0) -> bytes:
        """The bytes from `start` on."""
        with contextlib.suppress(FileNotFoundError), (self.path / name).open("rb") as file:
            file.seek(start)
            return file.read()
        return b""

    def append(self, name: str, text: str) -> None:
        """Append in one piece."""
        with self._writing(name) as path, path.open("ab", buffering=0) as file:
            file.write(text.encode("utf-8"))

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file, unless there is one."""
        with self._writing(name) as path:
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            except FileExistsError:
                return False
            with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
                file.write(content)
        return True

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Write a file whole."""
        if durable:
            write_atomically(self.path / name, content)
            return
        with self._writing(name) as path:
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            part.write_bytes(content)
            part.replace(path)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise OutputError where nothing can be written."""
        check_folder_for_results(self.path)

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        path = self.path / name
        try:
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            yield path
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


class RemoteStorage:
    """What lies below an address. Sizes and times are listed once, and asked for again only of what was written."""

    def __init__(self, root: str) -> None:
        """Connect, and list what is there."""
        self.root = root.rstrip("/")
        self._files, self._base = connect(self.root)
        self._base = self._base.rstrip("/")
        self._listed: dict[str, FileStamp] | None = None
        self._appended: dict[str, bytearray] = {}

    def stamp(self, name: str, *, fresh: bool = False) -> FileStamp | None:
        """Size and time of an object; without `fresh` as all were listed at first."""
        if self._listed is None:
            prefix = len(self._base) + 1
            self._listed = {path[prefix:]: _stamp(info) for path, info in _find(self._files, self._base).items()}
        if fresh:
            self._files.invalidate_cache()
            self._listed.pop(name, None)
            with contextlib.suppress(FileNotFoundError):
                self._listed[name] = _stamp(self._files.info(f"{self._base}/{name}"))
        return self._listed.get(name)

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._base}/{folder}", detail=True)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(info["name"]).name for info in found if info["type"] == "file")

    def read(self, name: str, start: int = 0) -> bytes:
        """The bytes from `start` on."""
        try:
            return bytes(self._files.cat_file(f"{self._base}/{name}", start=start or None))
        except FileNotFoundError:
            return b""
        except ValueError:  # nothing after `start`
            return b""

    def append(self, name: str, text: str) -> None:
        """Append; the object is written whole each time."""
        self._appended.setdefault(name, bytearray()).extend(text.encode("utf-8"))
        self.write(name, bytes(self._appended[name]))

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object, unless there is one."""
        try:
            with self._errors(name):
                self._files.pipe_file(self._made(name), content, mode="create")
        except FileExistsError:
            return False
        return True

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:  # noqa: ARG002 - objects are
        """Write an object whole."""
        with self._errors(name):
            self._files.pipe_file(self._made(name), content)
        if self._listed is not None:
            self._listed[name] = FileStamp(len(content), time.time_ns())

    def remove(self, name: str) -> None:
        """Delete an object."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._base}/{name}")

    def check(self) -> None:
        """Raise OutputError where nothing can be written."""
        self.write(".fastnst/check", b"")
        self.remove(".fastnst/check")

    def _made(self, name: str) -> str:
        path = f"{self._base}/{name}"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        return path

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except Exception as error:  # each store has errors of its own
            raise OutputError(f"{self.root}/{name}: cannot be written ({_words(error)})") from error


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
        raise MissingPackageError(f"{address}: {_words(error)}") from error
    except ValueError as error:
        raise InputError(f"{address}: {_words(error)}; expected s3://, gs://, az:// or a path") from error
    return files, str(path)


def list_addresses(address: str) -> list[str]:
    """All objects below an address, or that match it where it has * in it, as addresses; itself where it is one.

    Raises InputError where there are none.
    """
    fixed = address.partition("*")[0].rpartition("/")[0] if "*" in address else address.rstrip("/")
    files, path = connect(address)
    try:
        found = files.glob(path) if "*" in path else [path] if files.isfile(path) else sorted(_find(files, path))
    except Exception as error:  # each store has errors of its own
        raise InputError(f"{address}: cannot be listed ({_words(error)})") from error
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
        return _stamp(files.info(path))
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
            raise InputError(f"{source}: cannot be fetched ({_words(error)})") from error
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
            raise OutputError(f"{output}: cannot be written ({_words(error)})") from error


def _is_small(path: Path) -> bool:
    return path.stat().st_size < 64 << 20


def _find(files: Any, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = files.find(path, detail=True)
    except FileNotFoundError:
        return {}
    return found


def _stamp(info: dict[str, Any]) -> FileStamp:
    """Of an object, by what its store tells: a time, or else a mark of its version."""
    changed = next(
        (info[key] for key in ("mtime", "LastModified", "last_modified", "updated", "ETag") if key in info), 0
    )
    if isinstance(changed, int | float):
        return FileStamp(int(info["size"]), round(changed * 1e9))
    if hasattr(changed, "timestamp"):
        return FileStamp(int(info["size"]), round(changed.timestamp() * 1e9))
    return FileStamp(int(info["size"]), int.from_bytes(str(changed).encode()[:8], "big"))


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
