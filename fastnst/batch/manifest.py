"""The manifest of an output folder: what was made of what, with which settings, and what failed.

    OUT/failed.jsonl              what failed and why, one JSON object a line
    OUT/.fastnst/done-*.jsonl     the records: one line for each result

Each process appends to a file of its own, because network disks and object stores do not append in one piece. Memory
holds 32 bytes for each name, so that a process can look at millions.
"""

import contextlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from fastnst.batch.jobs import digest
from fastnst.io.addresses import FileStamp
from fastnst.io.storage import LocalStorage, Storage

RECORDS = ".fastnst"
"""Name of the folder below the output folder."""

FAILED = "failed.jsonl"
_MERGED = "done-merged.jsonl"
_MOST_UNSORTED = 100_000


class Entry(NamedTuple):
    """What the newest record of a name says, in marks that hold in this process alone."""

    source: int
    """Of size and time of what it was made from."""

    made: int
    """Of settings and size of the result; 0: it failed, or there is no record."""

    at: float
    """When, seconds since 1970."""


_NOTHING = Entry(0, 0, 0.0)


class Manifest:
    """The newest record of each name, by whichever process."""

    def __init__(self, storage: Storage) -> None:
        """Read all that is there."""
        self._storage = storage
        self._bytes_read: dict[str, int] = {}
        self._names, self._sources, self._made, self._times = array("q"), array("q"), array("q"), array("d")
        """Columns, sorted by the hash of the name."""

        self._newer: dict[int, Entry] = {}
        """What came in since they were sorted."""

        self.header: dict[str, Any] = {"total": 0, "at": 0.0}
        """What the newest run said when it began: jobs of all shards, its shard, its settings."""

        for _, record in self._unread():
            if "total" in record:
                self.note(record)
            else:
                self._append(hash(record["name"]), entry_of(record))
        self._sort()

    def __getitem__(self, name: str) -> Entry:
        mark = hash(name)
        if self._newer and mark in self._newer:
            return self._newer[mark]
        at = bisect_left(self._names, mark)
        if at < len(self._names) and self._names[at] == mark:
            return Entry(self._sources[at], self._made[at], self._times[at])
        return _NOTHING

    @property
    def done(self) -> int:
        """How many results there are."""
        self._take_in()
        return int(np.count_nonzero(np.frombuffer(self._made, np.int64)))

    def refresh(self) -> None:
        """Read what was added since, by whichever process."""
        for _, record in self._unread():
            self.note(record)

    def note(self, record: Mapping[str, Any]) -> None:
        """Take in a record."""
        if "total" in record:
            self.header = max(self.header, dict(record), key=lambda each: float(each["at"]))
            return
        entry = entry_of(record)
        if entry.at >= self[record["name"]].at:
            self._newer[hash(record["name"])] = entry
        if len(self._newer) >= _MOST_UNSORTED:
            self._take_in()

    def failures(self) -> dict[str, bytes]:
        """Lines of records by name, sorted, of what failed and was not done since."""
        found = {}
        for line, record in read_records(self._storage, containing=b'"failed"'):
            if "failed" in record and record["at"] == self[record["name"]].at:
                found[record["name"]] = line
        return dict(sorted(found.items()))

    def newest(self) -> Iterator[bytes]:
        """Lines of the newest record of each name, after that of the newest run."""
        yield json.dumps(self.header).encode() + b"\n"
        for line, record in read_records(self._storage):
            if "total" not in record and record["at"] == self[record["name"]].at:
                yield line

    def _unread(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        return read_records(self._storage, self._bytes_read)

    def _append(self, mark: int, entry: Entry) -> None:
        self._names.append(mark)
        self._sources.append(entry.source)
        self._made.append(entry.made)
        self._times.append(entry.at)

    def _take_in(self) -> None:
        """Move what came in one by one to the columns, which take a tenth of the memory."""
        for mark, entry in self._newer.items():
            self._append(mark, entry)
        self._newer = {}
        self._sort()

    def _sort(self) -> None:
        if not self._names:
            return
        names = np.frombuffer(self._names, np.int64)
        order = np.lexsort((np.frombuffer(self._times, np.float64), names))
        ordered = names[order]
        order = order[np.append(ordered[1:] != ordered[:-1], True)]  # the newest of each name
        del names, ordered  # an array that is looked into cannot change
        self._names, self._sources, self._made, self._times = (
            _chosen(column, order) for column in (self._names, self._sources, self._made, self._times)
        )


def _chosen(column: "array[Any]", order: "np.ndarray[Any, Any]") -> "array[Any]":
    chosen = array(column.typecode)
    chosen.frombytes(memoryview(np.frombuffer(column, column.typecode)[order]).cast("B"))
    return chosen


def record_files(storage: Storage) -> list[str]:
    """Names of the files with records."""
    return [name for name in storage.names(RECORDS) if name.endswith(".jsonl")]


def read_records(
    storage: Storage, bytes_read: dict[str, int] | None = None, *, containing: bytes = b""
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines and what they say; a line that is no record, such as half a one after a crash, is passed over.

    `bytes_read` says where to begin in each file and is brought forward; only lines that contain some bytes are looked
    at.
    """
    bytes_read = {} if bytes_read is None else bytes_read
    for name in record_files(storage):
        for line in storage.lines(f"{RECORDS}/{name}", bytes_read.get(name, 0)):
            bytes_read[name] = bytes_read.get(name, 0) + len(line)
            if containing in line:
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if isinstance(record, dict) and _is_record(record):
                        yield line, record


def _is_record(record: dict[str, Any]) -> bool:
    if not isinstance(record.get("at"), float | int):
        return False
    if isinstance(record.get("total"), int):
        return True
    if not isinstance(record.get("name"), str):
        return False
    return "failed" in record or (isinstance(record.get("settings"), str) and _are_numbers(record))


def _are_numbers(record: dict[str, Any]) -> bool:
    source = record.get("input")
    numbers = [*source, record.get("output")] if isinstance(source, list) and len(source) == 2 else [None]
    return all(isinstance(number, int) for number in numbers)


def entry_of(record: Mapping[str, Any]) -> Entry:
    """What the manifest keeps of a record."""
    if "failed" in record:
        return Entry(0, 0, float(record["at"]))
    size, changed_ns = record["input"]
    return Entry(hash((size, changed_ns)), made_mark(record["settings"], record["output"]), float(record["at"]))


def source_mark(stamp: FileStamp) -> int:
    """A number that stands for a source's size and time."""
    return hash(stamp)  # that of a tuple


def made_mark(settings: str, size: int) -> int:
    """A number that stands for settings and the size of a result; never 0."""
    return hash((settings, size)) or 1


def settings_key(settings: Mapping[str, object]) -> str:
    """A short name for all that results depend on beside their sources."""
    return f"{digest(json.dumps(settings, sort_keys=True, default=str)):016x}"


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


def write_failures(storage: Storage, manifest: Manifest) -> dict[str, bytes]:
    """Write failed.jsonl, and give its lines by name; with nothing to write it goes."""
    with alone(storage):
        failures = manifest.failures()
        if failures:
            storage.write_lines(FAILED, failures.values())
        else:
            storage.remove(FAILED)
    return failures


def merge_records(storage: Storage) -> None:
    """Put the newest record of each name into one file, in place of the processes' own. All must have ended."""
    with alone(storage):
        files = record_files(storage)
        if len(files) < 2:
            return
        storage.write_lines(f"{RECORDS}/{_MERGED}", Manifest(storage).newest())
        for name in files:
            if name != _MERGED:
                storage.remove(f"{RECORDS}/{name}")
