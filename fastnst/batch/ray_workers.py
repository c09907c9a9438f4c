"""Doing a batch's tasks over the actors of a Ray cluster: paths travel, never pictures.

Ray Core rather than Ray Data: tasks take from milliseconds to hours, each is recorded when it is done, and one that
fails costs itself. Ray Data gives results by blocks, and does a block again of which one row's worker died.

An actor opens its networks once and does one task at a time; the driver keeps another one waiting for it. Where an
actor dies, another is begun and what it was at goes on there, twice at most: a file that kills whoever opens it fails.
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from fastnst.batch.run import Attempt, Outcome, Perform, Task, Work, Workshop, perform
from fastnst.errors import InputError, MissingPackageError, SettingError
from fastnst.io.addresses import first_line
from fastnst.machine import install_line

_AHEAD = 2
"""Tasks that an actor has at a time: one at hand, one that waits."""

_MOST_TRIES = 3
_MOST_FALSE_STARTS = 3
"""Actors in a row that could not load the networks."""

_LOOK_EVERY_S = 1.0


class RayWorker:
    """One actor: a workshop that is open until the actor ends."""

    def __init__(self, workshop: Workshop, folder: str) -> None:
        """Load the networks, in the folder that relative paths are meant from, where this node has it."""
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._stack = contextlib.ExitStack()
        self._do: Perform = self._stack.enter_context(workshop.open())

    def do(self, task: Task) -> Outcome:
        """Do one task."""
        return perform(self._do, task)

    def ready(self) -> bool:
        """Whether it has begun: always; what nobody runs does not answer."""
        return True


def work_on_ray(workshop: Workshop, address: str, *, workers: int | None, threads: int | None) -> Work:
    """Do tasks on a Ray cluster at an address as --ray takes it: local, auto, or ray://host:port.

    Each actor opens the workshop, whose style must be installed on each node, or lie on a disk that all share, and has
    so many `threads`, by default one, to itself. Workers: None is one a GPU, or where there is none one for each
    `threads` of the cluster's CPUs. Raises MissingPackageError without Ray, SettingError where no such cluster can be
    reached.
    """
    ray = _connect(address)
    cluster = ray.cluster_resources()
    gpus = int(cluster.get("GPU", 0))
    needs: dict[str, float] = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": threads or 1}
    number = workers or gpus or max(1, int(cluster.get("CPU", 1)) // (threads or 1))
    if workers is not None and workers > (gpus or int(cluster.get("CPU", 1))):
        needs = {"num_gpus": gpus / workers, "num_cpus": 0} if gpus else {"num_cpus": 0}

    def work(tasks: Iterator[Task]) -> Iterator[Attempt]:
        for first in tasks:  # without a single one no worker begins
            crew = _Crew(ray, workshop, needs, number)
            try:
                yield from crew.work(chain([first], tasks))
            finally:
                crew.dismiss()

    return work


def _connect(address: str) -> Any:
    # By default it gives up on a node that is not up after a minute, which on a busy computer is too soon.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise MissingPackageError(f"--ray needs Ray; {install_line('ray')}") from error
    if ray.is_initialized():
        return ray
    try:
        # fastnst says what there is to say; the actors' own words would come in between.
        # A cluster of this computer alone meets there: the address by which others know it may not be reachable.
        own = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        where = own if address == "local" else {"address": address}
        ray.init(**where, log_to_driver=False, logging_level="error")
    except Exception as error:  # of its own kind for each way in which no cluster answers
        raise SettingError(
            f"--ray {address}: no cluster answers ({first_line(error)}); expected local, auto or ray://HOST:10001"
        ) from error
    return ray


class _Crew:
    """The actors of a batch, and what each is at."""

    def __init__(self, ray: Any, workshop: Workshop, needs: dict[str, float], number: int) -> None:
        self._ray, self._workshop = ray, workshop
        self._kind = ray.remote(RayWorker).options(max_restarts=0, max_task_retries=0, **needs)
        self._folder = str(Path.cwd())
        self._starting: dict[Any, Any] = {}
        """Actors by what Ray will answer for when they have begun: some may wait for a node that does not come."""

        self._actors: list[Any] = []
        """Those that have begun."""

        self._at: dict[Any, tuple[Any, Task]] = {}
        """Actor and task by what Ray will give the outcome for, in the order in which they were given out."""

        self._tries: dict[str, int] = {}
        self._again: deque[Task] = deque()
        self._false_starts = 0
        for _ in range(number):
            self._begin()

    def work(self, tasks: Iterator[Task]) -> Iterator[Attempt]:
        """Do tasks as they come."""
        while self._fill(tasks):
            ready, _ = self._ray.wait([*self._at, *self._starting], num_returns=1, timeout=_LOOK_EVERY_S)
            for reference in ready:
                if reference in self._starting:
                    self._welcome(reference)
                elif (attempt := self._attempt(reference)) is not None:
                    yield attempt

    def dismiss(self) -> None:
        """End the actors, also in the middle of their work."""
        for actor in (*self._actors, *self._starting.values()):
            self._end(actor)

    def _begin(self) -> None:
        actor = self._kind.remote(self._workshop, self._folder)
        self._starting[actor.ready.remote()] = actor

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(actor)

    def _welcome(self, reference: Any) -> None:
        """Let an actor that has begun take part; begin another where it could not load the networks."""
        actor, errors = self._starting.pop(reference), self._ray.exceptions
        try:
            self._ray.get(reference)
        except (errors.RayActorError, errors.WorkerCrashedError) as error:
            self._end(actor)
            self._false_starts += 1
            if self._false_starts > _MOST_FALSE_STARTS:
                raise _creation_error(error) from error
            self._begin()
            return
        self._actors.append(actor)
        self._false_starts = 0

    def _fill(self, tasks: Iterator[Task]) -> bool:
        """Give each actor something to do, the least busy first; False where nothing is left, nor at hand."""
        busy = dict.fromkeys(self._actors, 0)
        for actor, _ in self._at.values():
            busy[actor] += 1
        while not busy or min(busy.values()) < _AHEAD:
            task = self._again.popleft() if self._again else next(tasks, None)
            if task is None:
                return bool(self._at)
            if not busy:  # none has begun yet
                self._again.appendleft(task)
                return True
            actor = min(busy, key=busy.__getitem__)
            self._at[actor.do.remote(task)] = actor, task
            busy[actor] += 1
        return True

    def _attempt(self, reference: Any) -> Attempt | None:
        """What became of a task; None where its actor died, and another one gets it."""
        errors = self._ray.exceptions
        actor, task = self._at[reference]
        try:
            outcome: Outcome = self._ray.get(reference)
        except (errors.RayActorError, errors.WorkerCrashedError) as error:
            return self._replace(actor, error)
        except errors.RayTaskError as error:  # an error that is no FastNSTError: a bug, or no memory
            words = str(error.cause if hasattr(error, "cause") else error).strip().splitlines() or ["it failed"]
            outcome = Outcome(error=InputError(f"{task.job.source}: {words[-1]}"))
        del self._at[reference]
        return _given(task, outcome)

    def _replace(self, actor: Any, error: Exception) -> Attempt | None:
        """Begin another actor in place of one that died; what that was at may have been the reason, what waited not."""
        self._end(actor)
        self._actors.remove(actor)
        self._begin()
        lost = [reference for reference, (at, _) in self._at.items() if at is actor]
        first, *waiting = [self._at.pop(reference)[1] for reference in lost]
        # What a worker that died may have left half done is replaced.
        self._again.extendleft(reversed([task._replace(replace=True) for task in (first, *waiting)]))
        tries = self._tries[first.job.name] = self._tries.get(first.job.name, 0) + 1
        if tries < _MOST_TRIES:
            return None
        self._again.popleft()
        words = f"{first.job.source}: {tries} workers died over it ({first_line(error)})"
        return _given(first, Outcome(error=InputError(words)))


def _given(task: Task, outcome: Outcome) -> Attempt:
    return Attempt(task, outcome.give, outcome)


def _creation_error(error: Exception) -> SettingError:
    """Say why no worker could begin, in the words of the last line of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return SettingError(f"--ray: no worker could begin; {lines[-1] if lines else error}")
