"""`fastnst stylize`: stylize pictures with a trained style."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fastnst.backends.backend import ProviderChoice
from fastnst.cli.batch import BATCH, BatchOptions, end_batch, run_plan
from fastnst.cli.console import Console
from fastnst.errors import on_one_line
from fastnst.inference.effects import PLAIN, Effects

if TYPE_CHECKING:
    from fastnst.batch.run import BatchTally, Outcome
    from fastnst.inference.pipeline import StylePipeline

POSITIVE = validators.Number(gte=1)


def stylize(
    photos: Annotated[list[str] | None, Parameter(name="PHOTO", negative="")] = None,
    /,
    *,
    style: str | None = None,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    batch: Annotated[BatchOptions, Parameter(name="*", negative=())] = BATCH,
    size: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    effects: Annotated[Effects, Parameter(name="*", negative=())] = PLAIN,
    tile: Literal["auto", "off"] | int = "auto",
    provider: ProviderChoice = "auto",
    threads: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
) -> None:
    """Stylize pictures with a trained style.

    Size, orientation, transparency, color profile and format of the photos are kept. Run again, it does what is left or
    has changed.

    Parameters
    ----------
    photos:
        Pictures, folders (searched with their subfolders), patterns like 'photos/*.jpg', or addresses of objects such
        as s3://bucket/photos, for which fsspec must be installed.
    style:
        Style: the name of an installed one, or an .onnx file; trio@munch is one style of a network that
        knows several. May be left out where --region names styles.
    output:
        Output: a file (.png .jpg .webp .tif .bmp) for one photo; otherwise a folder,
        mirroring the photos' names and subfolders, or an address.
    size:
        Longest side, pixels: larger photos are reduced to it first, smaller ones stay as they are. By default every
        result has its photo's size.
    tile:
        Stylize in tiles of at most so many pixels a side, which limits the memory and shows no seams. auto does so
        where one piece might take more than 4 GB, or more than there is; off never does.
    provider:
        What computes: auto tries all and takes the fastest that really runs here; another that cannot run is an error.
        fastnst doctor says what is missing.
    threads:
        Threads of the network on the CPU. By default one for each core.
    """
    # ONNX Runtime takes a moment to import: only now that the options are known to be right.
    from fastnst.inference.batch import PictureWorkshop, plan_pictures  # noqa: PLC0415
    from fastnst.io.folders import name_left_out  # noqa: PLC0415

    console, left_out = Console(stderr=True), list[Path]()
    plan = plan_pictures(
        photos or [], output, listed=batch.names(), shard=batch.choose_shard(console), left_out=left_out
    )
    for line in name_left_out(left_out):
        console.print(line)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("pictures", total=len(plan.jobs), visible=len(plan.jobs) > 1)
        tiles = progress.add_task("in tiles", total=1, visible=False)
        opened: list[StylePipeline] = []

        def begin(pipeline: "StylePipeline") -> None:
            opened.append(pipeline)
            for note in pipeline.notes:
                console.print(note)
            progress.update(bar, description=escape(on_one_line(pipeline.style)))
            pipeline.on_progress(lambda share: progress.update(tiles, completed=share, visible=share < 1))

        def show(outcome: "Outcome") -> None:
            progress.advance(bar)
            for line in _notices(outcome, lone=len(plan.jobs) == 1):
                console.print(line, style="red" if outcome.error else None)

        workshop = PictureWorkshop(
            style=style,
            effects=effects,
            size=size,
            provider=provider,
            threads=threads,
            tile=tile,
            on_open=None if batch.ray else begin,
        )
        tally = run_plan(
            plan,
            workshop,
            batch,
            settings=workshop.settings,
            threads=threads,
            on_done=show,
            on_skip=lambda count: progress.update(bar, completed=count),
        )
    if len(plan.jobs) == 1 and tally.failed:
        raise tally.failed[0].error or AssertionError
    end_batch(tally, _summary(tally, opened, output), console)


def _notices(outcome: "Outcome", *, lone: bool) -> list[str]:
    """What a user should know of a picture before all are done; the error of a lone one is raised at the end."""
    if outcome.error is not None:
        return [] if lone else [f"failed: {outcome.error}"]
    return [f"{outcome.task.job.source}: {note}" for note in outcome.notes]


def _summary(tally: "BatchTally", opened: "list[StylePipeline]", output: str) -> str:
    pictures = "1 picture" if tally.done == 1 else f"{tally.done} pictures"
    line = f"{output}: {pictures} in {tally.elapsed_s:.1f} s"
    for pipeline in opened[:1]:
        line += f" on {pipeline.choice}"
        if pipeline.in_tiles:
            line += f"; {pipeline.in_tiles} in tiles on {pipeline.session.tiles.provider}"
    return line
