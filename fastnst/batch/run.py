"""Running a batch: what is done is passed over, what is claimed elsewhere waited for, and one bad file costs itself."""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from fastnst.batch.jobs import Job, result_of
from fastnst.batch.ledger import Ledger
from fastnst.errors import FastNSTError, OutputError
from fastnst.io.storage import source_stamp

# After one of these every further result would fail too, each after all its work.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_LOOK_AGAIN_S = 1.0


class Task(NamedTuple):
    """A job that is to be done now."""

    job: Job
    output: str
    """The path, or the address, of the result."""

    replace: bool
    """Whether something may stand there, which is replaced."""


@dataclass(frozen=True)
class Outcome:
    """What became of one task."""

    task: Task
    error: FastNSTError | None = None
    """Why there is no result; None after success."""

    notes: tuple[str, ...] = ()
    """What a user should know, one line each."""

    size: int = 0
    """Bytes of the result."""

    elapsed_s: float = 0.0
    no_room: bool = False
    """The disk is full or cannot be written: it makes no sense to go on."""


Perform: TypeAlias = Callable[[Task], tuple[str, ...]]
"""Does one task and gives the notes on it; raises a FastNSTError where it cannot."""


class Workshop(Protocol):
    """All that is needed to do tasks, in this process or in another one: it can be pickled."""

    def open(self) -> AbstractContextManager[Perform]:
        """Load what doing takes, such as a network."""


Work: TypeAlias = Callable[[Iterator[Task]], Iterator[Outcome]]
"""Does tasks as they come, and gives what became of each, in any order."""


@dataclass
class BatchTally:
    """How a batch went."""

    done: int = 0
    """Made by this run."""

    skipped: int = 0
    """Made before and unchanged, or by another process meanwhile."""

    failed: list[Outcome] = field(default_factory=list)
    not_tried: int = 0
    """Given up, because the disk is full or cannot be written."""

    elapsed_s: float = 0.0


def perform(do: Perform, task: Task) -> Outcome:
    """Do one task; an error of ours becomes a part of the outcome."""
    started = time.perf_counter()
    try:
        notes = do(task)
    except FastNSTError as error:
        return Outcome(task, error, no_room=_is_no_room(error), elapsed_s=time.perf_counter() - started)
    made = source_stamp(task.output)
    return Outcome(task, notes=notes, size=made.size if made else 0, elapsed_s=time.perf_counter() - started)


def _is_no_room(error: FastNSTError) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM


def work_here(workshop: Workshop) -> Work:
    """Do tasks in this process, one after another; the workshop opens with the first."""

    def work(tasks: Iterator[Task]) -> Iterator[Outcome]:
        for first in tasks:
            with workshop.open() as do:
                yield perform(do, first)
                for task in tasks:
                    yield perform(do, task)

    return work


def run_batch(
    ledger: Ledger | None,
    jobs: Sequence[Job],
    output: str,
    work: Work,
    *,
    overwrite: bool = False,
    on_done: Callable[[Outcome], None] = lambda _outcome: None,
    on_skip: Callable[[int], None] = lambda _count: None,
) -> BatchTally:
    """Do all jobs that are not done; after one for which the disk has no room the rest is given up.

    Args:
        ledger: of the output folder; None: nothing is recorded.
        jobs: from `settle_jobs`.
        output: folder or address that the results are below.
        work: does the tasks.
        overwrite: replace what is there.
        on_done: called after each task, failed or not.
        on_skip: called with the number of jobs so far that were done before.
    """
    started, tally = time.perf_counter(), BatchTally()
    stopped, waiting = False, jobs

    def finish(outcome: Outcome) -> None:
        nonlocal stopped
        stopped = stopped or outcome.no_room
        if outcome.error is None:
            if ledger is not None:
                ledger.record_done(outcome.task.job, outcome.size, outcome.elapsed_s)
            tally.done += 1
        else:
            tally.failed.append(outcome)
            if ledger is not None:
                with suppress(OutputError):  # of a disk that is full the failure is said all the same
                    ledger.record_failed(outcome.task.job, str(outcome.error))
        on_done(outcome)

    def skip() -> None:
        tally.skipped += 1
        on_skip(tally.skipped)

    def tasks(held: list[Job]) -> Iterator[Task]:
        for job in waiting:
            path = result_of(output, job)
            if ledger is None:
                if stopped:
                    tally.not_tried += 1
                else:
                    yield Task(job, path, overwrite)
            elif ledger.is_done(job):
                skip()
            elif stopped:
                tally.not_tried += 1
            elif not ledger.claim(job):
                if ledger.is_done(job):
                    skip()
                else:
                    held.append(job)
            elif ledger.is_there(job) and not ledger.may_replace(job):
                finish(Outcome(Task(job, path, False), OutputError(f"{path}: already exists; --overwrite replaces it")))
            else:
                yield Task(job, path, ledger.may_replace(job))

    while True:
        held: list[Job] = []
        for outcome in work(tasks(held)):
            finish(outcome)
        if not held:
            break
        # Another process is at these: it may yet fall.
        waiting = held
        time.sleep(_LOOK_AGAIN_S)
    tally.elapsed_s = time.perf_counter() - started
    return tally
