"""Files that fastnst wrote itself, read with distrust: cut short, of another version, or made by somebody else."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fastnst.errors import CheckpointError, FastNSTError
from fastnst.io.files import read_regular

_LARGEST_JSON = 64 << 20
"""Bytes; a study's losses of a hundred thousand steps take a third of it."""

# What Python, torch and safetensors raise for content that is not what it should be.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


@contextmanager
def reading(path: Path, remedy: str, error: type[FastNSTError] = CheckpointError) -> Iterator[None]:
    """Take whatever goes wrong in the block for damage of a file: one error, with what to do about it.

    Errors of fastnst pass.
    """
    try:
        yield
    except _DAMAGE as wrong:
        reason = str(wrong).strip().splitlines()
        words = f"no {reason[0]}" if isinstance(wrong, KeyError) else reason[0] if reason else type(wrong).__name__
        raise error(f"{path}: damaged, or of another version of fastnst ({words}); {remedy}") from wrong


def parse_table(text: str | bytes) -> dict[str, Any]:
    """Parse JSON that must be an object; raises ValueError, TypeError or RecursionError."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"{type(found).__name__} instead of names and values")
    return found


def read_table(path: Path, remedy: str, error: type[FastNSTError] = CheckpointError) -> dict[str, Any]:
    """Read a file of JSON that must be an object; raises `error`."""
    with reading(path, remedy, error):
        return parse_table(read_regular(path, _LARGEST_JSON))


def check_kinds(values: Mapping[str, Any], samples: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError where a value is of another kind than the sample of its name, or has none.

    Numbers are finite and not below 0; a sample that is a list or a table says nothing of what is inside.
    """
    for name, value in values.items():
        if name not in samples:
            raise ValueError(f"{name} is unknown")
        sample = samples[name]
        kinds = (int, float) if type(sample) is float else (type(sample),)
        if type(value) not in kinds:
            raise TypeError(f"{name} is {value!r:.40}")
        if isinstance(value, int | float) and not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}")
