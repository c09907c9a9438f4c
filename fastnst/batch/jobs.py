"""Which files are meant, and which result each becomes: settled before any work starts, a million of them as well."""

import hashlib
import os
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError, OutputError, SettingError
from fastnst.io.addresses import is_address, list_addresses

Marks: TypeAlias = npt.NDArray[np.int64]


class Job(NamedTuple):
    """One file to do."""

    source: str
    """A path, or an address."""

    name: str
    """The result's place below the output folder, with "/" between folders: what the job is known by."""


class JobList(Sequence[Job]):
    """Jobs, in the bytes of their names: a million take about as much memory as their list in a file."""

    def __init__(self) -> None:
        self._folders: dict[str, int] = {}
        """What stands before the name in sources, which many share, each with its number."""

        self._text, self._ends, self._kinds = bytearray(), array("Q", [0]), array("q")
        """A job's bytes are its name, and its kind is the number of its folder; or where the source does not end in
        the name, source and name, and the kind is the length of the name, negative."""

    def append(self, job: Job) -> None:
        """Add a job."""
        source, name = job
        content = name.encode("utf-8", "surrogatepass")
        if source.endswith(name):
            folder = source[: len(source) - len(name)]
            self._kinds.append(self._folders.setdefault(folder, len(self._folders)))
        else:
            self._kinds.append(-len(content))
            content = source.encode("utf-8", "surrogatepass") + content
        self._text += content
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Job]:
        folders, text, begin = list(self._folders), self._text, 0
        for kind, end in zip(self._kinds, islice(self._ends, 1, None), strict=True):
            yield _read_job(text[begin:end], kind, folders)
            begin = end

    @overload
    def __getitem__(self, at: int) -> Job: ...

    @overload
    def __getitem__(self, at: slice) -> list[Job]: ...

    def __getitem__(self, at: int | slice) -> Job | list[Job]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        return _read_job(self._text[self._ends[at] : self._ends[at + 1]], self._kinds[at], list(self._folders))


def _read_job(content: bytearray, kind: int, folders: Sequence[str]) -> Job:
    if kind >= 0:
        name = content.decode("utf-8", "surrogatepass")
        return Job(folders[kind] + name, name)
    source, name = (part.decode("utf-8", "surrogatepass") for part in (content[:kind], content[kind:]))
    return Job(source, name)


