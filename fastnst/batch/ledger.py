"""What is done in an output folder, who is at what, and what failed: kept beside the results, so that a run goes on.

    OUT/failed.jsonl              what failed and why, one JSON object a line
    OUT/.fastnst/done-*.jsonl     the manifest: one line for each result; each process appends to a file of its own
    OUT/.fastnst/claims/          a file for each job at hand, made exclusively
    OUT/.fastnst/workers/         a file for each running process, written anew while it lives

Each process writes files of its own, because network disks and object stores do not append in one piece.
"""

import contextlib
import hashlib
import json
import os
import platform
import secrets
import threading
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import psutil
from filelock import FileLock, Timeout

from fastnst.batch.jobs import WHOLE, Job, Shard, digest
from fastnst.errors import OutputError
from fastnst.io.storage import FileStamp, LocalStorage, Storage, open_storage, source_stamp

RECORDS = ".fastnst"
"""Name of the folder below the output folder."""

FAILED = "failed.jsonl"
_CLAIMS, _WORKERS = f"{RECORDS}/claims", f"{RECORDS}/workers"
_MERGED = "done-merged.jsonl"
_ALIVE_EVERY_S = 20.0
_GONE_AFTER_S = 120.0
"""Without a sign of life, on another computer; on this one the process itself is looked for."""

_COMPUTER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_LINES_AN_OBJECT = 200
"""In an object store, where a file is written anew for each line."""

_MOST_UNSORTED = 100_000

Entries: TypeAlias = npt.NDArray[np.void]
_ENTRY = np.dtype([("name", np.uint64), ("source", np.uint64), ("made", np.uint64), ("at", np.float64)])


class Entry(NamedTuple):
    """What the newest record of a name says."""

    source: int
    """Of size and time of what it was made from."""

    made: int
    """Of settings and size of the result; 0: it failed, or there is no record."""

    at: float
    """When, seconds since 1970."""


_NOTHING = Entry(0, 0, 0.0)


class Manifest:
    """The newest record of each name, by whichever process: 32 bytes each."""

    def __init__(self, storage: Storage) -> None:
        """Read all that is there."""
        self._storage = storage
        self._bytes_read: dict[str, int] = {}
        self._sorted = np.zeros(0, _ENTRY)
        self._newer: dict[int, Entry] = {}
        self.failed: dict[str, dict[str, Any]] = {}
        """Records by name, of what failed and was not done since."""

        self.total = 0
        """Jobs of all shards, as the newest run counted them."""

        self._total_at = 0.0
        self._load()

    def __getitem__(self, name: str) -> Entry:
        mark = digest(name)
        if mark in self._newer:
            return self._newer[mark]
        at = int(np.searchsorted(self._sorted["name"], np.uint64(mark)))
        if at < len(self._sorted) and int(self._sorted["name"][at]) == mark:
            return Entry(*(self._sorted[field][at].item() for field in ("source", "made", "at")))
        return _NOTHING

    @property
    def done(self) -> int:
        """How many results there are."""
        self._sort()
        return int(np.count_nonzero(self._sorted["made"]))

    def refresh(self) -> None:
        """Read what was added since, by whichever process."""
        for record in self._unread():
            self.note(record)

    def note(self, record: Mapping[str, Any]) -> None:
        """Take in a record."""
        if self._is_header(record):
            return
        name, entry = str(record["name"]), entry_of(record)
        if entry.at < self[name].at:
            return
        self._newer[digest(name)] = entry
        if entry.made:
            self.failed.pop(name, None)
        else:
            self.failed[name] = dict(record)
        if len(self._newer) >= _MOST_UNSORTED:
            self._sort()

    def _load(self) -> None:
        columns, times = tuple(array("Q") for _ in range(3)), array("d")
        for record in self._unread():
            if self._is_header(record):
                continue
            name, entry = str(record["name"]), entry_of(record)
            for column, value in zip(columns, (digest(name), entry.source, entry.made), strict=True):
                column.append(value)
            times.append(entry.at)
            if not entry.made:
                self.failed[name] = max(self.failed.get(name, record), record, key=lambda each: float(each["at"]))
        added = np.empty(len(times), _ENTRY)
        for field, values in zip(_ENTRY.names or (), (*columns, times), strict=True):
            added[field] = values
        self._merge(added)
        self.failed = {name: record for name, record in self.failed.items() if not self[name].made}

    def _is_header(self, record: Mapping[str, Any]) -> bool:
        """Whether a line is the first of a run's, which says how many jobs there are."""
        if "total" not in record:
            return False
        if float(record["at"]) > self._total_at:
            self.total, self._total_at = int(record["total"]), float(record["at"])
        return True

    def _unread(self) -> Iterator[dict[str, Any]]:
        for name in self._storage.names(RECORDS):
            if name.endswith(".jsonl"):
                data = self._storage.read(f"{RECORDS}/{name}", self._bytes_read.get(name, 0))
                whole = data.rfind(b"\n") + 1  # a line that is being written has no end yet
                self._bytes_read[name] = self._bytes_read.get(name, 0) + whole
                yield from parse_records(data[:whole])

    def _sort(self) -> None:
        """Move what came in one by one to the sorted array, which takes a tenth of the memory."""
        rows = [(mark, *entry) for mark, entry in self._newer.items()]
        self._newer = {}
        self._merge(np.array(rows, _ENTRY))

    def _merge(self, added: Entries) -> None:
        both = np.concatenate([self._sorted, added]) if len(added) else self._sorted
        both = both[np.lexsort((both["at"], both["name"]))]
        last = np.append(both["name"][1:] != both["name"][:-1], True)[: len(both)]
        self._sorted = both[last]


