"""`fastnst research study`: contact sheets of the exact method, in which one thing changes."""

from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter, validators
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastnst.cli.console import Console
from fastnst.cli.optimize_options import fill_from_preset, with_network
from fastnst.errors import InputError, OutputError
from fastnst.exact.presets import PresetName
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame, read_frame
from fastnst.research.studies.catalogue import PRESET_OF, STUDIES, Given, Named, StudyName

DEFAULTS = OptimizeSettings()


def apply_study_preset(app: App, arguments: ArgumentCollection) -> None:
    """Fill the settings that the command line leaves out from --preset, or from the study's own preset."""
    given = {name: argument.tokens[0].value for argument in arguments for name in argument.names if argument.tokens}
    study = next((given[name] for name in ("NAME", "name", "--name") if name in given), "")
    preset = given.get("--preset") or PRESET_OF.get(study, "default")  # type: ignore[call-overload]
    fill_from_preset(app, "study", arguments, preset)


def study(
    name: Annotated[StudyName, Parameter(name="NAME")],
    /,
    *,
    photo: Annotated[list[Path], Parameter(negative="", consume_multiple=True)],
    style: Annotated[list[Path], Parameter(negative="", consume_multiple=True)],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    content_mask: Annotated[list[Path], Parameter(negative="", consume_multiple=True)] = [],  # noqa: B006 - never changed
    style_mask: Annotated[list[Path], Parameter(negative="", consume_multiple=True)] = [],  # noqa: B006 - never changed
    network: str = "",
    preset: PresetName | None = None,  # noqa: ARG001 - apply_study_preset has read it
    sheet_size: Annotated[int, Parameter(validator=validators.Number(gte=16))] = 256,
    settings: Annotated[OptimizeSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Draw a contact sheet of the exact method, in which one thing changes, with loss curves and numbers.

    Writes sheet.png, curves.png, study.json and, in runs/, every picture with its settings and losses. What is there
    already is not painted again: after Ctrl-C the same command goes on.

    Parameters
    ----------
    name:
        What is to change.
    photo:
        Pictures to paint.
    style:
        Pictures to paint them like.
    output:
        Folder of the study.
    content_mask:
        Regions of each photo, in their order.
    style_mask:
        Regions of each style, in their order.
    network:
        A trained style, or an .onnx file, to show beside (for library).
    preset:
        System of a founding document to start from, instead of the study's own; other options override it.
    sheet_size:
        Long side of the pictures on the sheet, pixels.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the study")
    photos, styles = _read(photo, content_mask, "--content-mask"), _read(style, style_mask, "--style-mask")
    console = Console(stderr=True)
    # One for all cells: left open, one with other pooling would go through another network than its neighbours.
    settings = with_network(settings, console)
    plan = STUDIES[name](Given(photos, styles, settings, network))
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.research.studies.run import run_study  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, speed_estimate_period=120) as bar:
        task = bar.add_task("starting", total=None)

        def show(number: int, runs: int, step: int, steps: int) -> None:
            bar.update(task, description=f"run {number} of {runs}", completed=step, total=steps)

        files = run_study(plan, output, size=sheet_size, on_step=show)
    console.print(f"{files[0]}: {plan.title}; curves and numbers beside it", markup=False, soft_wrap=True)


def _read(pictures: list[Path], masks: list[Path], option: str) -> list[Named]:
    if masks and len(masks) != len(pictures):
        raise InputError(
            f"{option} is given {len(masks)} times for {len(pictures)} pictures; give one for each, or none"
        )
    drawn: list[Frame | None] = [read_frame(mask) for mask in masks]
    return [
        Named(path.stem, read_frame(path), mask)
        for path, mask in zip(pictures, drawn or islice(cycle([None]), len(pictures)), strict=True)
    ]
