"""Where records are kept: in a folder of this computer, or below an address by way of fsspec; both look alike.

Names are below the root, with "/" between folders.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from fastnst.errors import OutputError
from fastnst.io.addresses import FileStamp, connect, find_objects, first_line, is_address, local_stamp, object_stamp
from fastnst.io.files import atomic_path, check_folder_for_results


class LocalStorage:
    """A folder of this computer, or of a disk that several computers share.

    All methods raise OutputError where the system refuses to write.
    """

    def __init__(self, root: Path) -> None:
        """Take the folder; it need not exist."""
        self.path, self.root = root, str(root)
        self._made: set[Path] = set()

    def stamp(self, name: str, *, fresh: bool = False) -> FileStamp | None:  # noqa: ARG002 - it always is
        """Size and time of a file, None where there is none; elsewhere, without `fresh`, as this was opened."""
        return local_stamp(f"{self.root}{os.sep}{name}")

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where it is missing."""
        with contextlib.suppress(OSError):
            return sorted(
                each.name for each in os.scandir(self.path / folder) if each.name[0] != "." and each.is_file()
            )
        return []

    def read(self, name: str, start: int = 0) -> bytes:
        """The bytes from `start` on; none where the file is missing."""
        with contextlib.suppress(FileNotFoundError), (self.path / name).open("rb") as file:
            file.seek(start)
            return file.read()
        return b""

    def lines(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The lines from byte `start` on, of which one is in memory; without the last one where it has no end yet."""
        with contextlib.suppress(FileNotFoundError), (self.path / name).open("rb") as file:
            file.seek(start)
            for line in file:
                if line.endswith(b"\n"):
                    yield line

    def append(self, name: str, text: str) -> None:
        """Append in one piece to a file that no other process writes."""
        with self._writing(name) as path, path.open("ab", buffering=0) as file:
            file.write(text.encode("utf-8"))

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file; False where there is one of that name: of several processes, one gets True."""
        with self._writing(name) as path:
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            except FileExistsError:
                return False
            with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
                file.write(content)
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, or replace it."""
        with self._writing(name) as path:
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            try:
                part.write_bytes(content)
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise

    def write_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """Write a file whole, or replace it, as its lines come; it outlives a loss of power from then on."""
        with atomic_path(self.path / name) as part, part.open("wb") as file:
            file.writelines(lines)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
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
            self._listed = {
                path[prefix:]: object_stamp(info) for path, info in find_objects(self._files, self._base).items()
            }
        if fresh:
            self._files.invalidate_cache(f"{self._base}/{name}".rpartition("/")[0])
            self._listed.pop(name, None)
            with contextlib.suppress(FileNotFoundError):
                self._listed[name] = object_stamp(self._files.info(f"{self._base}/{name}"))
        return self._listed.get(name)

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder."""
        self._files.invalidate_cache(f"{self._base}/{folder}")
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

    def lines(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The lines from `start` on; the object is fetched whole."""
        yield from (line for line in self.read(name, start).splitlines(keepends=True) if line.endswith(b"\n"))

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

    def write(self, name: str, content: bytes) -> None:
        """Write an object whole."""
        with self._errors(name):
            self._files.pipe_file(self._made(name), content)
        if self._listed is not None:
            self._listed[name] = FileStamp(len(content), time.time_ns())

    def write_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """Write an object whole."""
        self.write(name, b"".join(lines))

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
            raise OutputError(f"{self.root}/{name}: cannot be written ({first_line(error)})") from error


Storage: TypeAlias = LocalStorage | RemoteStorage
"""Files below a root; both kinds have the same methods, which `LocalStorage` describes."""


def open_storage(root: str | Path) -> Storage:
    """Open a folder of this computer, which need not exist yet, or an address."""
    return RemoteStorage(str(root)) if is_address(root) else LocalStorage(Path(root))
