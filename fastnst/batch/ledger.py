"""An output folder as one process of a batch sees it: what is done, who is at what, and how far all are.

OUT/.fastnst/claims/          a file for each job at hand, made exclusively
OUT/.fastnst/workers/         a file for each running process, written anew while it lives
"""

import contextlib
import hashlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from fastnst.batch.jobs import WHOLE, Job, Shard, digest
from fastnst.batch.manifest import (
    RECORDS,
    Manifest,
    alone,
    made_mark,
    merge_records,
    record_files,
    settings_key,
    source_mark,
    write_failures,
)
from fastnst.errors import OutputError
from fastnst.io.addresses import FileStamp, source_stamp
from fastnst.io.storage import LocalStorage, Storage, open_storage

_CLAIMS, _WORKERS = f"{RECORDS}/claims", f"{RECORDS}/workers"
_ALIVE_EVERY_S = 20.0
_GONE_AFTER_S = 120.0
"""Without a sign of life, on another computer; on this one the process itself is looked for."""

_COMPUTER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_LINES_AN_OBJECT = 200
"""In an object store, where a file is written anew for each line."""


class Ledger:
    """An output folder as one process of a batch sees it; use it in a `with` block.

    The claim of a process that is gone is taken over, and with it what that may have left without a record.
    """

    def __init__(
        self,
        output: str | Path,
        settings: Mapping[str, object],
        *,
        total: int = 0,
        shard: Shard = WHOLE,
        overwrite: bool = False,
    ) -> None:
        """Read the manifest below a folder or an address.

        `settings` are all that results depend on beside their sources, `total` counts the jobs of all shards, `shard`
        is this process's part, for the record. With `overwrite` what was done before this began is done anew.
        """
        self.storage = open_storage(output)
        self._settings, self._overwrite, self._began = settings_key(settings), overwrite, time.time()
        self._worker = f"{_COMPUTER}-{os.getpid()}-{secrets.token_hex(4)}"
        self._header = {"total": total, "shard": str(shard), "settings": settings, "at": self._began}
        self._lines = 0
        self._left = threading.Event()
        self._sources: dict[str, FileStamp | None] = {}
        self._inherited: set[str] = set()
        self.manifest = Manifest(self.storage)

    def __enter__(self) -> Self:
        self.storage.check()
        self._say_alive()
        threading.Thread(target=self._keep_alive, name="alive", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        for name in self._sources:
            self.storage.remove(_claim(name))
        self.storage.remove(f"{_WORKERS}/{self._worker}")
        if self._lines:
            self.manifest.refresh()
            with contextlib.suppress(OutputError):  # a full disk; the records have them, too
                write_failures(self.storage, self.manifest)

    def is_done(self, job: Job) -> bool:
        """Whether a job's result is there, made from this source with these settings."""
        entry = self.manifest[job.name]
        if not entry.made or (self._overwrite and entry.at < self._began):
            return False
        result = self.storage.stamp(job.name)
        if result is None or entry.made != made_mark(self._settings, result.size):
            return False
        source = source_stamp(job.source)
        return source is not None and entry.source == source_mark(source)

    def may_replace(self, job: Job) -> bool:
        """Whether what stands in a result's place is this batch's own: of an earlier source, or left by a crash.

        What other settings made, or what nobody recorded, is somebody's; only `overwrite` replaces it.
        """
        if self._overwrite or job.name in self._inherited:
            return True
        result = self.storage.stamp(job.name)
        return result is not None and self.manifest[job.name].made == made_mark(self._settings, result.size)

    def claim(self, job: Job) -> bool:
        """Take a job; False where another process has it at this moment, or has just done it."""
        path = _claim(job.name)
        while not self.storage.create(path, self._worker.encode()):
            if not self._clear(path):
                return False
            self._inherited.add(job.name)
        self._sources[job.name] = source_stamp(job.source)
        if self.storage.stamp(job.name, fresh=True) is not None:  # else nobody can have done it
            self.manifest.refresh()
            if self.is_done(job):
                self.release(job)
                return False
        return True

    def record_done(self, job: Job, size: int, elapsed_s: float) -> None:
        """Record a result of so many bytes, and let go of the job."""
        source = self._sources[job.name] or FileStamp(0, 0)
        made = {"input": list(source), "output": size, "settings": self._settings, "seconds": round(elapsed_s, 3)}
        self._record(job, made)

    def record_failed(self, job: Job, reason: str) -> None:
        """Record why a job failed, and let go of it."""
        self._record(job, {"source": job.source, "failed": reason})

    def release(self, job: Job) -> None:
        """Let go of a job without a word."""
        self._sources.pop(job.name, None)
        self.storage.remove(_claim(job.name))

    def _record(self, job: Job, fields: Mapping[str, Any]) -> None:
        record = {"name": job.name, **fields, "at": time.time()}
        part = "" if isinstance(self.storage, LocalStorage) else f"-{self._lines // _LINES_AN_OBJECT:04d}"
        text = json.dumps(record) + "\n"
        if not self._lines:
            text = json.dumps(self._header, default=str) + "\n" + text
        # Where this fails the claim stays: who takes it over knows that there may be a result without a record.
        del self._sources[job.name]
        self.storage.append(f"{RECORDS}/done-{self._worker}{part}.jsonl", text)
        self._lines += 1
        self.manifest.note(record)
        self.release(job)

    def _clear(self, path: str) -> bool:
        """Remove the claim of a process that is gone; one at a time, so that nobody's fresh claim is removed."""
        with alone(self.storage):
            owner = self.storage.read(path).decode("utf-8", "replace")
            if owner == self._worker or is_alive(self.storage, owner):
                return False
            self.storage.remove(path)
        return True

    def _say_alive(self) -> None:
        about = {"pid": os.getpid(), "started": psutil.Process().create_time(), "at": time.time()}
        self.storage.write(f"{_WORKERS}/{self._worker}", json.dumps(about).encode())

    def _keep_alive(self) -> None:
        while not self._left.wait(_ALIVE_EVERY_S):
            with contextlib.suppress(OutputError):
                self._say_alive()


def _claim(name: str) -> str:
    return f"{_CLAIMS}/{digest(name):016x}"


def is_alive(storage: Storage, worker: str) -> bool:
    """Whether a process that claims or has claimed something still runs, as far as can be told from here."""
    if not worker:  # a claim that is being written at this moment
        return True
    try:
        about = json.loads(storage.read(f"{_WORKERS}/{worker}"))
        pid, started, at = int(about["pid"]), float(about["started"]), float(about["at"])
    except (ValueError, KeyError, TypeError):
        return False
    if not worker.startswith(f"{_COMPUTER}-"):
        return time.time() - at < _GONE_AFTER_S
    try:
        return abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


class BatchStatus(NamedTuple):
    """How far a batch is."""

    total: int
    """Jobs of all shards, as the newest run counted them."""

    done: int
    failed: dict[str, bytes]
    """Lines of failed.jsonl, by the names of the results."""

    workers: int
    """Processes that are at it."""

    claimed: int
    """Jobs that they are at."""

    def reasons(self) -> Iterator[tuple[str, str]]:
        """What failed, by the name of the result, and why."""
        return ((name, str(json.loads(line)["failed"])) for name, line in self.failed.items())

    @property
    def left(self) -> int:
        """Jobs that are neither done nor failed."""
        return max(0, self.total - self.done - len(self.failed))


def read_status(output: str | Path) -> BatchStatus:
    """Say how far the batch of an output folder is, and merge what its processes have recorded, if all have ended.

    Raises OutputError where there is no batch.
    """
    storage = open_storage(output)
    if not record_files(storage):
        raise OutputError(f"{output}: holds no batch; expected a folder that fastnst stylize or video has written to")
    workers = [name for name in storage.names(_WORKERS) if is_alive(storage, name)]
    if not workers:
        with contextlib.suppress(OutputError):  # a folder that may only be read
            merge_records(storage)
            _forget_workers(storage)
    manifest = Manifest(storage)
    try:
        failed = write_failures(storage, manifest)
    except OutputError:
        failed = manifest.failures()
    claims = [name for name in storage.names(_CLAIMS) if _owner(storage, name) in workers]
    return BatchStatus(manifest.header["total"], manifest.done, failed, len(workers), len(claims))


def _owner(storage: Storage, claim: str) -> str:
    return storage.read(f"{_CLAIMS}/{claim}").decode("utf-8", "replace")


def _forget_workers(storage: Storage) -> None:
    """Remove the files of processes that have all ended.

    Claims stay: that of a process which is gone says that a result without a record is the batch's own.
    """
    for name in storage.names(_WORKERS):
        storage.remove(f"{_WORKERS}/{name}")
