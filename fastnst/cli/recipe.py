"""Settings from a recipe's file or from the checkpoint that a command goes on with, for cyclopts."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from fastnst.errors import SettingError, nearest_hint
from fastnst.io.files import read_regular

LARGEST_RECIPE = 1 << 20
"""Bytes; ours have two thousand."""


_ASKED_OUTRIGHT = {"output", "o", "-o", "recipe", "resume"}
"""Options that are no settings: where files are written is said on the command line, never by a file of another's."""


def fill_settings(
    app: App, command: str, arguments: ArgumentCollection, saved: Callable[[Path], Mapping[str, Any]]
) -> None:
    """Fill the settings that the command line leaves out from --resume's checkpoint or --recipe's file.

    Args:
        app: the command line.
        command: the command's name.
        arguments: its arguments, as parsed so far.
        saved: gives the settings of the folder that is to be resumed.

    Raises SettingError for a setting that the command does not have.
    """
    given = {name: argument.tokens[0].value for argument in arguments for name in argument.names if argument.tokens}
    if "--resume" in given:
        source, values = given["--resume"], saved(Path(given["--resume"]))
    elif "--recipe" in given:
        source, values = given["--recipe"], read_recipe(Path(given["--recipe"]))
    else:
        return
    values = {name.replace("_", "-"): value for name, value in values.items()}
    known = {name.removeprefix("--") for argument in arguments for name in argument.names} - _ASKED_OUTRIGHT
    for name in values:
        if name not in known:
            raise SettingError(f"{source}: no setting is called {name!r}; {nearest_hint(name, known)}")
    Dict(values, source=source, use_commands_as_keys=False)(app, (command,), arguments)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe, a TOML file with the settings that differ from the defaults, by name.

    Raises SettingError where it is none.
    """
    try:
        return tomllib.loads(read_regular(path, LARGEST_RECIPE).decode("utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read as a recipe ({error.strerror})") from error
    except RecursionError as error:
        raise SettingError(f"{path}: not a TOML file (lists in lists without end)") from error
    except ValueError as error:  # TOML's own, of an encoding, or of a number with 4,300 digits
        raise SettingError(f"{path}: not a TOML file ({error})") from error
