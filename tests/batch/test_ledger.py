"""A batch that is run again goes on; two processes share one; a crash at any moment costs one job at most."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastnst.batch import ledger as ledgers
from fastnst.batch import run as runs
from fastnst.batch.jobs import BatchPlan, Job
from fastnst.batch.ledger import Ledger, read_status
from fastnst.batch.run import Attempt, BatchRun, BatchTally, Task
from fastnst.errors import InputError, OutputError

SETTINGS = {"look": "invert"}
Do = Callable[[Task], tuple[str, ...]]


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    (tmp_path / "in").mkdir()
    names = [f"{letter}.txt" for letter in "abcd"]
    for name in names:
        (tmp_path / "in" / name).write_text(f"source {name}")
    return [Job(str(tmp_path / "in" / name), name) for name in names]


def copy(task: Task) -> tuple[str, ...]:
    """Stands in for stylizing a file."""
    task.check()
    content = Path(task.job.source).read_bytes()
    if content == b"bad":
        raise InputError(f"{task.job.source}: is bad")
    Path(task.output).write_bytes(content)
    return ()


def go(jobs: list[Job], out: Path, do: Do = copy, **options: Any) -> tuple[BatchTally, list[str]]:
    """Run a batch; gives how it went, and the names of what was done."""
    begun: list[str] = []

    def work(tasks: Iterator[Task]) -> Iterator[Attempt]:
        for task in tasks:
            begun.append(task.job.name)
            yield Attempt(task, partial(do, task))

    plan = BatchPlan(jobs, str(out), len(jobs))
    with BatchRun(plan, options.pop("settings", SETTINGS), work, **options) as batch:
        for attempt in batch:
            with attempt:
                attempt.notes = attempt.do()
    return batch.tally, begun


def test_what_is_done_is_skipped_and_counted(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert go(jobs, out)[1] == ["a.txt", "b.txt", "c.txt", "d.txt"]
    tally, begun = go(jobs, out)
    assert (tally.skipped, tally.done, begun) == (4, 0, [])
    assert go(jobs, out, overwrite=True)[1] == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert list((out / ".fastnst" / "claims").iterdir()) == list((out / ".fastnst" / "workers").iterdir()) == []


def test_what_has_changed_or_is_gone_is_done_anew(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(jobs, out)
    Path(jobs[0].source).write_text("another source")
    (out / "b.txt").unlink()
    (out / "c.txt").write_text("cut")
    tally, begun = go(jobs, out)
    assert begun == ["a.txt", "b.txt", "c.txt"]
    assert (out / "a.txt").read_text() == "another source"
    # Of another size than recorded: somebody else has written it.
    assert [str(each.outcome.error) for each in tally.failures] == [
        f"{out / 'c.txt'}: already exists; --overwrite replaces it"
    ]


def test_what_other_settings_made_is_kept(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(jobs, out)
    tally, _ = go(jobs, out, settings={"look": "another"})
    assert (tally.done, tally.failed) == (0, 4)
    assert go(jobs, out, settings={"look": "another"}, overwrite=True)[1] == ["a.txt", "b.txt", "c.txt", "d.txt"]
    # And what was made before that, in the same size, does not count as done any more.
    assert go(jobs, out)[0].failed == 4


def test_failures_are_listed_and_tried_again(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    Path(jobs[1].source).write_text("bad")
    assert go(jobs, out)[0].failed == 1
    (line,) = (out / "failed.jsonl").read_text().splitlines()
    assert json.loads(line).items() >= {
        "name": "b.txt", "source": jobs[1].source, "failed": f"{jobs[1].source}: is bad",
    }.items()  # fmt: skip
    status = read_status(out)
    assert (status.total, status.done, list(status.failed), status.left) == (4, 3, ["b.txt"], 0)
    Path(jobs[1].source).write_text("good")
    assert go(jobs, out)[1] == ["b.txt"]
    assert not (out / "failed.jsonl").exists()
    assert read_status(out).done == 4


def test_a_killed_process_is_taken_over(jobs: list[Job], tmp_path: Path) -> None:
    """Killed after a result was written and before that was recorded."""
    out = tmp_path / "out"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from fastnst.batch.jobs import Job; from fastnst.batch.ledger import Ledger\n"
        "with Ledger(sys.argv[1], {'look': 'invert'}, total=4) as ledger:\n"
        "    job = Job(sys.argv[2], 'a.txt'); assert ledger.claim(job)\n"
        "    Path(sys.argv[1], 'a.txt').write_text('half'); print('claimed', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(out), jobs[0].source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        status = read_status(out) if list((out / ".fastnst").glob("*.jsonl")) else None
        assert status is None  # nothing is recorded yet
        with Ledger(out, SETTINGS) as ledger:
            assert not ledger.claim(jobs[0])
        other.kill()
    tally, begun = go(jobs, out)
    assert begun == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert (tally.failed, (out / "a.txt").read_text()) == (0, "source a.txt")


def test_what_another_process_is_at_is_waited_for(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with Ledger(out, SETTINGS) as other:
        assert other.claim(jobs[0])

        def finish(_s: float) -> None:
            copy(Task(jobs[0], str(out / "a.txt"), False))
            other.record_done(jobs[0], (out / "a.txt").stat().st_size, 0.1)

        monkeypatch.setattr(runs.time, "sleep", finish)
        tally, begun = go(jobs, out)
    assert begun == ["b.txt", "c.txt", "d.txt"]
    assert (tally.skipped, tally.done) == (1, 3)


def test_a_process_elsewhere_counts_as_gone_without_a_sign_of_life(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, here = tmp_path / "out", ledgers._COMPUTER
    monkeypatch.setattr(ledgers, "_COMPUTER", "elsewhere")
    with Ledger(out, SETTINGS) as other:
        assert other.claim(jobs[0])
        monkeypatch.setattr(ledgers, "_COMPUTER", here)
        with Ledger(out, SETTINGS) as mine:
            assert not mine.claim(jobs[0])
            now = time.time()
            monkeypatch.setattr(ledgers.time, "time", lambda: now + 200)
            assert mine.claim(jobs[0])
            assert mine.may_replace(jobs[0])


def test_a_result_whose_record_found_no_room_is_done_anew(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def full(*_: object) -> None:
        raise OutputError("no space") from OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fastnst.io.storage.LocalStorage.append", full)
        with pytest.raises(OutputError, match="no space"):
            go(jobs[:1], out)
    assert (out / "a.txt").exists()
    assert go(jobs[:1], out)[1] == ["a.txt"]


def test_damaged_records_are_passed_over(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(jobs, out)
    (log,) = (out / ".fastnst").glob("done-*.jsonl")
    log.write_bytes(log.read_bytes()[:-20] + b'\n{"name": 3, "at": 1}\n[1]\n\xff\n{"name": "x", "at": 1, "input": 2}')
    assert go(jobs, out)[0].skipped == 3


def test_records_are_merged_when_all_have_ended(jobs: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(jobs[:2], out)
    go(jobs[2:], out)
    go(jobs[:1], out, overwrite=True)
    with Ledger(out, SETTINGS):
        assert read_status(out).workers == 1
        assert len(list((out / ".fastnst").glob("done-*.jsonl"))) == 3
    assert read_status(out)[:2] == (1, 4)  # the newest run counted one job
    assert [path.name for path in (out / ".fastnst").glob("*.jsonl")] == ["done-merged.jsonl"]
    assert go(jobs, out)[0].skipped == 4


def test_a_folder_without_a_batch(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no batch"):
        read_status(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read(jobs: list[Job], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written to"):
        go(jobs, tmp_path / "out")
