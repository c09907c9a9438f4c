"""Running a batch: what is done is passed over, what is claimed elsewhere waited for, and one bad file costs itself.

    with BatchRun(plan, workshop.settings, work_here(workshop)) as batch:
        for attempt in batch:
            with attempt:
                attempt.notes = attempt.do()

The loop is the caller's, so that from a command to the network there is nothing in between.
"""

import errno
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeAlias

from fastnst.batch.jobs import BatchPlan, Job, refuse_existing, result_of
from fastnst.batch.ledger import Ledger
from fastnst.errors import FastNSTError, OutputError
from fastnst.io.addresses import source_stamp

# After one of these every further result would fail too, each after all its work.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_LOOK_AGAIN_S = 1.0
_SAY_EVERY = 100
_MOST_KEPT = 20


class Task(NamedTuple):
    """A job that is to be done now."""

    job: Job
    output: str
    """The path, or the address, of the result."""

    replace: bool
    """Whether something may stand there, which is replaced."""

    def check(self) -> None:
        """Raise OutputError where something stands in the result's place that is not to be replaced."""
        if not self.replace and source_stamp(self.output) is not None:
            raise OutputError(f"{self.output}: already exists; --overwrite replaces it")


@dataclass(frozen=True)
class Outcome:
    """What became of a task; it can be pickled."""

    notes: tuple[str, ...] = ()
    """What a user should know, one line each."""

    error: FastNSTError | None = None
    """Why there is no result; None after success."""

    no_room: bool = False
    """The disk is full or cannot be written: it makes no sense to go on."""

    size: int = 0
    """Bytes of the result."""

    elapsed_s: float = 0.0

    def give(self) -> tuple[str, ...]:
        """Give the notes, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.notes


Perform: TypeAlias = Callable[[Task], tuple[str, ...]]
"""Does one task and gives the notes on it; raises a FastNSTError where it cannot."""


class Workshop(Protocol):
    """All that is needed to do tasks, in this process or in another one: it can be pickled."""

    def open(self) -> AbstractContextManager[Perform]:
        """Load what doing takes, such as a network."""


class Attempt:
    """A task that is done in a `with` block, at whose end it is recorded; an error of ours goes no further."""

    def __init__(self, task: Task, do: Callable[[], tuple[str, ...]], outcome: Outcome | None = None) -> None:
        """Take what is to be done, or with an outcome what another process has done."""
        self.task, self.do = task, do
        self.notes: tuple[str, ...] = ()
        """To be set to what `do` gives."""

        self.outcome = outcome or Outcome()
        self._given = outcome is not None
        self.on_end: Callable[[Attempt], None] = lambda _attempt: None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, FastNSTError):
            return False
        if not self._given:
            self.outcome = self._found(error)
        self.on_end(self)
        return True

    def _found(self, error: FastNSTError | None) -> Outcome:
        elapsed_s = time.perf_counter() - self._started
        if error is not None:
            return Outcome(self.notes, error, _is_no_room(error), elapsed_s=elapsed_s)
        made = source_stamp(self.task.output)
        return Outcome(self.notes, size=made.size if made else 0, elapsed_s=elapsed_s)


def _is_no_room(error: FastNSTError) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM


Work: TypeAlias = Callable[[Iterator[Task]], Iterator[Attempt]]
"""Turns tasks, as they come, into attempts at them, in any order."""


def work_here(workshop: Workshop) -> Work:
    """Do tasks in this process, one after another; the workshop opens with the first."""

    def work(tasks: Iterator[Task]) -> Iterator[Attempt]:
        for first in tasks:
            with workshop.open() as do:
                yield Attempt(first, partial(do, first))
                for task in tasks:
                    yield Attempt(task, partial(do, task))

    return work


def perform(do: Perform, task: Task) -> Outcome:
    """Do one task for another process."""
    with Attempt(task, partial(do, task)) as attempt:
        attempt.notes = attempt.do()
    return attempt.outcome


@dataclass
class BatchTally:
    """How a batch went."""

    done: int = 0
    """Made by this run."""

    skipped: int = 0
    """Made before and unchanged, or by another process meanwhile."""

    failed: int = 0
    failures: list[Attempt] = field(default_factory=list)
    """The first of those that failed."""

    not_tried: int = 0
    """Given up, because the disk is full or cannot be written."""

    elapsed_s: float = 0.0


class BatchRun:
    """The jobs of a plan that are not done, one attempt after another; use it in a `with` block."""

    def __init__(
        self,
        plan: BatchPlan,
        settings: Mapping[str, object],
        work: Work,
        *,
        overwrite: bool = False,
        on_skip: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Read what is done. A result that stands alone is recorded nowhere.

        `settings` are all that results depend on beside their sources; with `overwrite` what is there is done anew;
        `on_skip` is called now and then with the number of jobs so far that were done before. Raises OutputError where
        nothing can be written, or a result that stands alone is there already.
        """
        self._plan, self._work, self._overwrite, self._on_skip = plan, work, overwrite, on_skip
        self.tally = BatchTally()
        self.ledger: Ledger | None = None
        if not plan.alone:
            self.ledger = Ledger(plan.output, settings, total=plan.total, shard=plan.shard, overwrite=overwrite)
        elif not overwrite:
            refuse_existing(plan)
        self._stopped = False

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        if self.ledger is not None:
            self.ledger.__enter__()
        self._attempts = self._each_attempt()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempts.close()
        if self.ledger is not None:
            self.ledger.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Attempt]:
        return self._attempts

    def _each_attempt(self) -> Generator[Attempt]:
        waiting: Sequence[Job] = self._plan.jobs
        while waiting:
            held: list[Job] = []
            for attempt in self._work(self._tasks(waiting, held)):
                attempt.on_end = self._take_note
                yield attempt
            self._on_skip(self.tally.skipped)
            waiting = held
            if held:  # another process is at these: it may yet fall
                time.sleep(_LOOK_AGAIN_S)
        self.tally.elapsed_s = time.perf_counter() - self._started

    def _tasks(self, jobs: Sequence[Job], held: list[Job]) -> Iterator[Task]:
        """Give the jobs that are to be done now; `held` gets those that others are at."""
        for job in jobs:
            if self.ledger is not None and self.ledger.is_done(job):
                self._skip()
            elif self._stopped:
                self.tally.not_tried += 1
            elif self.ledger is None:
                yield Task(job, result_of(self._plan.output, job), self._overwrite)
            elif self.ledger.claim(job):
                yield Task(job, result_of(self._plan.output, job), self.ledger.may_replace(job))
            elif self.ledger.is_done(job):
                self._skip()
            else:
                held.append(job)

    def _skip(self) -> None:
        self.tally.skipped += 1
        if self.tally.skipped % _SAY_EVERY == 0:
            self._on_skip(self.tally.skipped)

    def _take_note(self, attempt: Attempt) -> None:
        """Count and record what became of a task; after one for which there is no room, the rest is given up."""
        job, outcome = attempt.task.job, attempt.outcome
        self._stopped = self._stopped or outcome.no_room
        if outcome.error is None:
            self.tally.done += 1
            if self.ledger is not None:
                self.ledger.record_done(job, outcome.size, outcome.elapsed_s)
            return
        self.tally.failed += 1
        if len(self.tally.failures) < _MOST_KEPT:
            self.tally.failures.append(attempt)
        if self.ledger is not None:
            with suppress(OutputError):  # of a disk that is full the failure is said all the same
                self.ledger.record_failed(job, str(outcome.error))
