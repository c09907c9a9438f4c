"""`fastnst status`, and what `stylize` and `video` share where they have many files to do."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter, validators

from fastnst.cli.console import Console

if TYPE_CHECKING:
    from fastnst.batch.jobs import BatchPlan, Shard
    from fastnst.batch.run import BatchRun, BatchTally, Work, Workshop
    from fastnst.inference.batch import PictureWorkshop
    from fastnst.video.batch import FilmWorkshop


_MANY = Group("Many files", sort_key=6)
COMPUTATION = Group("Computation", sort_key=7)
"""What `--help` shows options under, the usual ones before."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How many files are done."""

    list_file: Annotated[str | None, Parameter(name="--from", group=_MANY)] = None
    """A file that names what is to be stylized, one a line; - reads the names from standard input."""

    overwrite: Annotated[bool, Parameter(negative="")] = False
    """Replace files that already exist: also those that an earlier run made, but never a source."""

    shard: Annotated[str | None, Parameter(group=_MANY)] = None
    """Do one of several equal parts, such as 3/64. By default what SLURM's job arrays or torchrun's RANK and WORLD_SIZE
    say; 1/1 does everything."""

    ray: Annotated[str | None, Parameter(group=_MANY)] = None
    """Do it on a Ray cluster: its address, such as ray://head:10001; auto for the one that this computer belongs to;
    local for worker processes on this computer alone."""

    ray_workers: Annotated[int | None, Parameter(group=_MANY, validator=validators.Number(gte=1))] = None
    """Workers on the Ray cluster. By default one a GPU, or where it has none one for each --threads of its CPUs."""

    def choose_shard(self, console: Console) -> "Shard":
        """Read which part is to be done, and say so where the environment has said it. Raises SettingError."""
        from fastnst.batch.jobs import choose_shard  # noqa: PLC0415

        shard = choose_shard(self.shard)
        if self.shard is None and shard.parts > 1:
            console.print(f"shard {shard}, by {shard.origin}; --shard 1/1 does everything")
        return shard

    def names(self) -> list[str]:
        """The names in the list. Raises InputError."""
        from fastnst.batch.jobs import read_names  # noqa: PLC0415

        return [] if self.list_file is None else read_names(self.list_file)

    def work_of(self, threads: int | None) -> "Callable[[Workshop], Work]":
        """What turns a workshop into work: in this process, or over Ray with so many threads a worker."""
        from fastnst.batch.run import work_here  # noqa: PLC0415

        if self.ray is None:
            return work_here
        from fastnst.batch.ray_workers import work_on_ray  # noqa: PLC0415

        return partial(work_on_ray, address=self.ray, workers=self.ray_workers, threads=threads)


BATCH = BatchOptions()
"""Each file in this process, one after another."""


def open_batch(
    plan: "BatchPlan",
    workshop: "PictureWorkshop | FilmWorkshop",
    options: BatchOptions,
    on_skip: Callable[[int], None] = lambda _count: None,
) -> "BatchRun":
    """Open what does a plan's jobs, here or on a Ray cluster."""
    from fastnst.batch.run import BatchRun  # noqa: PLC0415

    work = options.work_of(workshop.threads)(workshop)
    return BatchRun(plan, workshop.settings, work, overwrite=options.overwrite, on_skip=on_skip)


def end_batch(tally: "BatchTally", line: str, console: Console) -> None:
    """Print what became of a batch; exits with 1 where a file of it failed or was not tried."""
    print_batch(tally, line, console)
    end_batches([tally])


def end_batches(tallies: "list[BatchTally]") -> None:
    """Exit with 1 where a file of a batch failed or was not tried."""
    if any(tally.failed or tally.not_tried for tally in tallies):
        sys.exit(1)


def print_batch(tally: "BatchTally", line: str, console: Console) -> None:
    """Print what became of a batch."""
    if tally.skipped:
        line += f"; {tally.skipped} done before"
    if tally.failed:
        named = [attempt.task.job.source for attempt in tally.failures]
        more = ", ..." if tally.failed > len(named) else ""
        line += f"; {tally.failed} failed: {', '.join(named)}{more}"
    if tally.not_tried:
        line += f"; {tally.not_tried} not tried, the disk has no room"
    console.print(line)


def status(output: Annotated[str, Parameter(name="OUT")], /) -> None:
    """Say how far a batch is that stylize or video writes to a folder or an address.

    Counts what is done, failed and left over all its shards, and names what failed. Where no process is at it, what
    each has recorded is merged into one file. The exit status is 0 when all is done, else 1.

    Parameters
    ----------
    output:
        The folder or the address that was given to stylize or video as --output.
    """
    from fastnst.batch.ledger import read_status  # noqa: PLC0415

    console, found = Console(), read_status(output)
    line = f"{output}: {found.done} of {found.total} done, {len(found.failed)} failed, {found.left} left"
    if found.workers:
        processes = "1 process is" if found.workers == 1 else f"{found.workers} processes are"
        line += f"; {processes} at it, with {found.claimed} begun"
    console.print(line)
    for name, reason in found.reasons():
        console.print(f"failed: {name}: {reason}")
    if found.failed or found.left:
        sys.exit(1)