def digest(text: str) -> int:
    """A number of 64 bits that stands for a text, the same on every computer."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


class Shard(NamedTuple):
    """One of several equal parts of the jobs, by a hash of their names."""

    number: int
    """From 1."""

    parts: int
    origin: str = "--shard"
    """Where it was said."""

    def holds(self, name: str) -> bool:
        """Whether a job is in this part."""
        return self.parts == 1 or digest(name) % self.parts == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.parts}"


WHOLE = Shard(1, 1)
"""All jobs."""


def choose_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Read 3/64, or with None what SLURM's job array or torchrun's variables say; WHOLE where nobody says anything.

    Raises SettingError.
    """
    if text is not None:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        shard = Shard(int(match[1]), int(match[2])) if match else None
        if shard is None or not 1 <= shard.number <= shard.parts:
            raise SettingError(f"--shard {text}: expected a part of all, such as 3/64; they count from 1/64 to 64/64")
        return shard
    numbers = {name: int(value) for name, value in environment.items() if name in _SHARD_VARIABLES and value.isdigit()}
    if numbers.keys() >= {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"}:
        step = numbers.get("SLURM_ARRAY_TASK_STEP", 1) or 1
        place = (numbers["SLURM_ARRAY_TASK_ID"] - numbers.get("SLURM_ARRAY_TASK_MIN", 0)) // step
        return _from_environment(place, numbers["SLURM_ARRAY_TASK_COUNT"], "SLURM_ARRAY_TASK_ID")
    if numbers.keys() >= {"RANK", "WORLD_SIZE"}:
        return _from_environment(numbers["RANK"], numbers["WORLD_SIZE"], "RANK")
    return WHOLE


_SHARD_VARIABLES = {
    *("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"),
    *("RANK", "WORLD_SIZE"),
}


def _from_environment(place: int, count: int, origin: str) -> Shard:
    if not 0 <= place < count:
        raise SettingError(f"{origin} is place {place} of {count}, from 0; give --shard NUMBER/COUNT")
    return Shard(place + 1, count, origin)


def read_names(list_file: str) -> list[str]:
    """Read a list of files, one a line, or - for standard input; empty lines are passed over. Raises InputError."""
    try:
        data = sys.stdin.buffer.read() if list_file == "-" else Path(list_file).read_bytes()
    except OSError as error:
        raise InputError(f"--from {list_file}: cannot be read ({error.strerror or error})") from error
    names = [os.fsdecode(line.rstrip(b"\r")) for line in data.split(b"\n") if line.strip()]
    if not names:
        raise InputError(f"--from {list_file}: names no file; expected one a line")
    return names


class BatchPlan(NamedTuple):
    """What a batch is to do."""

    jobs: Sequence[Job]
    """Those of the shard."""

    output: str
    """Folder or address that their names are below."""

    total: int
    """Jobs of all shards."""

    shard: Shard = WHOLE
    alone: bool = False
    """It is one result, with a name that the user chose: nothing is recorded beside it."""


def each_object(address: str, wanted: Callable[[str], bool], name: Callable[[str], str]) -> Iterator[Job]:
    """Give a job for each wanted object below an address, or that matches it; raises InputError where there is none."""
    found = [each for each in list_addresses(address) if wanted(each)]
    if not found:
        raise InputError(f"{address}: no files of that kind there")
    root = address.partition("*")[0].rpartition("/")[0] if "*" in address else address.rstrip("/")
    for each in found:
        yield Job(each, name(each.removeprefix(f"{root}/") if each != address else each.rpartition("/")[2]))


def places_of(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give each name of a list its place: that of a relative name is the name, others lie below what they share."""
    fixed = [os.path.dirname(name) for name in names if _is_fixed(name)]  # noqa: PTH120 - addresses are no Paths
    shared = os.path.commonprefix([f"{folder}/" for folder in fixed]).rpartition("/")[0]  # noqa: RUF071 - to a "/"
    for name in names:
        place = name.removeprefix(f"{shared}/") if _is_fixed(name) else os.path.normpath(name)
        yield name, place.replace(os.sep, "/")


def _is_fixed(name: str) -> bool:
    """Whether a name says on its own where a file is, or lies outside the working folder."""
    return is_address(name) or os.path.isabs(name) or os.path.normpath(name).startswith("..")  # noqa: PTH117


def settle_jobs(
    found: Iterable[Job], output: str, *, what: str, shard: Shard = WHOLE, alone: bool = False
) -> BatchPlan:
    """Settle what a batch does: the jobs of a shard, each source once, with results below a folder or an address.

    `what` the sources are, photos or films, is for messages; `alone`: it is one result, with a name that the user
    chose. Raises OutputError for two sources of one result, or a result that is one of the sources.
    """
    jobs, sources, results = JobList(), array("q"), array("q")
    real_folder = lru_cache(maxsize=4096)(_real_folder)  # of this call: the working folder may change
    root = output if is_address(output) else os.path.realpath(output)
    for job in found:
        sources.append(hash(_real(job.source, real_folder)))
        results.append(hash(_real(f"{root}/{job.name}", real_folder, follow=False)))
        jobs.append(job)
    marks = np.frombuffer(sources, np.int64)
    first = np.sort(np.unique(marks, return_index=True)[1])
    if len(first) < len(jobs):
        jobs = _chosen(jobs, first)
    _refuse_clashes(jobs, marks, np.frombuffer(results, np.int64)[first], output, what)
    if alone or shard.parts == 1:
        return BatchPlan(jobs, output, len(jobs), WHOLE, alone)
    mine = JobList()
    for job in jobs:
        if shard.holds(job.name):
            mine.append(job)
    return BatchPlan(mine, output, len(jobs), shard)


def _chosen(jobs: JobList, places: Iterable[int]) -> JobList:
    chosen = JobList()
    for at in places:
        chosen.append(jobs[int(at)])
    return chosen


def refuse_existing(plan: BatchPlan) -> None:
    """Raise OutputError where a result of a batch is there already."""
    for job in plan.jobs:
        path = result_of(plan.output, job)
        if os.path.lexists(path):
            raise OutputError(f"{path}: already exists; --overwrite replaces it")


def _real(path: str, real_folder: Callable[[str], str], *, follow: bool = True) -> str:
    """A path without links, where it is not an address; without `follow` its last part may be one."""
    if is_address(path):
        return path
    folder, file = os.path.split(path)
    if not file or file in {".", ".."} or (follow and os.path.islink(path)):  # noqa: PTH114 - Paths are slow
        return os.path.normcase(os.path.realpath(path))
    return f"{real_folder(folder)}{os.sep}{os.path.normcase(file)}"


def _real_folder(folder: str) -> str:
    return os.path.normcase(os.path.realpath(folder)).rstrip(os.sep)


def _refuse_clashes(jobs: JobList, sources: Marks, results: Marks, output: str, what: str) -> None:
    among = np.flatnonzero(np.isin(results, sources))
    if among.size:
        path = result_of(output, jobs[int(among[0])])
        raise OutputError(f"{path}: is one of the {what}, and is not overwritten; choose another -o")
    order = np.argsort(results, kind="stable")
    twice = np.flatnonzero(results[order][1:] == results[order][:-1])
    if twice.size:
        one, other = (jobs[int(order[twice[0] + step])] for step in (0, 1))
        raise OutputError(
            f"{result_of(output, other)}: both {one.source} and {other.source} would be written there; "
            "rename one, or stylize them into different folders"
        )


def result_of(output: str, job: Job) -> str:
    """The path or the address that a job's result is written to."""
    return f"{output.rstrip('/')}/{job.name}" if is_address(output) else str(Path(output, job.name))
