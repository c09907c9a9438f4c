"""Reading files without being made to wait or to fill memory; writing them so that no name stands for half a result.

Files that fastnst wrote itself are read with distrust: cut short, of another version, or made by somebody else.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from fastnst.errors import CheckpointError, FastNSTError, OutputError

# Beside a file that is being written: .fastnst-COMPUTER-PROCESS-RANDOM.part and the suffix.
_COMPUTER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_PART = re.compile(rf"\.fastnst-{_COMPUTER}-(\d{{1,9}})-\w+\.part(\.\w+)?")
_cleaned: set[Path] = set()


LOCK = ".lock"
"""Name of the file inside a locked folder."""

_LARGEST_JSON = 64 << 20
"""Bytes; a study's losses of a hundred thousand steps take a third of it."""

# What Python, torch and safetensors raise for content that is not what it should be.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)

_State = tuple[int, int, int]
"""Inode, bytes and time of change of a file."""

# What stood at each path of an output that is ours alone, and what we have written there since; by the output's path.
_known: dict[Path, dict[Path, _State | None]] = {}


@contextlib.contextmanager
def sole_writer(output: Path, *, folder: bool) -> Iterator[None]:
    """Have an output, a file or a folder, that may replace an earlier one to oneself while the block runs.

    Another fastnst with the same output is refused. What somebody else writes there meanwhile, for a folder right in
    it, `atomic_path` does not replace. Missing folders are made, and the last is removed if nothing comes of it. Raises
    OutputError.
    """
    lock = output / LOCK if folder else output.with_name(f".{output.name}{LOCK}")
    with hold(lock, f"{output}: another fastnst is writing it at this moment; choose another name"):
        place = output.absolute()
        _known[place] = {path: _state(path) for path in (place.iterdir() if folder else [place])}
        try:
            yield
        finally:
            del _known[place]


def _state(path: Path) -> _State | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _unchanged(path: Path) -> Iterator[bool]:
    """Hold the block, which writes a file, to what `sole_writer` says; gives whether the name must be free."""
    place = path.absolute()
    known = _known.get(place, _known.get(place.parent))
    if known is None:
        yield False
        return
    found = _state(place)
    if found != known.get(place) and found is not None:
        raise OutputError(f"{path}: was written by somebody else meanwhile, and is left alone; choose another name")
    yield found is None
    known[place] = _state(place)


