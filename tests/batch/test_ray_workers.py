"""What becomes of tasks when Ray's actors die, with a stand-in for Ray; with Ray itself where it is installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastnst.batch.jobs import Job
from fastnst.batch.ray_workers import RayWorker, _Crew
from fastnst.batch.run import Attempt, Perform, Task
from fastnst.errors import InputError, SettingError


class DiedError(Exception):
    """As RayActorError."""


class RaisedError(Exception):
    """As RayTaskError."""


@dataclass
class Shop:
    """Opens in no time."""

    do: Perform

    @contextmanager
    def open(self) -> Iterator[Perform]:
        yield self.do


class FakeRay:
    """Does each task when it is waited for; a task may kill its actor, and all that waits there is lost with it."""

    exceptions = SimpleNamespace(RayActorError=DiedError, WorkerCrashedError=DiedError, RayTaskError=RaisedError)

    def __init__(self, places: int = 99) -> None:
        self.begun, self.places = 0, places
        self.killed: list[Any] = []

    def remote(self, _kind: type) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._begin))

    def _begin(self, shop: Shop, _folder: str) -> Any:
        self.begun += 1
        actor = _Actor(shop)
        actor.do = SimpleNamespace(remote=lambda task: (actor, task))
        actor.ready = SimpleNamespace(remote=lambda: (actor, None))
        actor.has_place = self.begun <= self.places
        return actor

    def wait(self, references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return [reference for reference in references if reference[0].has_place][:1], []

    def get(self, reference: tuple[Any, Task | None]) -> object:
        actor, task = reference
        if actor.dead:
            raise DiedError("is gone")
        try:
            return actor.worker().ready() if task is None else actor.worker().do(task)
        except DiedError:
            actor.dead = True
            raise

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


class _Actor:
    def __init__(self, shop: Shop) -> None:
        self.shop, self.dead = shop, False
        self.do = self.ready = SimpleNamespace()
        self.has_place = True
        self._worker: RayWorker | None = None

    def worker(self) -> RayWorker:
        self._worker = self._worker or RayWorker(self.shop, "no/such/folder")
        return self._worker


def go(do: Callable[[Task], tuple[str, ...]], count: int = 8, places: int = 99) -> tuple[FakeRay, list[Attempt]]:
    ray = FakeRay(places)
    tasks = (Task(Job(str(number), str(number)), f"no/such/{number}", False) for number in range(count))
    crew = _Crew(ray, Shop(do), {}, 2)
    return ray, list(crew.work(tasks))


def test_each_task_is_done_once() -> None:
    ray, attempts = go(lambda task: (task.job.name,))
    assert sorted(attempt.do()[0] for attempt in attempts) == [str(number) for number in range(8)]
    assert ray.begun == 2


def test_what_a_dead_worker_had_goes_to_others() -> None:
    died: list[Task] = []

    def do(task: Task) -> tuple[str, ...]:
        if task.job.name == "3" and not died:
            died.append(task)
            raise DiedError("SIGKILL")
        return (f"{task.job.name} {task.replace}",)

    ray, attempts = go(do)
    assert sorted(attempt.task.job.name for attempt in attempts) == [str(number) for number in range(8)]
    assert "3 True" in [attempt.do()[0] for attempt in attempts]
    assert (ray.begun, len(ray.killed)) == (3, 1)


def test_an_actor_that_finds_no_place_holds_nothing_up() -> None:
    """As when a whole node is lost: the one that is begun instead waits for another node."""
    died: list[Task] = []

    def do(task: Task) -> tuple[str, ...]:
        if task.job.name == "3" and not died:
            died.append(task)
            raise DiedError("node died")
        return ()

    ray, attempts = go(do, places=2)
    assert sorted(attempt.task.job.name for attempt in attempts) == [str(number) for number in range(8)]
    assert ray.begun == 3


def test_a_file_that_kills_whoever_opens_it_costs_itself() -> None:
    def do(task: Task) -> tuple[str, ...]:
        if task.job.name == "3":
            raise DiedError("SIGSEGV")
        return ()

    ray, attempts = go(do)
    assert len(attempts) == 8
    assert [str(error) for attempt in attempts if (error := attempt.outcome.error)] == [
        "3: 3 workers died over it (SIGSEGV)"
    ]
    assert ray.begun == 5


def test_a_bad_file_and_a_bug_cost_themselves() -> None:
    def do(task: Task) -> tuple[str, ...]:
        if task.job.name == "1":
            raise InputError("1: is bad")
        if task.job.name == "2":
            raise RaisedError("ZeroDivisionError: by zero")
        return ()

    _, attempts = go(do)
    errors = {attempt.task.job.name: str(error) for attempt in attempts if (error := attempt.outcome.error)}
    assert errors == {"1": "1: is bad", "2": "2: ZeroDivisionError: by zero"}


def test_networks_that_cannot_be_opened_end_the_batch() -> None:
    class Broken(Shop):
        @contextmanager
        def open(self) -> Iterator[Perform]:
            raise DiedError("in its creation task: no style")
            yield self.do

    ray = FakeRay()
    crew = _Crew(ray, Broken(lambda _: ()), {}, 2)
    with pytest.raises(SettingError, match="no worker could begin; in its creation task: no style"):
        list(crew.work(iter([Task(Job("a", "a"), "a", False)])))


def test_relative_paths_are_meant_from_the_folder_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("found")
    monkeypatch.chdir("/")
    worker = RayWorker(Shop(lambda task: (Path(task.job.source).read_text(),)), str(tmp_path))
    assert worker.do(Task(Job("in.txt", "in.txt"), "out.txt", False)).notes == ("found",)
