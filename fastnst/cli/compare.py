"""`fastnst compare`: a trained network beside the exact method."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastnst.cli.console import Console, fitted
from fastnst.errors import FastNSTError, InputError, OutputError, SettingError, on_one_line
from fastnst.inference.effects import PLAIN
from fastnst.inference.paintings import FIT_S
from fastnst.io.files import sole_writer
from fastnst.io.folders import find_pictures
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import is_painting
from fastnst.research.settings import CompareSettings

if TYPE_CHECKING:
    from fastnst.research.compare import Comparer, Comparison

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
    from fastnst.research.networks import open_network  # noqa: PLC0415

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
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    done: list[Comparison] = []
    with Progress(*columns, console=console, speed_estimate_period=120) as progress:
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
