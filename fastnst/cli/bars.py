"""Bars of commands that take a while: pictures of a batch, frames of a film, steps of the exact method."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from fastnst.cli.console import Console
from fastnst.errors import on_one_line

if TYPE_CHECKING:
    from fastnst.batch.run import Attempt
    from fastnst.exact.result import Callback, OptimizeProgress
    from fastnst.exact.settings import OptimizeSettings
    from fastnst.inference.batch import PictureWorkshop
    from fastnst.inference.pipeline import StylePipeline
    from fastnst.io.images import Frame
    from fastnst.video.stylize import FilmProgress


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
