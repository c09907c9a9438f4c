"""How far a film is, for `fastnst video`: a bar on a terminal, a line a minute elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastnst.cli.console import Console
from fastnst.errors import on_one_line

if TYPE_CHECKING:
    from fastnst.video.stylize import FilmProgress

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
        self._console.print(line, markup=False, soft_wrap=True)


class _Rate:
    """Frames a second since the start, those of earlier runs left out."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def __call__(self, progress: "FilmProgress") -> float:
        return (progress.done - progress.resumed) / max(time.monotonic() - self._started_s, 1e-6)


def _total(progress: "FilmProgress") -> int | None:
    """How many frames there are; the number that a file gives may be an estimate, and too low."""
    return None if progress.total is None else max(progress.total, progress.done)
