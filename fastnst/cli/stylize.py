"""`fastnst stylize`: stylize pictures with a trained style."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fastnst.backends.backend import ProviderChoice
from fastnst.cli.console import Console, computed_on
from fastnst.cli.paintings import fitted
from fastnst.errors import OutputError, SettingError, on_one_line
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import FIT_S
from fastnst.inference.refining import Quality, choose_refinement
from fastnst.io.images import WRITE_FORMATS, Frame, Picture, format_of, read_frame, resize_long_side, write_picture
from fastnst.io.styles import is_painting

if TYPE_CHECKING:
    from fastnst.inference.batch import BatchResult, Outcome, PhotoJob
    from fastnst.inference.pipeline import StylePipeline

POSITIVE = validators.Number(gte=1)


def stylize(
    photos: Annotated[list[str], Parameter(name="PHOTO", negative="")],
    /,
    *,
    style: Annotated[list[str], Parameter(negative="")] = [],  # noqa: B006 - never changed
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    sheet: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    size: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    fit: float = FIT_S,
    quality: Quality | None = None,
    refine: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    style_image: Path | None = None,
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
        Style: the name of an installed one, an .onnx file, or a painting (.jpg .png), to which a network is fitted the
        first time; trio@munch is one style of a network that knows several. May be left out where --region names
        styles. Given several times, the output is a folder that gets one for each.
    output:
        Output: a file (.png .jpg .webp .tif .bmp) for one photo; otherwise a folder,
        mirroring the photos' names and subfolders.
    sheet:
        Also write a contact sheet of all photos and styles to this file (.png .jpg .webp .tif).
    overwrite:
        Replace files that already exist. Photos themselves are never overwritten.
    size:
        Longest side, pixels: larger photos are reduced to it first, smaller ones stay as they are. By default every
        result has its photo's size.
    fit:
        Seconds to fit a network to a painting, at most, the first time; 0 takes a mixture of known styles, in a second.
    quality:
        draft is what the network paints, in a moment; good takes 12 steps more, in seconds, and best 100.
    refine:
        Steps of the exact method after the network, on the picture itself; needs the extra train.
    style_image:
        Painting that the style was trained on, to refine by where fastnst does not know it.
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
    from fastnst.inference.batch import plan_outputs  # noqa: PLC0415
    from fastnst.inference.pipeline import StylePipeline  # noqa: PLC0415
    from fastnst.io.folders import name_left_out  # noqa: PLC0415

    refinement, left_out = choose_refinement(quality, refine, style_image), list[Path]()
    console = Console(stderr=True)
    outputs = _outputs(style, output, sheet, overwrite)
    jobs = [plan_outputs(photos, folder, overwrite=overwrite, left_out=left_out) for folder in outputs]
    for line in name_left_out(list(dict.fromkeys(left_out))):
        console.print(line)
    failed = False
    styles: list[str | None] = [*style] or [None]
    for named, folder, planned in zip(styles, outputs, jobs, strict=True):
        chosen, chosen_effects = fitted(named, effects, fit, console)
        with StylePipeline(
            chosen, chosen_effects, provider=provider, threads=threads, tile=tile, refine=refinement
        ) as pipeline:
            result = _stylize(
                pipeline,
                planned,
                console,
                size=size,
                overwrite=overwrite,
                refines=refinement.steps > 0,
            )
            console.print(_summary(result, pipeline, folder))
            failed = failed or bool(result.failed or result.not_tried)
    if sheet is not None:
        _write_sheet(sheet, style, jobs, overwrite=overwrite)
    if failed:
        sys.exit(1)


def _stylize(
    pipeline: "StylePipeline",
    jobs: "list[PhotoJob]",
    console: Console,
    *,
    size: int | None,
    overwrite: bool,
    refines: bool,
) -> "BatchResult":
    """Stylize pictures with a bar; the error of a lone one is raised."""
    from fastnst.inference.batch import stylize_files  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    for note in pipeline.notes:
        console.print(note)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(escape(on_one_line(pipeline.style)), total=len(jobs), visible=len(jobs) > 1)
        part = progress.add_task("refining" if refines else "in tiles", total=1, visible=False)
        pipeline.on_progress(lambda share: progress.update(part, completed=share, visible=share < 1))

        def show(outcome: "Outcome") -> None:
            progress.advance(bar)
            for line in _notices(outcome, lone=len(jobs) == 1):
                console.print(line, style="red" if outcome.error else None)

        def describe(photo: Frame) -> str:
            words = pipeline.describe(photo)
            console.note(words)
            return words

        result = stylize_files(pipeline, jobs, size=size, overwrite=overwrite, describe=describe, on_done=show)
    if len(jobs) == 1 and result.failed:
        raise result.failed[0].error or AssertionError
    return result


def _outputs(styles: list[str], output: Path, sheet: Path | None, overwrite: bool) -> list[Path]:
    """Where the pictures of each style go: of several, a folder for each below `output`.

    Raises OutputError for a sheet that already exists or is no picture, SettingError for two styles of one name.
    """
    if sheet is not None:
        format_of(sheet)
        if sheet.exists() and not overwrite:
            raise OutputError(f"{sheet}: already exists; --overwrite replaces it")
    if len(styles) < 2:
        return [output]
    names = [_folder_name(style) for style in styles]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"--style: two are called {name}, and would share a folder; rename a file")
    if output.suffix.lower() in WRITE_FORMATS and not output.is_dir():
        raise OutputError(f"{output}: is one file, but {len(styles)} styles go there; name a folder")
    return [output / name for name in names]


def _folder_name(style: str) -> str:
    """A folder for a style: trio@munch:2,monet:1 becomes trio@munch_2_monet_1."""
    path = Path(style)
    known = is_painting(path) or path.suffix.lower() == ".onnx"
    return re.sub(r"[^\w@-]+", "_", path.stem if known else path.name)


_SHEET_SIDE = 384
"""Pixels; the longer side of each picture on a sheet."""


def _write_sheet(sheet: Path, styles: list[str], jobs: "list[list[PhotoJob]]", *, overwrite: bool) -> None:
    """Write a contact sheet: a row for each photo, the photo itself and what was made of it in each style."""
    from fastnst.inference.style_files import draw_contact_sheet  # noqa: PLC0415

    def shown(file: Path) -> Frame:
        frame = resize_long_side(read_frame(file), _SHEET_SIDE) if file.is_file() else np.zeros((1, 1, 3), np.uint8)
        whole = np.full((_SHEET_SIDE, _SHEET_SIDE, 3), 255, np.uint8)
        whole[: frame.shape[0], : frame.shape[1]] = frame
        return whole

    names = [_folder_name(style) for style in styles] or ["stylized"]
    pictures: list[tuple[str, Frame]] = []
    for row in zip(*jobs, strict=True):
        pictures.append((row[0].source.name, shown(row[0].source)))
        pictures += [(name, shown(job.output)) for name, job in zip(names, row, strict=True)]
    frame = draw_contact_sheet(pictures, columns=1 + len(names))
    write_picture(sheet, Picture(frame=frame), overwrite=overwrite)


def _notices(outcome: "Outcome", *, lone: bool) -> list[str]:
    """What a user should know of a picture before all are done; the error of a lone one is raised at the end."""
    if outcome.error is not None:
        return [] if lone else [f"failed: {outcome.error}"]
    return [f"{outcome.job.source}: {note}" for note in outcome.notes]


def _summary(result: "BatchResult", pipeline: "StylePipeline", output: Path) -> str:
    done, failed = len(result.written), len(result.failed)
    pictures = "1 picture" if done == 1 else f"{done} pictures"
    line = f"{output}: {pictures} in {result.elapsed_s:.1f} s on {computed_on(pipeline.choice)}"
    if pipeline.in_tiles:
        line += f"; {pipeline.in_tiles} in tiles on {pipeline.session.tiles.provider}"
    if failed:
        line += f"; {failed} failed: {', '.join(str(outcome.job.source) for outcome in result.failed)}"
    if result.not_tried:
        line += f"; {len(result.not_tried)} not tried, the disk has no room"
    return line
