"""How a batch of very many names behaves with a network that takes no time.

Names a second of processor time (user and system), and peak memory:

    python tools/scale_simulation.py /dev/shm/names --names 1000000

Makes that many empty files in folders of a thousand, records all as done, and runs the batch again, which has to look
at each; then does some of them anew. Each part is a process of its own, so that its peak memory is its own. On a disk
in memory the figures are fastnst's own; on another they are that disk's as well. The folder is removed at the end.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fastnst.batch.ledger import read_status
from fastnst.batch.manifest import Manifest, settings_key
from fastnst.batch.run import Attempt, BatchRun, Task
from fastnst.inference.batch import plan_pictures
from fastnst.io.addresses import local_stamp
from fastnst.io.storage import open_storage

A_FOLDER = 1000
SETTINGS = {"look": "simulated"}


def make(root: Path, names: int) -> None:
    """Make the sources, their results, and a manifest of all."""
    records = root / "out" / ".fastnst"
    records.mkdir(parents=True)
    key, at = settings_key(SETTINGS), time.time()
    with (records / "done-made.jsonl").open("w") as manifest:
        manifest.write(json.dumps({"total": names, "at": at}) + "\n")
        for number in range(names):
            folder = f"folder{number // A_FOLDER:05d}"
            if number % A_FOLDER == 0:
                for place in ("in", "out"):
                    (root / place / folder).mkdir(parents=True)
            name = f"{folder}/picture{number:08d}.png"
            source = f"{root}/in/{name}"
            for path in (source, f"{root}/out/{name}"):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
            record = {"name": name, "input": list(local_stamp(source) or ()), "output": 0, "settings": key, "at": at}
            manifest.write(json.dumps(record) + "\n")


def instant(tasks: Iterator[Task]) -> Iterator[Attempt]:
    """A network that takes no time."""
    return (Attempt(task, partial(touch, task.output)) for task in tasks)


def touch(path: str) -> tuple[str, ...]:
    """What it makes."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    return ()


def part(root: Path, what: str, limit: int) -> None:
    """Do one part, and print its figures as JSON."""
    started, used = time.perf_counter(), time.process_time()
    figures: dict[str, float] = {}

    def lap(name: str) -> None:
        figures[name] = round(time.process_time() - used - sum(figures.values()), 2)

    count = 0
    if what == "nothing":
        lap("imports")
    elif what == "load":
        count = Manifest(open_storage(root / "out")).done
        lap("manifest_s")
    elif what == "status":
        count = read_status(root / "out").done
        lap("status_s")
    else:
        plan = plan_pictures([root / "in"], root / "out")
        lap("list_s")
        jobs = plan.jobs[:limit] if what == "anew" else plan.jobs
        plan = plan._replace(jobs=jobs)
        with BatchRun(plan, SETTINGS, instant, overwrite=what == "anew") as batch:
            lap("manifest_s")
            for attempt in batch:
                with attempt:
                    attempt.notes = attempt.do()
            lap("look_s" if what == "again" else "do_s")
        tally = batch.tally
        count = tally.skipped + tally.done
        assert not tally.failed and (tally.done == 0) == (what == "again")
    figures |= {"names": count, "wall": round(time.perf_counter() - started, 2)}
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(figures))


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--anew", type=int, default=20_000, help="names that are done anew")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        part(given.root, given.part, given.anew)
        return
    try:
        started = time.perf_counter()
        make(given.root, given.names)
        size = (given.root / "out" / ".fastnst" / "done-made.jsonl").stat().st_size
        print(f"{given.names:,} names made in {time.perf_counter() - started:.0f} s; manifest {size / 1e6:.0f} MB")
        for what in ("nothing", "load", "again", "anew", "status"):
            command = [sys.executable, __file__, str(given.root), "--part", what, "--anew", str(given.anew)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            count, peak, wall = (found.pop(name) for name in ("names", "peak_mb", "wall"))
            used = sum(found.values())
            rate = f"{count:,.0f} names, {count / max(used, 0.01):,.0f} a second of processor time"
            print(f"{what}: {found}, {rate}, {wall} s elapsed, peak {peak} MB", flush=True)
    finally:
        shutil.rmtree(given.root)


if __name__ == "__main__":
    main()
