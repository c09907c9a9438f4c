"""What commands print on: words and bars; and what they fetch or fit once with a word about it."""

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

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from rich.progress import MofNCompleteColumn, TaskProgressColumn

if TYPE_CHECKING:
    from fastnst.batch.run import Attempt
    from fastnst.exact.result import Callback, OptimizeProgress
    from fastnst.exact.settings import OptimizeSettings
    from fastnst.inference.batch import PictureWorkshop
    from fastnst.inference.pipeline import StylePipeline
    from fastnst.io.images import Frame
    from fastnst.video.stylize import FilmProgress

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
    from fastnst.training.photographs import coco_folder  # noqa: PLC0415

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

    What finds faces for a portrait is fetched first. Raises as `with_networks`.
    """
    from fastnst.inference.effects import yunet  # noqa: PLC0415 - imports numpy
    from fastnst.inference.paintings import with_networks  # noqa: PLC0415 - imports numpy

    if effects.look == "portrait" and effects.faces is None:
        yunet(console.print)
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


def counting_bar(console: Console, *, time_left: bool = True, **options: Any) -> Progress:
    """A bar with words, how many of how many are done and the time left; options as Rich's."""
    left = [TimeRemainingColumn()] if time_left else []
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *left, console=console, **options
    )


def _shown_on(bar: Progress, what: str) -> Callable[[int, int], None]:
    task = bar.add_task(what, total=None, visible=False)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, visible=True)

    return show


class PictureBars:
    """A bar for the pictures of a style, and what a user should know of each; use it in a `with` block."""

    def __init__(self, workshop: "PictureWorkshop", jobs: int, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._bar = self._progress.add_task("pictures", total=jobs, visible=jobs > 1)
        part = "refining" if workshop.refine.steps else "in tiles"
        self._part = self._progress.add_task(part, total=1, visible=False)
        self._lone, self._console = jobs == 1, console
        self.opened: list[StylePipeline] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, pipeline: "StylePipeline") -> None:
        """Say what a user should know of the networks."""
        self.opened.append(pipeline)
        for note in pipeline.notes:
            self._console.print(note)
        self._progress.update(self._bar, description=escape(on_one_line(pipeline.style)))
        pipeline.on_progress(lambda share: self._progress.update(self._part, completed=share, visible=share < 1))

    def skip(self, count: int) -> None:
        """Move the bar over what was done before."""
        self._progress.update(self._bar, completed=count)

    def end(self, attempt: "Attempt") -> None:
        """Say what a user should know of a picture; the error of a lone one is raised at the end."""
        self._progress.advance(self._bar)
        outcome = attempt.outcome
        if outcome.error is not None and not self._lone:
            self._console.print(f"failed: {outcome.error}", style="red")
        for note in () if outcome.error else outcome.notes:
            self._console.print(f"{attempt.task.job.source}: {note}")


_LINE_EVERY_S = 60.0


@contextmanager
def film_progress(name: str, console: Console) -> "Iterator[Callable[[FilmProgress], None]]":
    """Give what shows the progress of the film `name`: frames, frames a second, time left."""
    if not console.is_terminal:
        yield _Lines(name, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, name)


class _Bar:
    def __init__(self, bar: Progress, name: str) -> None:
        self._bar, self._task = bar, bar.add_task(escape(on_one_line(name)), total=None, fps="")
        self._rate = _Rate()
        self._started = False

    def __call__(self, progress: "FilmProgress") -> None:
        if not self._started:
            # Else the frames of an earlier run would count as painted within this moment.
            self._bar.reset(self._task, total=_total(progress), completed=progress.done)
            self._started = True
        fps = self._rate(progress)
        self._bar.update(self._task, completed=progress.done, total=_total(progress), fps=f"{fps:.1f} fps")


class _Lines:
    def __init__(self, name: str, console: Console) -> None:
        self._name, self._console = name, console
        self._rate = _Rate()
        self._due_s = time.monotonic() + _LINE_EVERY_S

    def __call__(self, progress: "FilmProgress") -> None:
        fps = self._rate(progress)
        if time.monotonic() < self._due_s:
            return
        self._due_s += _LINE_EVERY_S
        line, total = f"{self._name}: {progress.done} frames, {fps:.1f} fps", _total(progress)
        if total is not None:
            left = timedelta(seconds=round((total - progress.done) / fps))
            line = f"{self._name}: {progress.done} of {total} frames, {fps:.1f} fps, {left} left"
        self._console.print(line)


class _Rate:
    """Frames a second since the start, those of earlier runs left out."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def __call__(self, progress: "FilmProgress") -> float:
        return (progress.done - progress.resumed) / max(time.monotonic() - self._started_s, 1e-6)


def _total(progress: "FilmProgress") -> int | None:
    """How many frames there are; the number that a file gives may be an estimate, and too low."""
    return None if progress.total is None else max(progress.total, progress.done)


# A step through VGG-19 takes about as long as that many through the compact network.
FINE_TUNING_WORK = 8


def optimization_bar(console: Console) -> Progress:
    """A bar for steps of the exact method."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[step]}"), TimeRemainingColumn())
    return Progress(*columns, console=console, speed_estimate_period=120)


def show_steps(
    bar: Progress, write: "Callable[[Frame], None]", settings: "OptimizeSettings", newest: "list[OptimizeProgress]"
) -> "Callback":
    """What to do after each step: to show it, to write the picture now and then, and to keep it as the `newest`."""
    from fastnst.exact.pyramid import plan_levels  # noqa: PLC0415 - imports torch

    levels = plan_levels(settings)
    # Work is counted in pixels: a step takes longer at each larger size.
    work = [level.long_side**2 * (FINE_TUNING_WORK if level.fine_tune else 1) for level in levels]
    before = [0, *accumulate(level.steps * each for level, each in zip(levels, work, strict=True))]
    # Elsewhere a line that says so would stand before the one of an error.
    task = bar.add_task("starting", total=before[-1], step="", visible=bar.console.is_terminal)

    def show(progress: "OptimizeProgress") -> None:
        newest[:] = [progress]
        last = progress.last
        size = f"{last.long_side} px " if levels[0].long_side < levels[-1].long_side else ""
        judge = "fine-tuning " if last.fine_tune else ""
        bar.update(
            task,
            completed=before[progress.level] + progress.done * work[progress.level],
            visible=True,
            step=f"{last.step}/{progress.steps}",
            description=f"{size}{judge}content {last.content:.4g} style {last.style:.4g} total {last.total:.4g}",
        )
        if settings.save_every and last.step % settings.save_every == 0:
            write(progress.best_frame())

    return show
