"""Figures that an interrupted evaluation leaves behind, so that another one takes them over instead of measuring again.

One line of JSON for each network and photo, written as soon as it is measured; a line that was cut short is left out.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastnst.errors import OutputError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame

FILE = "figures.jsonl"
"""Name in the folder of the report."""


class MeasurementCache:
    """Figures by row and photo, both known by their content: a file that was changed is measured anew."""

    def __init__(self, file: Path, *, resume: bool, given: Mapping[str, str], style: Frame) -> None:
        """Open the file.

        Args:
            file: is written line by line.
            resume: take over what it holds; otherwise it is begun anew.
            given: what else the figures depend on: weights, sizes.
            style: style image, uint8 (H, W, 3).

        Raises OutputError.
        """
        self._file = file
        self._given = digest(json.dumps(dict(given), sort_keys=True), str(style.shape), style.tobytes())
        self._values = _read(file) if resume else {}
        write_atomically(file, "".join(_line(*pair) for pair in self._values.items()).encode())

    def find(self, row: str, photo: str, measures: Sequence[str]) -> dict[str, float] | None:
        """Figures of a row for a photo, each as `digest` gives it; None unless all measures are there."""
        values = self._values.get(digest(self._given, row, photo), {})
        return {measure: values[measure] for measure in measures} if set(measures) <= values.keys() else None

    def add(self, row: str, photo: str, values: Mapping[str, float]) -> None:
        """Write down the figures of a row for a photo. Raises OutputError."""
        key = digest(self._given, row, photo)
        self._values[key] = dict(values)
        try:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(_line(key, values))
        except OSError as error:
            raise OutputError(f"{self._file}: cannot be written ({error.strerror or error})") from error


def digest(*parts: str | bytes) -> str:
    """One short text that stands for texts and files' contents."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(f"{len(content)} ".encode() + content)
    return found.hexdigest()[:32]


def _line(key: str, values: Mapping[str, float]) -> str:
    return json.dumps({"key": key, "values": dict(values)}) + "\n"


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"{file}: cannot be read ({error.strerror or error}); leave out --resume") from error
    return dict(pair for line in lines if (pair := _pair(line)) is not None)


def _pair(line: str) -> tuple[str, dict[str, float]] | None:
    try:
        found: Any = json.loads(line)
        return str(found["key"]), {str(key): float(value) for key, value in found["values"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
