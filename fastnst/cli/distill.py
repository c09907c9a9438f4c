"""`fastnst research distill`: VGG-19 becomes the compact loss network."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, ArgumentCollection, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fastnst.cli.console import Console
from fastnst.cli.downloads import content_folder
from fastnst.cli.recipe import fill_settings
from fastnst.io.files import alone_in, check_folder_for_results
from fastnst.research.distillation.settings import DistillSettings

if TYPE_CHECKING:
    from fastnst.research.distillation import loop

TELL_EVERY = 100
"""Steps of the refinement between two lines."""


def apply_distill_recipe(app: App, arguments: ArgumentCollection) -> None:
    """Fill the settings that the command line leaves out from --resume's checkpoint or --recipe's file."""

    def saved(folder: Path) -> dict[str, Any]:
        from fastnst.research.distillation.loop import saved_settings  # noqa: PLC0415 - imports torch

        return saved_settings(folder)

    fill_settings(app, "distill", arguments, saved)


def distill(
    *,
    settings: Annotated[DistillSettings, Parameter(name="*")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/compact"),
    recipe: Path | None = None,  # noqa: ARG001 - apply_distill_recipe has read it
    resume: Path | None = None,
) -> None:
    """Make the compact loss network from VGG-19, photographs and paintings.

    The package has one already; this is for another teacher, other pictures, or to see how it came about. Takes some
    five minutes a round and half a second for each step of the refinement on one core, and 10 GB of memory.

    Parameters
    ----------
    output:
        Folder for the checkpoint and, at the end, compact.safetensors and compact.md.
    recipe:
        TOML file of settings; options given here override it.
    resume:
        Folder of a distillation that was stopped: go on after the last round it finished, with its settings.
    """
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.research.distillation.loop import distill as run  # noqa: PLC0415
    from fastnst.research.distillation.loop import finish  # noqa: PLC0415

    console = Console(stderr=True)
    folder = resume or output
    check_folder_for_results(folder)
    content = content_folder(settings.content, console)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with alone_in(folder):
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            show = _show(bar, settings)
            result = run(settings, content, folder, resume=resume is not None, on_progress=show)
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
            bar.update(task, completed=progress.descents, total=settings.descents, description=f"{name}: optimising")
            return
        fitted = fitted % len(SHAPES) + 1
        bar.update(task, completed=fitted, total=len(SHAPES), description=f"{name}: fitting")
        head = "" if progress.fit.head is None else f", components {progress.fit.head:.3f}"
        bar.console.print(f"{name}: {progress.fit.layer} misses {progress.fit.convolution:.3f} of the variance{head}")

    return show
