"""One program at a time: a lock file in a folder that is written to, which goes with the lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fastnst.errors import OutputError

LOCK = ".lock"
"""Name of the file inside a locked folder."""


class RemovableLock:
    """A lock whose file is removed by whoever holds it; the system lets go of the lock when the process dies."""

    def __init__(self, path: Path, busy: str) -> None:
        """Take the file, and the message of the OutputError where another process has it."""
        self._lock, self._path, self._busy = FileLock(path, timeout=0), path, busy

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
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other programs from writing to a folder, which is made where it is missing, while the block runs.

    Raises OutputError where another one is at it, or where the system refuses.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:  # TensorBoard, for one, takes text alone
        raise OutputError(f"{folder}: its name is no text in UTF-8; choose another folder") from error
    with hold(folder / LOCK, f"{folder}: another fastnst is writing there at this moment; choose another"):
        yield


@contextmanager
def hold(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock file while the block runs; its folder is made where it is missing, and goes if nothing came of it.

    Raises OutputError, with the message `busy` where another process has it, or where the system refuses.
    """
    lock, folder = RemovableLock(file, busy), file.parent
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
