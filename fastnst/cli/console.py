"""What commands print on: text as it is, whatever files are called."""

from typing import Any

import rich.console

from fastnst.errors import on_one_line


class Console(rich.console.Console):
    """Rich's console, for texts with paths in them.

    `run[v2]` and `:smile:` are names, not markup; what would move the cursor, or is a byte that is no text, is shown as
    an escape. Each text printed is one line, whole however narrow the terminal is.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does, after `on_one_line`."""
        if all(isinstance(each, str) for each in objects):
            options = {"soft_wrap": True} | options
        super().print(*(on_one_line(each) if isinstance(each, str) else each for each in objects), **options)
