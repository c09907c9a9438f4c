"""The folder beside an unfinished output that holds what is painted already.

It is called `.NAME.painting`, where NAME is the output's name, and goes when the output is whole.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from fastnst.errors import OutputError

_DESCRIPTION = "job.json"
_LOCK = "lock"


class JobFolder:
    """Use it in a `with` block: leaving removes the folder, unless there is something worth keeping.

    with JobFolder(output, {"film": "...", "style": "..."}) as job:
        ...
        job.publish(job.folder / "whole.mp4")
    """

    def __init__(self, output: Path, identity: Mapping[str, object], *, resume: bool = True) -> None:
        """Describe the job.

        Args:
            output: the file or folder to be made.
            identity: all that the painted frames depend on; what another identity left behind is dropped.
            resume: go on from what an earlier run left.
        """
        self.output = output
        self.folder = job_folder(output)
        self.keep = False
        """Keep the folder when the block is left."""

        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._resume = resume
        # The system lets go of it when the process dies.
        self._lock = FileLock(self.folder / _LOCK, timeout=0)
        self.resumed = False
        """An earlier run with the same identity left something."""

    def __enter__(self) -> Self:
        with writing(self.output):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise OutputError(f"{self.output}: another fastnst is painting it at this moment") from error
            except (NotImplementedError, OSError):  # some network disks know no locks: then it goes without
                pass
            try:
                self._prepare()
            except OSError:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self, whole: Path) -> None:
        """Give a finished file its name. Raises OutputError."""
        with writing(self.output):
            with whole.open("rb+") as file:
                os.fsync(file.fileno())
            whole.replace(self.output)
        self.keep = False

    def _prepare(self) -> None:
        description = self.folder / _DESCRIPTION
        same = description.exists() and description.read_text() == self._identity
        self.resumed = same and self._resume
        if not self.resumed:
            self._empty()
            description.write_text(self._identity)

    def _empty(self) -> None:
        for path in self.folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def job_folder(output: Path) -> Path:
    """Where the parts of an unfinished output are kept."""
    return output.parent / f".{output.name}.painting"


def left_identity(output: Path) -> dict[str, object] | None:
    """Read what identity an unfinished job for an output had; None where there is none."""
    try:
        identity = json.loads((job_folder(output) / _DESCRIPTION).read_text())
    except (OSError, ValueError):
        return None
    return identity if isinstance(identity, dict) else None


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn the system's refusals inside the block (no space, no permission) into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
