"""What commands print on, and what they fetch or fit once with a word about it and a bar."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import rich.console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastnst import cli
from fastnst.errors import DownloadError, InputError, on_one_line
from fastnst.losses.settings import LossSettings

if TYPE_CHECKING:
    from fastnst.backends.choosing import Choice
    from fastnst.inference.effects import Effects

FEW_PHOTOGRAPHS = 200
"""Content images under which a training is warned of: a network then learns these rather than photographs at large."""

Resume: TypeAlias = Literal["auto", "never"] | Path
"""What --resume takes: go on with what an interrupted run left, start again, or go on with the run in that folder."""


def asks_to_resume(resume: Resume) -> bool:
    """Whether to go on where there is something to resume.

    A job that torchrun has restarted has the command line of before, and goes on whatever that says.
    """
    return resume != "never" or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


class Console(rich.console.Console):
    """Rich's console, for texts with paths in them.

    `run[v2]` and `:smile:` are names, not markup; what would move the cursor, or is a byte that is no text, is shown as
    an escape. Each text printed is one line, whole however narrow the terminal is.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)

    def note(self, text: str) -> None:
        """Print what only --verbose asks for."""
        if cli.call.verbose:
            self.print(text, style="dim")

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does, after `on_one_line`."""
        if all(isinstance(each, str) for each in objects):
            options = {"soft_wrap": True} | options
        super().print(*(on_one_line(each) if isinstance(each, str) else each for each in objects), **options)


def computed_on(choice: "Choice") -> str:
    """What computes; with --verbose also why, and what else was tried."""
    return str(choice) if cli.call.verbose else choice.provider


def content_folder(content: str, console: Console) -> Path:
    """Return the folder that --content names, and say which pictures in it are left out.

    Raises InputError where there is none, or a failed download's error.
    """
    from fastnst.io.folders import list_left_out, name_left_out  # noqa: PLC0415 - imports Pillow

    folder = Path(content)
    if folder.is_dir():
        for line in name_left_out(list_left_out(folder)):
            console.print(line)
        return folder
    if content not in ("val2017", "train2017"):
        raise InputError(f"{content}: no such folder; --content expects a folder of pictures, val2017 or train2017")
    try:
        return fetch_coco(content, None, console)
    except DownloadError as error:
        raise DownloadError(
            f"--content DIR takes a folder of your own photographs, {FEW_PHOTOGRAPHS} or more; "
            f"COCO's {content} could not be fetched: {error}"
        ) from error


def fetch_coco(split: str, root: Path | None, console: Console) -> Path:
    """Return the folder of COCO's photographs below `root`, by default the usual place; fetches them, with a bar.

    Raises SettingError for a split that is not known, DownloadError for what goes wrong.
    """
    from fastnst.training.coco import coco_folder  # noqa: PLC0415

    with Progress(console=console) as bar:
        return coco_folder(split, root, announce=console.print, progress=_shown_on(bar, f"COCO {split}"))


def fetch_loss_weights(settings: LossSettings, console: Console) -> None:
    """Fetch the weights of the loss network that the settings name, where they are neither there nor in a file.

    With `settings.fine_tunes` those of the fine-tuning as well, unless they are in a file. Raises WeightsError.
    """
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.losses.weights import fetch_weights, weights_to_fetch  # noqa: PLC0415

    for name, option in weights_to_fetch(settings):
        with Progress(console=console) as bar:
            fetch_weights(name, announce=console.print, progress=_shown_on(bar, name), option=option)


def fitted(style: str | None, effects: "Effects", seconds: float, console: Console) -> "tuple[str | None, Effects]":
    """Put networks in the place of the paintings among style and regions; those that are new are fitted, with a bar.

    Raises as `with_networks`.
    """
    from fastnst.inference.paintings import with_networks  # noqa: PLC0415 - imports numpy

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks: dict[Path, object] = {}

        def show(painting: Path, share: float) -> None:
            if painting not in tasks:
                if not console.is_terminal:
                    how = (
                        f"a network is fitted to it, in {seconds:.0f} s or less"
                        if seconds
                        else "known styles are mixed"
                    )
                    console.print(f"{painting}: new; {how}")
                tasks[painting] = bar.add_task(escape(on_one_line(f"fitting {painting.name}")), total=1.0)
            bar.update(tasks[painting], completed=share)  # type: ignore[arg-type]

        return with_networks(style, effects, seconds, show)


def _shown_on(bar: Progress, what: str) -> Callable[[int, int], None]:
    task = bar.add_task(what, total=None, visible=False)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, visible=True)

    return show
