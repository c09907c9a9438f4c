"""`fastnst research`: studies of the exact method, the compact loss network, judging pictures without names."""

import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, ArgumentCollection, Parameter, validators
from rich.progress import Progress

from fastnst.cli.console import Console, Resume, asks_to_resume, content_folder, counting_bar
from fastnst.cli.optimize import fill_from_preset, with_network
from fastnst.cli.train import fill_settings
from fastnst.errors import InputError, OutputError, on_one_line
from fastnst.exact.presets import PresetName
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.files import alone_in, check_folder_for_results, set_aside, sole_writer
from fastnst.io.images import Frame, read_frame
from fastnst.research.settings import DistillSettings
from fastnst.research.studies import PRESET_OF, STUDIES, Given, Named, StudyName

if TYPE_CHECKING:
    from fastnst.research import distill as loop
    from fastnst.research.blind import Preference


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
    trained_style: str = "",
    preset: PresetName | None = None,  # noqa: ARG001 - apply_study_preset has read it
    sheet_size: Annotated[int, Parameter(validator=validators.Number(gte=16))] = 256,
    settings: Annotated[OptimizeSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Draw a contact sheet of the exact method, in which one thing changes, with loss curves and numbers.

    Writes sheet.png, curves.png, study.json and, in runs/, every picture with its settings and losses. What is there
    already is not stylized again: after Ctrl-C the same command resumes.

    Parameters
    ----------
    name:
        What is to change.
    photo:
        Photo; each is stylized.
    style:
        Style: a picture.
    output:
        Output: a folder for the study.
    content_mask:
        Regions of the photo: a picture for each, in their order.
    style_mask:
        Regions of each style in the same colors: a picture for each, in their order.
    trained_style:
        A trained style, or an .onnx file, to show beside (for library).
    preset:
        Settings of a paper or a published project: docs/research/papers.md has them all. By default the study's own;
        other options override it.
    sheet_size:
        Long side of the pictures on the sheet, pixels.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the study")
    photos, styles = _read(photo, content_mask, "--content-mask"), _read(style, style_mask, "--style-mask")
    console = Console(stderr=True)
    # One for all cells: left open, one with other pooling would go through another network than its neighbours.
    settings = with_network(settings, console)
    plan = STUDIES[name](Given(photos, styles, settings, trained_style))
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.research.study_run import run_study  # noqa: PLC0415

    with sole_writer(output, folder=True), counting_bar(console, speed_estimate_period=120) as bar:
        task = bar.add_task("starting", total=None)

        def show(number: int, runs: int, step: int, steps: int) -> None:
            bar.update(task, description=f"run {number} of {runs}", completed=step, total=steps)

        files = run_study(plan, output, size=sheet_size, on_step=show)
    console.print(f"{files[0]}: {plan.title}; curves and numbers beside it")


def _read(pictures: list[Path], masks: list[Path], option: str) -> list[Named]:
    if masks and len(masks) != len(pictures):
        raise InputError(
            f"{option} is given {len(masks)} times for {len(pictures)} pictures; give one for each, or none"
        )
    drawn: list[Frame | None] = [read_frame(mask) for mask in masks]
    return [
        Named(on_one_line(path.stem), read_frame(path), mask)
        for path, mask in zip(pictures, drawn or islice(cycle([None]), len(pictures)), strict=True)
    ]


TELL_EVERY = 100
"""Steps of the refinement between two lines."""


def apply_distill_recipe(app: App, arguments: ArgumentCollection) -> None:
    """Fill the settings that the command line leaves out from --resume DIR's checkpoint or --recipe's file."""
    fill_settings(app, "distill", arguments, "fastnst.research.distill")


def distill(
    *,
    settings: Annotated[DistillSettings, Parameter(name="*")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/compact"),
    recipe: Path | None = None,  # noqa: ARG001 - apply_distill_recipe has read it
    resume: Resume = "auto",
) -> None:
    """Make the compact loss network from VGG-19, photographs and paintings.

    The package has one already; this is for another teacher, other pictures, or to see how it came about. Takes some
    five minutes a round and half a second for each step of the refinement on one core, and 10 GB of memory.

    Parameters
    ----------
    output:
        Output: a folder for the checkpoint and, at the end, compact.safetensors and compact.md.
    recipe:
        TOML file of settings; options given here override it.
    resume:
        Whether to resume what an interrupted run left: auto does where the folder holds a distillation, after the
        last round it finished, never starts again, DIR resumes the one in that folder, with its settings.
    """
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.research.distill import CHECKPOINT, check_same, finish  # noqa: PLC0415
    from fastnst.research.distill import distill as run  # noqa: PLC0415

    console = Console(stderr=True)
    folder = resume if isinstance(resume, Path) else output
    check_folder_for_results(folder)
    goes_on = isinstance(resume, Path) or (asks_to_resume(resume) and (folder / CHECKPOINT).is_file())
    if goes_on:
        check_same(folder, settings, force=isinstance(resume, Path))
        console.print(f"{folder}: going on with the distillation that it holds")
    content = content_folder(settings.content, console)
    with alone_in(folder):
        if not goes_on and (folder / CHECKPOINT).is_file():
            console.print(f"{set_aside(folder / CHECKPOINT)}: kept of the distillation before")
        with counting_bar(console, time_left=False, disable=not console.is_terminal) as bar:
            show = _show(bar, settings)
            result = run(settings, content, folder, resume=goes_on, on_progress=show)
        weights = finish(result, settings, folder)
    console.print(f"Done in {time.strftime('%H:%M:%S', time.gmtime(result.elapsed_s))}. Judge pictures by it:")
    console.print(f"  fastnst optimize photo.jpg ... --loss-network compact --loss-weights {weights}")


def _show(bar: Progress, settings: DistillSettings) -> "loop.Callback":
    from fastnst.losses.compact import SHAPES  # noqa: PLC0415 - imports torch

    task = bar.add_task("round 1: sampling", total=len(SHAPES))
    fitted = 0

    def show(progress: "loop.DistillProgress") -> None:
        nonlocal fitted
        name = f"round {progress.round} of {progress.rounds}"
        if progress.missed is not None:
            bar.update(task, completed=progress.refined, total=settings.refine_steps, description="refining")
            if progress.refined % TELL_EVERY == 0 or progress.refined == settings.refine_steps:
                words = (
                    f"{layer} {one.responses:.3f} {one.changes:.3f} {one.style:.3f}"
                    for layer, one in progress.missed.items()
                )
                bar.console.print(f"step {progress.refined}: misses of responses, changes, style: {', '.join(words)}")
            return
        if progress.fit is None:
            fitted = 0
            bar.update(task, completed=progress.descents, total=settings.descents, description=f"{name}: optimizing")
            return
        fitted = fitted % len(SHAPES) + 1
        bar.update(task, completed=fitted, total=len(SHAPES), description=f"{name}: fitting")
        head = "" if progress.fit.head is None else f", components {progress.fit.head:.3f}"
        bar.console.print(f"{name}: {progress.fit.layer} misses {progress.fit.convolution:.3f} of the variance{head}")

    return show


SEVERAL = Parameter(negative="", consume_multiple=True, show_default=False)


def blind(
    first: str,
    second: str,
    /,
    *,
    style_image: Path,
    photos: Annotated[tuple[str, ...], SEVERAL],
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("blind"),
    key: Path | None = None,
    size: Annotated[int, Parameter(validator=validators.Number(gte=64))] = 512,
    pairs: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    seed: int | None = None,
) -> None:
    """Write numbered sheets that show two contenders' pictures of the same photos, without names, beside the painting.

    Each photo makes one sheet, 001.png and on. Which picture is whose is decided by lot and written to the key. Look
    at the sheets without it, write down a line for each, such as "12 left" ("same" where neither is better), and let
    `fastnst research blind-count` compare the answers with the key.

    Parameters
    ----------
    first:
        A style, such as starry or gallery@the_scream, an .onnx file, also another project's, or a folder of stylized
        pictures with the photos' names, such as those of `fastnst optimize`.
    second:
        The other one.
    style_image:
        The painting that the style was trained on.
    photos:
        Photos to measure on: files, folders, patterns.
    output:
        Output: a folder for the sheets.
    key:
        Key of the sheets: a file outside that folder; by default beside it, OUTPUT-key.json.
    size:
        Longest side, pixels: larger photos are reduced to it first.
    pairs:
        Sheets at most, spread evenly over the photos.
    seed:
        Random seed: what decides the lots; by default drawn, and written into the key.
    """
    # onnx takes a second to import: only now that the options are known to be right.
    from fastnst.io.folders import find_pictures  # noqa: PLC0415
    from fastnst.io.images import read_frame  # noqa: PLC0415
    from fastnst.research.blind import open_contender, write_sheets  # noqa: PLC0415

    console = Console(stderr=True)
    painting = read_frame(style_image)
    paths = [found.path for found in find_pictures(photos, skip=output)]
    contenders = open_contender(first), open_contender(second)
    key = key or output.with_name(f"{output.name}-key.json")
    with counting_bar(console, time_left=False, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("sheets", total=min(pairs or len(paths), len(paths)))
        written = write_sheets(
            contenders,
            painting,
            paths,
            output,
            key,
            size=size,
            pairs=pairs,
            seed=seed,
            on_sheet=lambda number: bar.update(task, completed=number),
        )
    console.print(f"{output}: {len(written.left)} sheets; the key is in {key}")


def blind_count(answers: list[Path], /, *, key: Path) -> None:
    """Count answers to blind sheets: which contender was preferred how often, with 95 % intervals.

    Several people's answers are counted together; that they judged the same photos is not allowed for.

    Parameters
    ----------
    answers:
        Text files, one a person, a line for each sheet: "12 left", "12 right", or "12 same".
    key:
        Key of the sheets: the file that was written with them.
    """
    from fastnst.research.blind import Key, count_answers, read_answers  # noqa: PLC0415

    written = Key.read(key)
    tally = count_answers([read_answers(file, written) for file in answers], written)
    console = Console()
    if not tally.left.total and not tally.same:
        raise InputError(f"{answers[0]}: holds no answers")
    for preference in tally.preferences:
        console.print(_words(preference))
    beyond = [preference.name for preference in tally.preferences if preference.low > 0.5]
    console.print(f"{beyond[0]} is preferred beyond chance" if beyond else "neither is preferred beyond chance")
    console.print(f"same: {tally.same}")
    console.print(_words(tally.left), style="dim")


def _words(preference: "Preference") -> str:
    shown = f"{preference.count} of {preference.total}, {preference.share:.0%}"
    return f"{preference.name}: {shown} ({preference.low:.0%} to {preference.high:.0%})"