def append_text(path: Path, text: str) -> None:
    """Append to a file of one's own. Raises OutputError."""
    try:
        with _unchanged(path), path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextlib.contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there when the block ends well; remove it otherwise.

    Folders on the way are created. Raises OutputError where the system refuses (no space, no permission), and without
    `overwrite` where `path` is there by the end, whoever wrote it meanwhile.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path.parent)
        prefix = f".fastnst-{_COMPUTER}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=f".part{path.suffix}")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only their owner may read; results get the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        with _unchanged(path) as must_be_free:
            if overwrite and not must_be_free:
                temporary.replace(path)
            else:
                move_exclusively(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def move_exclusively(temporary: Path, path: Path) -> None:
    """Give a file its name unless another one has it, then OutputError is raised; the old name may stay."""
    try:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            path.touch(exist_ok=False)
            temporary.replace(path)
    except FileExistsError as error:
        raise OutputError(f"{path}: already exists; --overwrite replaces it") from error


def _clean(folder: Path) -> None:
    """Remove what processes of this computer that were killed left half written in a folder."""
    if (place := folder.absolute()) in _cleaned:
        return
    _cleaned.add(place)
    for path in folder.glob(".fastnst-*.part*"):
        match = _PART.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def write_atomically(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write a whole file or none; raises OutputError, as `atomic_path` does."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def check_folder_for_results(folder: Path) -> None:
    """Find out before hours of work whether a folder can be made and written to; raises OutputError."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        words = "is a file" if place == folder else f"{place} is a file"
        raise OutputError(f"{folder}: {words}; expected the name of a folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror or error}); choose another") from error


def read_regular(path: Path, limit: int) -> bytes:
    """Read an ordinary file of at most `limit` bytes.

    A pipe would be waited for and a device may never end. Raises OSError, with a reason in `strerror`.
    """
    # Without O_NONBLOCK the opening of a pipe already waits.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 - a handle has no path
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no ordinary file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"has {status.st_size:,} bytes, expected at most {limit:,}", str(path))
        return file.read(limit)


class RemovableLock:
    """A lock whose file is removed by whoever holds it; the system lets go of the lock when the process dies."""

    def __init__(self, path: Path, busy: str, patience_s: float = 0.0) -> None:
        """Take the file, the message of the OutputError where another process has it, and how long to wait for that."""
        self._lock, self._path, self._busy = FileLock(path, timeout=patience_s), path, busy

    def acquire(self) -> bool:
        """Take the lock; False where its file was removed meanwhile, so that it keeps nobody out: try again.

        Raises OutputError where another process has it, and OSError where the file cannot be made.
        """
        # Held open, so that no other file gets its number.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        opened = os.open(self._path, flags, 0o644)
        try:
            self._lock.acquire()
            if os.path.samestat(os.fstat(opened), self._path.lstat()):
                return True
            self._lock.release()
        except FileNotFoundError:
            self._lock.release()
        except Timeout as error:
            raise OutputError(self._busy) from error
        except (NotImplementedError, OSError):  # some network disks know no locks: then it goes without
            return True
        finally:
            os.close(opened)
        return False

    def remove(self) -> bool:
        """Remove the file while the lock is held, so that it is nobody else's; Windows does so after `release` only."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let the next one in."""
        self._lock.release()


@contextmanager
def alone_in(folder: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Keep other programs from writing to a folder, which is made where it is missing, while the block runs.

    Another program that is at it is waited for so many seconds.

    Raises OutputError where another one is at it, or where the system refuses.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:  # TensorBoard, for one, takes text alone
        raise OutputError(f"{folder}: its name is no text in UTF-8; choose another folder") from error
    with hold(folder / LOCK, f"{folder}: another fastnst is writing there at this moment; choose another", patience_s):
        yield


@contextmanager
def hold(file: Path, busy: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file while the block runs; its folder is made where it is missing, and goes if nothing came of it.

    Raises OutputError, with the message `busy` where another process has it, or where the system refuses.
    """
    lock, folder = RemovableLock(file, busy, patience_s), file.parent
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not lock.acquire():
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror or error})") from error
    try:
        yield
    finally:
        removed = lock.remove()
        lock.release()
        with suppress(OSError):
            if not removed:
                file.unlink()
            if made:  # and nothing came of it
                folder.rmdir()


@contextmanager
def reading(path: Path, remedy: str, error: type[FastNSTError] = CheckpointError) -> Iterator[None]:
    """Take whatever goes wrong in the block for damage of a file: one error, with what to do about it.

    Errors of fastnst pass.
    """
    try:
        yield
    except _DAMAGE as wrong:
        reason = str(wrong).strip().splitlines()
        words = f"no {reason[0]}" if isinstance(wrong, KeyError) else reason[0] if reason else type(wrong).__name__
        raise error(f"{path}: damaged, or of another version of fastnst ({words}); {remedy}") from wrong


def parse_table(text: str | bytes) -> dict[str, Any]:
    """Parse JSON that must be an object; raises ValueError, TypeError or RecursionError."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"{type(found).__name__} instead of names and values")
    return found


def read_table(path: Path, remedy: str, error: type[FastNSTError] = CheckpointError) -> dict[str, Any]:
    """Read a file of JSON that must be an object; raises `error`."""
    with reading(path, remedy, error):
        return parse_table(read_regular(path, _LARGEST_JSON))


def check_kinds(values: Mapping[str, Any], samples: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError where a value is of another kind than the sample of its name, or has none.

    Numbers are finite and not below 0; a sample that is a list or a table says nothing of what is inside.
    """
    for name, value in values.items():
        if name not in samples:
            raise ValueError(f"{name} is unknown")
        sample = samples[name]
        kinds = (int, float) if type(sample) is float else (type(sample),)
        if type(value) not in kinds:
            raise TypeError(f"{name} is {value!r:.40}")
        if isinstance(value, int | float) and not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}")


def set_aside(path: Path) -> Path:
    """Give a file or a folder a name of its own beside the one it had; raises OSError."""
    places = (path.with_stem(f"{path.stem}-before-{number}") for number in count(1))
    return path.rename(next(place for place in places if not place.exists()))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
