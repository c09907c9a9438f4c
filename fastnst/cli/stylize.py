"""`fastnst stylize`: stylize pictures with a trained style."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fastnst.backends.backend import ProviderChoice
from fastnst.cli.console import Console
from fastnst.errors import on_one_line
from fastnst.inference.effects import PLAIN, Effects

if TYPE_CHECKING:
    from fastnst.inference.batch import BatchResult, Outcome
    from fastnst.inference.pipeline import StylePipeline

POSITIVE = validators.Number(gte=1)


def stylize(
    photos: Annotated[list[str], Parameter(name="PHOTO", negative="")],
    /,
    *,
    style: str | None = None,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    size: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    effects: Annotated[Effects, Parameter(name="*", negative=())] = PLAIN,
    tile: Literal["auto", "off"] | int = "auto",
    provider: ProviderChoice = "auto",
    threads: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
) -> None:
    """Stylize pictures with a trained style.

    Size, orientation, transparency, color profile and format of the photos are kept.

    Parameters
    ----------
    photos:
        Pictures, folders (searched with their subfolders) or patterns like 'photos/*.jpg'.
    style:
        Style: the name of an installed one, or an .onnx file; trio@munch is one style of a network that
        knows several. May be left out where --region names styles.
    output:
        Output: a file (.png .jpg .webp .tif .bmp) for one photo; otherwise a folder,
        mirroring the photos' names and subfolders.
    overwrite:
        Replace files that already exist. Photos themselves are never overwritten.
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
    from fastnst.inference.batch import plan_outputs, stylize_files  # noqa: PLC0415
    from fastnst.inference.pipeline import StylePipeline  # noqa: PLC0415
    from fastnst.io.folders import name_left_out  # noqa: PLC0415

    left_out: list[Path] = []
    jobs = plan_outputs(photos, output, overwrite=overwrite, left_out=left_out)
    console = Console(stderr=True)
    for line in name_left_out(left_out):
        console.print(line)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with StylePipeline(style, effects, provider=provider, threads=threads, tile=tile) as pipeline:
        for note in pipeline.notes:
            console.print(note)
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task(escape(on_one_line(pipeline.style)), total=len(jobs), visible=len(jobs) > 1)
            tiles = progress.add_task("in tiles", total=1, visible=False)
            pipeline.on_progress(lambda share: progress.update(tiles, completed=share, visible=share < 1))

            def show(outcome: "Outcome") -> None:
                progress.advance(bar)
                for line in _notices(outcome, lone=len(jobs) == 1):
                    console.print(line, style="red" if outcome.error else None)

            result = stylize_files(pipeline, jobs, size=size, overwrite=overwrite, on_done=show)
        if len(jobs) == 1 and result.failed:
            raise result.failed[0].error or AssertionError
        console.print(_summary(result, pipeline, output))
    if result.failed:
        sys.exit(1)


def _notices(outcome: "Outcome", *, lone: bool) -> list[str]:
    """What a user should know of a picture before all are done; the error of a lone one is raised at the end."""
    if outcome.error is not None:
        return [] if lone else [f"failed: {outcome.error}"]
    return [f"{outcome.job.source}: {note}" for note in outcome.notes]


def _summary(result: "BatchResult", pipeline: "StylePipeline", output: Path) -> str:
    done, failed = len(result.written), len(result.failed)
    pictures = "1 picture" if done == 1 else f"{done} pictures"
    line = f"{output}: {pictures} in {result.elapsed_s:.1f} s on {pipeline.choice}"
    if pipeline.in_tiles:
        line += f"; {pipeline.in_tiles} in tiles on {pipeline.session.tiles.provider}"
    if failed:
        line += f"; {failed} failed: {', '.join(str(outcome.job.source) for outcome in result.failed)}"
    if result.not_tried:
        line += f"; {len(result.not_tried)} not tried, the disk has no room"
    return line
