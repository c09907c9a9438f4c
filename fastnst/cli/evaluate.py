"""`fastnst evaluate` and `fastnst compare`: how good trained styles are, in figures and pictures, and beside the exact
method.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich import box
from rich.markup import escape
from rich.table import Table as Printed
from rich.text import Text

from fastnst.cli.console import Console, Resume, asks_to_resume, counting_bar, fitted
from fastnst.errors import FastNSTError, InputError, OutputError, SettingError, on_one_line
from fastnst.inference.effects import PLAIN
from fastnst.inference.paintings import FIT_S
from fastnst.io.files import sole_writer
from fastnst.io.folders import find_pictures
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import is_painting
from fastnst.losses.settings import LossSettings, VGGName
from fastnst.research.settings import CompareSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastnst.report.blocks import Table
    from fastnst.report.report import Report
    from fastnst.research.compare import Comparer, Comparison
    from fastnst.research.judge import EvaluatedNetwork, Loaded

POSITIVE = validators.Number(gte=1)
SIZE = validators.Number(gte=64)
SEVERAL = Parameter(negative="", consume_multiple=True, show_default=False)
MOVED_PHOTOS = 2
"""Photos that are moved where films are given and no pictures to move."""


def evaluate(
    *,
    style: Annotated[list[str], SEVERAL],
    style_image: Path | None = None,
    photos: Annotated[tuple[str, ...], SEVERAL] = (),
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("evaluation"),
    size: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True, validator=SIZE)] = (512,),
    style_size: Annotated[int, Parameter(validator=SIZE)] = 512,
    limit: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    samples: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 4,
    strength: float | None = None,
    resume: Resume = "auto",
    video: Annotated[tuple[str, ...], SEVERAL] = (),
    video_pictures: Annotated[tuple[str, ...], SEVERAL] = (),
    video_frames: Annotated[int, Parameter(validator=validators.Number(gte=2))] = 10,
    loss_network: VGGName = "vgg19",
    loss_weights: Path | None = None,
    lpips_weights: Path | None = None,
) -> None:
    """Measure trained styles over photos and on films, and say which is better.

    Writes report.html, report.md, report.json and sheet.png. Figures and pictures stand beside those of the plain photo
    and of the photo with the painting's colors, which a style must beat. docs/research/metrics.md says what each means.
    After Ctrl-C the report is on the photos done until then.

    Parameters
    ----------
    style:
        Style: the name of an installed one, or an .onnx file; several of one painting are compared, also
        other projects'. Of a network that knows several styles, trio@munch is one, and trio@munch:2,monet:1 a mix.
    style_image:
        The painting that the style was trained on; needed for --photos.
    photos:
        Photos to measure on: files, folders, patterns.
    output:
        Output: a folder for the report.
    size:
        Longest side, pixels: photos and films are scaled to it. Several make a table each, films at the first. The
        painting's is 512.
    style_size:
        Longest side of the style picture, pixels: where contrast, chroma, octaves and patterns are compared with it,
        the one that the styles were trained on, if that was not 512.
    limit:
        Number of photos at most, spread evenly over those found.
    samples:
        Number of photos shown.
    strength:
        Strength of the style: 0 leaves the photo, 1 is the full style; up to 1.5 where a network has such an input.
    resume:
        Whether to resume what an interrupted run left: auto takes over the figures of the same networks, photos and
        weights in the output folder, never measures anew, DIR takes over those in that folder.
    video:
        Films, folders of a clip's frames, and folders of image pairs with true flow (.flo): how steady the styles are.
        docs/research/metrics.md says how it is measured.
    video_pictures:
        Pictures, folders or patterns of what is moved, enlarged, turned, and stands still with sensor noise. By default
        the first two photos where films are given.
    video_frames:
        Frames of each film at most.
    loss_network:
        Loss network: what measures; -caffe are its authors' own weights, the others torchvision's.
    loss_weights:
        File with the loss network's weights (.safetensors or .pth, torchvision's names) instead of a download.
    lpips_weights:
        File (.safetensors) with torchvision's AlexNet and the LPIPS v0.1 heads instead of downloads.
    """
    if not photos and not video and not video_pictures:
        raise SettingError("nothing to measure on; give --photos and --style-image, or --video, or both")
    if photos and style_image is None:
        raise SettingError("--photos is given without --style-image; name the painting that the styles were trained on")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the report")
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.io.folders import find_pictures, name_left_out  # noqa: PLC0415
    from fastnst.report.report import Report  # noqa: PLC0415
    from fastnst.research.evaluate import choose_evenly  # noqa: PLC0415
    from fastnst.research.judge import load_measures, open_networks  # noqa: PLC0415

    console = Console(stderr=True)
    left_out: list[Path] = []
    paths = choose_evenly([found.path for found in find_pictures(photos, skip=output, left_out=left_out)], limit)
    moved = [found.path for found in find_pictures(video_pictures, skip=output, left_out=left_out)]
    for line in name_left_out(left_out):
        console.print(line)
    if paths and not any(path.is_file() for path in paths):
        raise InputError(f"{paths[0]}: no such file")
    networks = open_networks(style, strength=strength)
    with sole_writer(output, folder=True):
        report, interrupted = Report("Steadiness on video", ", ".join(network.name for network in networks)), False
        if style_image is not None and paths:
            settings = LossSettings(loss_network=loss_network, loss_weights=loss_weights)
            load = partial(load_measures, settings, lpips_weights)
            report, interrupted = _measure_photos(
                networks,
                style_image,
                paths,
                load,
                console,
                output=output,
                sizes=list(dict.fromkeys(size)),
                style_size=style_size,
                samples=samples,
                left=output if not isinstance(resume, Path) else resume,
                resume=asks_to_resume(resume),
            )
            report.write(output)  # already now, as a film may turn out to be unreadable
        if (video or moved) and not interrupted:
            _measure_video(
                report, networks, video, moved or paths[:MOVED_PHOTOS], console, frames=video_frames, size=size[0]
            )
            report.write(output)
    console.print(f"{output / 'report.html'}: {report.summary}")
    if interrupted:
        raise KeyboardInterrupt


def _measure_photos(
    networks: "list[EvaluatedNetwork]",
    style_image: Path,
    paths: list[Path],
    load: "Callable[[], Loaded]",
    console: Console,
    *,
    output: Path,
    sizes: list[int],
    style_size: int,
    samples: int,
    left: Path,
    resume: bool,
) -> "tuple[Report, bool]":
    """The report on photos, the sheet written and the tables printed; and whether Ctrl-C ended the measuring."""
    from fastnst.io.images import Picture, read_frame, write_picture  # noqa: PLC0415
    from fastnst.metrics.perceptual import STYLE_SIZE  # noqa: PLC0415
    from fastnst.report.report import draw_sheet  # noqa: PLC0415
    from fastnst.research.evaluate import CACHE_FILE, MeasurementCache, measure_sizes  # noqa: PLC0415
    from fastnst.research.evaluation_report import picture_grid, summarize, tables  # noqa: PLC0415

    painting = read_frame(style_image)
    loaded = load()  # now, as it may fetch half a gigabyte
    if loaded.alexnet is None:
        console.note(f"AlexNet {loaded.weights['AlexNet']}")
    judge = loaded.judge(painting, style_size)

    def facts(*measured: int) -> dict[str, str]:
        compared = "" if style_size == STYLE_SIZE else f" ({style_size} px for the appearance)"
        words = f"photos {', '.join(map(str, measured))} px, style image {STYLE_SIZE} px{compared}, long sides"
        return loaded.weights | {"Size": words}

    def open_cache(size: int) -> MeasurementCache:
        given = facts(size) | {key: column.meaning for key, column in judge.measures.items()}
        # Each size adds its lines to those of the sizes before.
        goes_on = resume or size != sizes[0]
        source = left / CACHE_FILE if size == sizes[0] else None
        return MeasurementCache(output / CACHE_FILE, resume=goes_on, given=given, style=painting, source=source)

    with counting_bar(console, transient=True) as progress:
        bar = progress.add_task("photos", total=len(paths) * len(sizes))
        results = measure_sizes(
            networks,
            painting,
            paths,
            judge,
            sizes=sizes,
            samples=samples,
            open_cache=open_cache,
            on_photo=lambda _path: progress.advance(bar),
        )
    for path, reason in results[0].skipped.items():
        console.print(f"left out: {path}: {reason}")
    for result in results:
        if result.samples:
            name = "sheet.png" if result is results[0] else f"sheet-{result.size}.png"
            write_picture(output / name, Picture(frame=draw_sheet(picture_grid(result, painting))))
        for title, table in tables(result).items():
            _print_table(f"{title} at {result.size} px" if len(results) > 1 else title, table, Console())
    measured = facts(*(result.size for result in results))
    report = summarize(results, style=painting, style_name=style_image.name, facts=measured)
    return report, results[-1].interrupted


def _measure_video(
    report: "Report",
    networks: "list[EvaluatedNetwork]",
    films: tuple[str, ...],
    pictures: list[Path],
    console: Console,
    *,
    frames: int,
    size: int,
) -> None:
    """Add the section on steadiness to the report and print its tables."""
    from fastnst.io.images import read_frame  # noqa: PLC0415
    from fastnst.research.video_report import add_video, error_table, excess_table  # noqa: PLC0415

    with counting_bar(console, transient=True) as progress:
        bar = progress.add_task("frames", total=None)
        rows = add_video(
            report,
            {network.name: network.paint for network in networks},
            films,
            [(path.stem, read_frame(path)) for path in pictures],
            frames=frames,
            long_side=size,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    for title, table in {"Steady on video": excess_table(rows), "Warp error": error_table(rows)}.items():
        _print_table(title, table, Console())


def _print_table(title: str, table: "Table", console: Console) -> None:
    """Print a table; where the terminal is narrow without the intervals, which are in the report."""
    from fastnst.report.blocks import best_rows, format_cell  # noqa: PLC0415

    if not console.is_terminal:
        console.width = 200
    rows = [[format_cell(*pair) for pair in zip(row.cells, table.columns, strict=True)] for row in table.rows]
    titles = [column.title for column in table.columns]
    needed = [max(map(len, cells)) + 2 for cells in zip(titles, *rows, strict=True)]
    if sum(needed) + max(len(row.label) for row in table.rows) > console.width:
        rows = [[cell.partition(" ± ")[0] for cell in cells] for cells in rows]
    printed = Printed(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    printed.add_column(table.corner, no_wrap=True)
    for heading in titles:
        printed.add_column(heading, justify="right", no_wrap=True)
    best = best_rows(table)
    for number, (row, cells) in enumerate(zip(table.rows, rows, strict=True)):
        marked = [
            Text(cell, "bold green") if number in winners else cell for cell, winners in zip(cells, best, strict=True)
        ]
        printed.add_row(on_one_line(row.label), *marked, style="dim" if row.baseline else None)
    console.print(printed)


DEFAULTS = CompareSettings()
SIZES = Parameter(consume_multiple=True, negative="", validator=validators.Number(gte=32))


def compare(
    photos: Annotated[list[str], Parameter(name="PHOTO", negative="")],
    /,
    *,
    style: str,
    style_image: Path | None = None,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    size: Annotated[tuple[int, ...], SIZES] = (512,),
    settings: Annotated[CompareSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Compare a trained network with the exact method: the same loss, the same photos, the same size.

    Writes a report (compare.html, .md, .json), plots, every picture and labelled sheets. After Ctrl-C
    or an error the report is on what was done until then.

    Parameters
    ----------
    photos:
        Pictures, folders or patterns like 'photos/*.jpg'.
    style:
        Style: the name of an installed one, an .onnx file, or a painting (.jpg .png), to which a network is fitted the
        first time; trio@munch is one style of a network that knows several.
    style_image:
        The painting that the style was trained on; not needed where --style is one.
    output:
        Output: a folder for the report; files of an earlier one are replaced.
    size:
        Longest side, pixels: 256 512 1024 are those of Johnson's table 1. Smaller photos are enlarged to it, so that
        all are compared at the same size.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the report")
    if style_image is None:
        if not is_painting(style):
            raise SettingError(f"--style-image is missing; expected the painting that {style} was trained on")
        style_image = Path(style)
    pictures = _read(photos)
    painting = read_frame(style_image)
    console = Console(stderr=True)
    style = fitted(style, PLAIN, FIT_S, console)[0] or style
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.research.compare import Comparer  # noqa: PLC0415
    from fastnst.research.compare_report import compare_report, write_comparison  # noqa: PLC0415
    from fastnst.research.judge import open_network  # noqa: PLC0415

    comparer = Comparer(open_network(style), painting, settings)
    with sole_writer(output, folder=True):
        done, stopped = _run(comparer, pictures, list(dict.fromkeys(size)), console)
        report = compare_report(comparer, style_image.name, done) if done else None
        files = [] if report is None else write_comparison(report, comparer.style, done, output)
    if report is not None:
        console.print(report.summary)
        console.print(f"{files[0]}: the report, and {len(files) - 1} more files beside it")
    if stopped is not None:
        raise stopped


def _read(photos: list[str]) -> list[tuple[str, Frame]]:
    """Name and frame of each photo; the names serve in file names and must differ."""
    pictures: dict[str, Frame] = {}
    for found in find_pictures(photos):
        name = on_one_line(found.path.stem)
        if name in pictures:
            raise InputError(f"{found.path}: another photo is called {name} too; rename one, the report tells by name")
        pictures[name] = read_frame(found.path)
    return list(pictures.items())


def _run(
    comparer: "Comparer", photos: list[tuple[str, Frame]], sizes: list[int], console: Console
) -> "tuple[list[Comparison], KeyboardInterrupt | FastNSTError | None]":
    """The comparisons that were finished, and what ended the work before its time."""
    done: list[Comparison] = []
    with counting_bar(console, speed_estimate_period=120) as progress:
        total = len(photos) * len(sizes) * comparer.settings.steps
        task = progress.add_task("starting", total=total)

        def show(name: str, size: int, step: int, steps: int) -> None:
            progress.update(
                task,
                completed=len(done) * steps + step,
                description=escape(on_one_line(f"{name} at {size} px, exact steps")),
            )

        try:
            for comparison in comparer.run(photos, sizes, show):
                done.append(comparison)
                console.print(_said(comparison))
        except (KeyboardInterrupt, FastNSTError) as stopped:
            return done, stopped
    return done, None


def _said(comparison: "Comparison") -> str:
    found, last = comparison.matched, comparison.curve[-1]
    match = f"matched at step {found.step}" if found else "never matched"
    return (
        f"{comparison.photo}, {comparison.size} px: fast total {comparison.fast_losses.total:.3f}, {match}; "
        f"exact {last.losses.total:.3f} after {last.step} steps"
    )
