"""`fastnst evaluate`: how good trained styles are, in figures and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Printed

from fastnst.perceptual.settings import LossNetworkName, LossSettings

if TYPE_CHECKING:
    from fastnst.evaluation.evaluate import Evaluation
    from fastnst.evaluation.judge import Judge
    from fastnst.evaluation.networks import Network
    from fastnst.evaluation.report import Table
    from fastnst.images import Frame

POSITIVE = validators.Number(gte=1)
SIZE = validators.Number(gte=64)
WIDE = 120
"""Columns of a terminal from which on intervals are printed."""


def evaluate(
    *,
    style: Annotated[list[str], Parameter(negative="", consume_multiple=True)],
    style_image: Path,
    photos: Annotated[list[str], Parameter(negative="", consume_multiple=True)],
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("evaluation"),
    size: Annotated[int, Parameter(validator=SIZE)] = 512,
    limit: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    samples: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 4,
    loss_network: LossNetworkName = "vgg19",
    loss_weights: Path | None = None,
    lpips_weights: Path | None = None,
) -> None:
    """Measure trained styles over photos, and say which is better.

    Writes report.html, report.md, report.json and sheet.png. Figures and pictures stand beside those of the plain photo
    and of the photo with the painting's colours, which a style must beat. docs/evaluation.md says what each means.

    Parameters
    ----------
    style:
        Styles of one painting to compare: names of installed ones, or .onnx files, also other projects' that take and
        give float32 (N, 3, H, W) RGB in 0..255.
    style_image:
        The painting that they were trained on.
    photos:
        Pictures, folders or patterns.
    output:
        Folder of the report.
    size:
        Longest side that photos are scaled to, pixels. The painting's is always 512.
    limit:
        Number of photos at most, spread evenly over those found.
    samples:
        Number of photos shown.
    loss_network:
        Network of the yardstick; -caffe are its authors' own weights, the others torchvision's.
    loss_weights:
        File with the yardstick's weights instead of a download.
    lpips_weights:
        File (.safetensors) with torchvision's AlexNet and the LPIPS v0.1 heads instead of downloads.
    """
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.evaluation.evaluate import choose_evenly  # noqa: PLC0415
    from fastnst.evaluation.judge import load_measures  # noqa: PLC0415
    from fastnst.evaluation.networks import open_networks  # noqa: PLC0415
    from fastnst.evaluation.sheet import draw_sheet  # noqa: PLC0415
    from fastnst.evaluation.summary import picture_grid, summarise, tables  # noqa: PLC0415
    from fastnst.folders import find_pictures  # noqa: PLC0415
    from fastnst.images import Picture, read_frame, write_picture  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    painting = read_frame(style_image)
    paths = choose_evenly([found.path for found in find_pictures(photos, skip=output)], limit)
    networks = open_networks(style)
    loaded = load_measures(LossSettings(loss_network=loss_network, loss_weights=loss_weights), lpips_weights)
    if loaded.alexnet is None:
        console.print(f"AlexNet {loaded.weights['AlexNet']}", markup=False, soft_wrap=True)
    judge = loaded.judge(painting)
    result = _run(networks, painting, paths, judge, console, size=size, samples=samples)
    facts = loaded.weights | {"Size": f"photos {size} px, style image 512 px, long sides"}
    report = summarise(result, style=painting, style_name=style_image.name, facts=facts)
    files = report.write(output)
    if result.samples:
        write_picture(output / "sheet.png", Picture(frame=draw_sheet(picture_grid(result, painting))))
    for path, reason in result.skipped.items():
        console.print(f"left out: {path}: {reason}", markup=False, soft_wrap=True)
    for title, table in tables(result).items():
        _print_table(title, table, Console())
    console.print(f"{files[0]}: {len(result.photos)} photos, {len(result.skipped)} left out", markup=False)


def _run(
    networks: "list[Network]",
    painting: "Frame",
    paths: list[Path],
    judge: "Judge",
    console: Console,
    *,
    size: int,
    samples: int,
) -> "Evaluation":
    from fastnst.evaluation.evaluate import evaluate as measure  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("photos", total=len(paths))
        return measure(
            networks,
            painting,
            paths,
            judge,
            size=size,
            samples=samples,
            on_photo=lambda _path: progress.advance(bar),
        )


def _print_table(title: str, table: "Table", console: Console) -> None:
    """Print a table; where the terminal is narrow without the intervals, which are in the report."""
    from fastnst.evaluation.report import best_rows, format_cell  # noqa: PLC0415

    printed = Printed(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    printed.add_column(table.corner, no_wrap=True)
    for column in table.columns:
        printed.add_column(column.title, justify="right")
    best = best_rows(table)
    for number, row in enumerate(table.rows):
        cells = [format_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
        if console.width < WIDE:
            cells = [cell.partition(" ± ")[0] for cell in cells]
        marked = [f"[bold green]{cell}[/]" if number in rows else cell for cell, rows in zip(cells, best, strict=True)]
        printed.add_row(escape(row.label), *marked, style="dim" if row.baseline else None)
    console.print(printed)
