"""What an unfinished film is made with: three stages that run at once, and the folder that it is resumed from.

Reading, painting and writing each have a thread, joined by short queues, with bounded memory and no way to hang:
whichever stage fails, the others stop, all threads end, and the caller gets the error of the stage that failed.

The folder beside an unfinished output, `.NAME.painting`, where NAME is the output's name, holds what is painted already
and goes when the output is whole. A folder or a link of that name can come with somebody else's files: nothing is
written or deleted unless all that is in there is a job's.
"""

import json
import os
import re
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from fastnst.errors import OutputError
from fastnst.io.files import RemovableLock, move_exclusively, read_regular, write_atomically

_DESCRIPTION = "job.json"
_LOCK = "lock"

# Segments and what the next one depends on, numbered pictures, the assembled film, and unfinished ones of all these.
_OURS = re.compile(r"\d{6}\.(segment|part|npz)|\d{9}\.\w+|whole\.\w+|\.[\w.-]+\.part\.\w+")

_DESCRIPTION_BYTES = 1 << 20
"""No description is larger."""


class JobFolder:
    """Use it in a `with` block: leaving removes the folder, unless there is something worth keeping.

    with JobFolder(output, {"film": "...", "style": "..."}) as job:
        ...
        job.publish(job.folder / "whole.mp4", overwrite=False)
    """

    def __init__(self, output: Path, identity: Mapping[str, object], *, resume: bool | Literal["force"] = True) -> None:
        """Describe the job; identity is all that the painted frames depend on: what another one left behind is dropped.

        With `resume` it goes on from what an earlier run left; with "force" entering raises OutputError where that had
        another identity.
        """
        self.output = output
        self.folder = job_folder(output)
        self.keep = False
        """Keep the folder when the block is left."""

        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._resume = resume
        self._lock = RemovableLock(self.folder / _LOCK, f"{output}: another fastnst is painting it at this moment")
        self.resumed = False
        """An earlier run with the same identity left something."""

    def __enter__(self) -> Self:
        with writing(self.output):
            self._open()
            try:
                self._prepare()
            except (OSError, OutputError):
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.keep:
            self._lock.release()
            return
        with suppress(OSError):
            self._empty()
            (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        # Before the lock is let go: the next run's work must not be what is removed. Windows deletes no open file, and
        # afterwards none that the next run has opened.
        removed = self._remove()
        self._lock.release()
        if not removed:
            self._remove()

    def publish(self, whole: Path, *, overwrite: bool) -> None:
        """Give a finished file its name. Raises OutputError, without `overwrite` where another file has it by now."""
        with writing(self.output):
            with whole.open("rb+") as file:
                os.fsync(file.fileno())
            if overwrite:
                whole.replace(self.output)
            else:
                move_exclusively(whole, self.output)
        self.keep = False

    def _open(self) -> None:
        """Make the folder and lock it; raises OutputError where another job has it, or where it is no job's."""
        while True:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.folder.mkdir()
            with suppress(FileNotFoundError):  # a job that ends has just removed the folder
                refusal = _refusal(self.folder)
                if refusal is not None:
                    raise OutputError(
                        f"{self.folder}: {refusal}; it is left alone, and an unfinished {self.output.name} would be "
                        "kept there: move it away, or choose another -o"
                    )
                if self._lock.acquire():
                    return

    def _prepare(self) -> None:
        description = self.folder / _DESCRIPTION
        same = description.exists() and read_regular(description, _DESCRIPTION_BYTES) == self._identity.encode()
        self.resumed = same and bool(self._resume)
        if self._resume == "force" and not same:
            self.keep = True
            raise OutputError(
                f"{self.folder}: was begun with another source, style or other settings; give the same, or "
                "--resume never to start again"
            )
        if not self.resumed:
            # The old description goes last: without its files it does no harm, and they without it would.
            self._empty()
            write_atomically(description, self._identity.encode())

    def _empty(self) -> None:
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                path.unlink()

    def _remove(self) -> bool:
        if not self._lock.remove():
            return False
        with suppress(OSError):  # something that is not ours
            self.folder.rmdir()
        return True


@dataclass
class SharedFolder:
    """A folder that several processes write segments to, each its own."""

    output: Path
    """The film to be made."""

    folder: Path
    resumed: bool = False
    keep: bool = True


def _refusal(folder: Path) -> str | None:
    """Why a folder is not that of an unfinished job; None where it is, or is empty."""
    mode = folder.lstat().st_mode
    if not stat.S_ISDIR(mode):
        return "is a link" if stat.S_ISLNK(mode) else "is no folder"
    files = list(folder.iterdir())
    for path in files:
        if not (path.name in (_LOCK, _DESCRIPTION) or _OURS.fullmatch(path.name)):
            return f"holds {path.name}, which is no part of an unfinished film"
        with suppress(FileNotFoundError):  # removed by the job that it belongs to
            if not stat.S_ISREG(path.lstat().st_mode):
                return f"holds {path.name}, which is no ordinary file"
    # A job that was killed at its very start has but the lock, and perhaps half a description.
    if any(path.name != _LOCK and path.suffix != ".json" for path in files) and folder / _DESCRIPTION not in files:
        return f"holds no {_DESCRIPTION}, as an unfinished film would"
    return None


def job_folder(output: Path) -> Path:
    """Where the parts of an unfinished output are kept."""
    return output.parent / f".{output.name}.painting"


def left_identity(output: Path) -> dict[str, object] | None:
    """Read what identity an unfinished job for an output had; None where there is none."""
    try:
        identity = json.loads(read_regular(job_folder(output) / _DESCRIPTION, _DESCRIPTION_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return identity if isinstance(identity, dict) else None


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn the system's refusals inside the block (no space, no permission) into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error


T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

# A wait without end cannot be interrupted by Ctrl-C on Windows.
_WAIT_S = 0.5


class Channel(Generic[T]):
    """A bounded queue from one thread to another that either end can close.

    The giver calls `put`, then `finish`; the taker iterates, and calls `abandon` if it leaves early.
    """

    def __init__(self, depth: int) -> None:
        """Make a channel that holds at most `depth` items."""
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._finished = self._abandoned = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add an item. False: nobody takes any more, stop."""
        with self._changed:
            while len(self._items) >= self._depth and not self._abandoned:
                self._changed.wait(_WAIT_S)
            if not self._abandoned:
                self._items.append(item)
                self._changed.notify_all()
            return not self._abandoned

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no more items come; `error` is raised in the taker after the last one."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that nobody takes any more; drops what is waiting."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._finished and not self._abandoned:
                    self._changed.wait(_WAIT_S)
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error


@contextmanager
def overlapping(
    source: Iterable[A], sink: Callable[[B], None], *, depth: int = 4
) -> Iterator[tuple[Iterable[A], Callable[[B], bool]]]:
    """Read in one thread and write in another, while the block works in the caller's, so that Ctrl-C reaches it.

        with overlapping(frames, writer.write) as (read, write):
            for frame in read:
                if not write(work(frame)):
                    break

    Order is kept. All that `source` gave before it failed still comes to the block, and what that writes to `sink`:
    False means that it has failed, and the block should end. A generator is closed in its own thread. `depth` items
    wait between two stages at most. Raises what the block or `source` raised, else what `sink` raised.
    """
    read: Channel[A] = Channel(depth)
    done: Channel[B] = Channel(depth)
    failures: list[BaseException] = []
    threads = (
        threading.Thread(target=_feed, args=(source, read), name="reader", daemon=True),
        threading.Thread(target=_drain, args=(done, sink, failures), name="writer", daemon=True),
    )
    for thread in threads:
        thread.start()
    try:
        yield read, done.put
    finally:
        read.abandon()
        done.finish()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _feed(source: Iterable[A], channel: Channel[A]) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not channel.put(item):
                break
        if isinstance(source, Generator):
            source.close()
    except BaseException as caught:
        error = caught
    finally:
        channel.finish(error)


def _drain(channel: Channel[B], sink: Callable[[B], None], failures: list[BaseException]) -> None:
    try:
        for item in channel:
            sink(item)
    except BaseException as error:
        failures.append(error)
    finally:
        channel.abandon()
