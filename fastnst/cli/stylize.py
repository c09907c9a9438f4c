"""`fastnst stylize`: stylize pictures with a trained style."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter, validators

from fastnst.backends.contract import ProviderChoice
from fastnst.cli.batch import BATCH, COMPUTATION, BatchOptions, end_batches, open_batch, print_batch
from fastnst.cli.console import Console, PictureBars, computed_on, fitted
from fastnst.errors import OutputError, SettingError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import FIT_S, Quality, choose_refinement
from fastnst.io.addresses import is_address
from fastnst.io.images import WRITE_FORMATS, Frame, Picture, format_of, read_frame, resize_long_side, write_picture
from fastnst.io.styles import is_painting
from fastnst.losses.settings import LOOK

if TYPE_CHECKING:
    from fastnst.batch.jobs import BatchPlan
    from fastnst.batch.run import BatchTally
    from fastnst.inference.pipeline import StylePipeline

POSITIVE = validators.Number(gte=1)


def stylize(
    photos: Annotated[list[str] | None, Parameter(name="PHOTO", negative="")] = None,
    /,
    *,
    style: Annotated[list[str], Parameter(negative="")] = [],  # noqa: B006 - never changed
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    sheet: Path | None = None,
    batch: Annotated[BatchOptions, Parameter(name="*", negative=())] = BATCH,
    size: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    fit: Annotated[float, LOOK] = FIT_S,
    quality: Quality | None = None,
    refine: Annotated[int | None, Parameter(group=LOOK.group, validator=validators.Number(gte=0))] = None,
    style_image: Annotated[Path | None, LOOK] = None,
    effects: Annotated[Effects, Parameter(name="*", negative=(), group=LOOK.group)] = PLAIN,
    tile: Annotated[Literal["auto", "off"] | int, Parameter(group=COMPUTATION)] = "auto",
    provider: Annotated[ProviderChoice, Parameter(group=COMPUTATION)] = "auto",
    threads: Annotated[int | None, Parameter(group=COMPUTATION, validator=POSITIVE)] = None,
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
        Style: the name of an installed one, an .onnx file, or a painting (.jpg .png), to which a network is fitted the
        first time; trio@munch is one style of a network that knows several. May be left out where --region names
        styles. Given several times, the output is a folder that gets one for each.
    output:
        Output: a file (.png .jpg .webp .tif .bmp) for one photo; otherwise a folder,
        mirroring the photos' names and subfolders, or an address.
    sheet:
        Contact sheet: a file (.png .jpg .webp .tif) for one of all photos and styles.
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
        The painting that the style was trained on; to refine by, where fastnst does not know it.
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

    refinement, left_out = choose_refinement(quality, refine, style_image), list[Path]()
    console = Console(stderr=True)
    outputs = _outputs(style, output, sheet, batch.overwrite)
    listed, shard = batch.names(), batch.choose_shard(console)
    plans = [plan_pictures(photos or [], folder, listed=listed, shard=shard, left_out=left_out) for folder in outputs]
    for line in name_left_out(list(dict.fromkeys(left_out))):
        console.print(line)
    named: list[str | None] = [*style] or [None]
    tallies = []
    for one, plan in zip(named, plans, strict=True):
        chosen, chosen_effects = fitted(one, effects, fit, console)
        workshop = PictureWorkshop(
            style=chosen,
            effects=chosen_effects,
            size=size,
            provider=provider,
            threads=threads,
            tile=tile,
            refine=refinement,
        )
        with PictureBars(workshop, len(plan.jobs), console) as show:
            if not batch.ray:
                workshop = replace(workshop, on_open=show.begin, on_describe=console.note)
            with open_batch(plan, workshop, batch, show.skip) as tries:
                for attempt in tries:
                    with attempt:
                        attempt.notes = attempt.do()
                    show.end(attempt)
        _say_result(plan, tries.tally, show.opened, console)
        tallies.append(tries.tally)
    if sheet is not None:
        _write_sheet(sheet, style, plans, overwrite=batch.overwrite)
        console.print(f"{sheet}: contact sheet, {len(plans[0].jobs)} x {len(plans)} pictures")
    end_batches(tallies)


def _say_result(plan: "BatchPlan", tally: "BatchTally", opened: "list[StylePipeline]", console: Console) -> None:
    """Print what became of pictures; the error of a lone one is raised."""
    from fastnst.batch.jobs import result_of  # noqa: PLC0415

    if len(plan.jobs) == 1 and tally.failures:
        raise tally.failures[0].outcome.error or AssertionError
    output = result_of(plan.output, plan.jobs[0]) if plan.alone else plan.output
    print_batch(tally, _summary(tally, opened, output), console)


def _outputs(styles: list[str], output: str, sheet: Path | None, overwrite: bool) -> list[str]:
    """Where the pictures of each style go: of several, a folder for each below `output`.

    Raises OutputError for a sheet that already exists or is no picture, SettingError for two styles of one name.
    """
    if sheet is not None:
        format_of(sheet)
        if is_address(output):
            raise SettingError(f"--sheet: shows pictures that are files here, not at {output}; leave one of them out")
        if sheet.exists() and not overwrite:
            raise OutputError(f"{sheet}: already exists; --overwrite replaces it")
    if len(styles) < 2:
        return [output]
    names = [_folder_name(style) for style in styles]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"--style: two are called {name}, and would share a folder; rename a file")
    if Path(output).suffix.lower() in WRITE_FORMATS and not Path(output).is_dir():
        raise OutputError(f"{output}: is one file, but {len(styles)} styles go there; name a folder")
    return [f"{output}/{name}" if is_address(output) else str(Path(output, name)) for name in names]


def _folder_name(style: str) -> str:
    """A folder for a style: trio@munch:2,monet:1 becomes trio@munch_2_monet_1."""
    path = Path(style)
    known = is_painting(path) or path.suffix.lower() == ".onnx"
    return re.sub(r"[^\w@-]+", "_", path.stem if known else path.name)


_SHEET_WIDTH, _SHEET_HEIGHT = 384, 512
"""Pixels; what a picture on a sheet may take. All are as wide, but very high ones."""


def _write_sheet(sheet: Path, styles: list[str], plans: "list[BatchPlan]", *, overwrite: bool) -> None:
    """Write a contact sheet: a row for each photo, the photo itself and what was made of it in each style."""
    from fastnst.batch.jobs import result_of  # noqa: PLC0415
    from fastnst.inference.style_files import draw_contact_sheet  # noqa: PLC0415

    def shown(file: Path) -> Frame:
        if not file.is_file():
            return np.full((1, _SHEET_WIDTH, 3), 255, np.uint8)
        frame = read_frame(file)
        height, width = frame.shape[:2]
        return resize_long_side(frame, round(max(height, width) * min(_SHEET_WIDTH / width, _SHEET_HEIGHT / height)))

    names = [_folder_name(style) for style in styles] or ["stylized"]
    pictures: list[tuple[str, Frame]] = []
    for number, photo in enumerate(plans[0].jobs):
        pictures.append((Path(photo.source).name, shown(Path(photo.source))))
        made = [Path(result_of(plan.output, plan.jobs[number])) for plan in plans]
        pictures += [(name, shown(file)) for name, file in zip(names, made, strict=True)]
    frame = draw_contact_sheet(pictures, columns=1 + len(names))
    write_picture(sheet, Picture(frame=frame), overwrite=overwrite)


def _summary(tally: "BatchTally", opened: "list[StylePipeline]", output: str) -> str:
    pictures = "1 picture" if tally.done == 1 else f"{tally.done} pictures"
    line = f"{output}: {pictures} in {tally.elapsed_s:.1f} s"
    for pipeline in opened[:1]:
        line += f" on {computed_on(pipeline.choice)}"
        if pipeline.in_tiles:
            line += f"; {pipeline.in_tiles} in tiles on {pipeline.session.tiles.provider}"
    return line
