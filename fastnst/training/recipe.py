"""Recipes: TOML files with those settings of a training that differ from the defaults."""

import tomllib
from pathlib import Path
from typing import Any

from fastnst.errors import SettingError


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe's settings by name; raises SettingError where it is no TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read as a recipe ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: not a TOML file ({error})") from error