def parse_records(data: bytes) -> Iterator[dict[str, Any]]:
    """Records of a file's lines; a line that is none, such as half a one after a crash, is passed over."""
    for line in data.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and _is_record(record):
                yield record


def _is_record(record: dict[str, Any]) -> bool:
    if not isinstance(record.get("at"), float | int):
        return False
    if isinstance(record.get("total"), int):
        return True
    source = record.get("input")
    made = isinstance(source, list) and len(source) == 2 and isinstance(record.get("output"), int)
    return isinstance(record.get("name"), str) and (made or "failed" in record)


def entry_of(record: Mapping[str, Any]) -> Entry:
    """What the manifest keeps of a record."""
    if "failed" in record:
        return Entry(0, 0, float(record["at"]))
    made = made_mark(str(record["settings"]), int(record["output"]))
    return Entry(source_mark(FileStamp(*record["input"])), made, float(record["at"]))


def source_mark(stamp: FileStamp) -> int:
    """A number that stands for a source's size and time."""
    return digest(f"{stamp.size} {stamp.changed_ns}")


def made_mark(settings: str, size: int) -> int:
    """A number that stands for settings and the size of a result; never 0."""
    return digest(f"{settings} {size}") or 1


def settings_key(settings: Mapping[str, object]) -> str:
    """A short name for all that results depend on beside their sources."""
    return f"{digest(json.dumps(settings, sort_keys=True, default=str)):016x}"


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
        """Read the manifest.

        Args:
            output: folder or address.
            settings: all that results depend on beside their sources.
            total: jobs of all shards.
            shard: this process's part, for the record.
            overwrite: do anew what was done before this began.
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
            write_failures(self.storage, self.manifest)

    def is_done(self, job: Job) -> bool:
        """Whether a job's result is there, made from this source with these settings."""
        entry = self.manifest[job.name]
        if not entry.made or (self._overwrite and entry.at < self._began):
            return False
        result, source = self.storage.stamp(job.name), source_stamp(job.source)
        if result is None or source is None:
            return False
        return entry.source == source_mark(source) and entry.made == made_mark(self._settings, result.size)

    def is_there(self, job: Job) -> bool:
        """Whether something stands in a result's place."""
        return self.storage.stamp(job.name) is not None

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
        self.manifest.refresh()
        self.storage.stamp(job.name, fresh=True)
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


@contextmanager
def alone(storage: Storage) -> Iterator[None]:
    """Keep other processes out of the block, where the records lie on a disk that knows locks."""
    if not isinstance(storage, LocalStorage):
        yield
        return
    lock = FileLock(storage.path / RECORDS / "lock", timeout=30)
    with contextlib.suppress(Timeout, NotImplementedError, OSError):  # of network disks that know no locks
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_failures(storage: Storage, manifest: Manifest) -> None:
    """Write failed.jsonl; with nothing to write it goes."""
    with alone(storage):
        if not manifest.failed:
            storage.remove(FAILED)
            return
        lines = [json.dumps(manifest.failed[name]) + "\n" for name in sorted(manifest.failed)]
        storage.write(FAILED, "".join(lines).encode())


class BatchStatus(NamedTuple):
    """How far a batch is."""

    total: int
    """Jobs of all shards, as the newest run counted them."""

    done: int
    failed: dict[str, str]
    """Reasons, by the names of the results."""

    workers: int
    """Processes that are at it."""

    claimed: int
    """Jobs that they are at."""

    @property
    def left(self) -> int:
        """Jobs that are neither done nor failed."""
        return max(0, self.total - self.done - len(self.failed))


def read_status(output: str | Path) -> BatchStatus:
    """Say how far the batch of an output folder is, and merge what its processes have recorded, if all have ended.

    Raises OutputError where there is no batch.
    """
    storage = open_storage(output)
    if not any(name.endswith(".jsonl") for name in storage.names(RECORDS)):
        raise OutputError(f"{output}: holds no batch; expected a folder that fastnst stylize or video has written to")
    workers = [name for name in storage.names(_WORKERS) if is_alive(storage, name)]
    if not workers:
        with contextlib.suppress(OutputError):  # a folder that may only be read
            merge_records(storage)
    manifest = Manifest(storage)
    with contextlib.suppress(OutputError):
        write_failures(storage, manifest)
    failed = {name: str(record["failed"]) for name, record in sorted(manifest.failed.items())}
    claims = [name for name in storage.names(_CLAIMS) if _owner(storage, name) in workers]
    return BatchStatus(manifest.total, manifest.done, failed, len(workers), len(claims))


def _owner(storage: Storage, claim: str) -> str:
    return storage.read(f"{_CLAIMS}/{claim}").decode("utf-8", "replace")


def merge_records(storage: Storage) -> None:
    """Put the newest record of each name into one file, in place of the processes' own. All must have ended."""
    with alone(storage):
        files = [name for name in storage.names(RECORDS) if name.endswith(".jsonl")]
        if len(files) < 2:
            return
        manifest, kept, header = Manifest(storage), bytearray(), {"total": 0, "at": 0.0}
        for name in files:
            for record in parse_records(storage.read(f"{RECORDS}/{name}")):
                if "total" in record:
                    header = max(header, record, key=lambda each: float(str(each["at"])))
                elif record["at"] == manifest[record["name"]].at:
                    kept += json.dumps(record).encode() + b"\n"
        storage.write(f"{RECORDS}/{_MERGED}", json.dumps(header).encode() + b"\n" + kept, durable=True)
        for name in files:
            if name != _MERGED:
                storage.remove(f"{RECORDS}/{name}")
        # Claims stay: that of a process which is gone says that a result without a record is the batch's own.
        for name in storage.names(_WORKERS):
            storage.remove(f"{_WORKERS}/{name}")
