"""Fitting the paintings that options name in place of networks, with a bar."""

from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastnst.cli.console import Console
from fastnst.errors import on_one_line
from fastnst.inference.effects import Effects
from fastnst.inference.paintings import with_networks


def fitted(style: str | None, effects: Effects, seconds: float, console: Console) -> tuple[str | None, Effects]:
    """Put networks in the place of the paintings among style and regions; those that are new are fitted, with a bar.

    Raises as `with_networks`.
    """
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
