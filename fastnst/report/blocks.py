"""Blocks that reports are made of: headings, texts, tables, plots, grids of pictures; and their values as text.

Frames are uint8 (H, W, 3) RGB.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

from fastnst.io.images import Frame
from fastnst.report.intervals import Interval

Cell: TypeAlias = float | int | str | Interval | None
"""A number, a text, a mean with its interval; None is shown as a dash."""


@dataclass(frozen=True)
class Heading:
    """Title of a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Short statements by name: what was measured with what."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """A claim and whether the figures bear it out; None: neither."""

    holds: bool | None
    claim: str
    reason: str = ""


@dataclass(frozen=True)
class Verdicts:
    """Claims, one a line."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    meaning: str = ""
    """One sentence; listed below the table and shown by pointing at the title."""

    digits: int = 3
    """Digits after the point of floats and intervals."""

    better: Literal["lower", "higher", "near 1"] | None = None
    """Which values are better: the best one of the rows that are no baseline is set in bold."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    cells: Sequence[Cell]
    baseline: bool = False
    """A row to compare with, not one of those that compete."""


@dataclass(frozen=True)
class Table:
    """A table: the rows' labels and a cell for each column."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    corner: str = ""
    """Title above the labels."""

    caption: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot, drawn for light and for dark pages; `plots.draw_plot` makes one."""

    name: str
    """Its files are NAME.png and NAME-dark.png."""

    light: bytes
    """PNG."""

    dark: bytes
    """PNG."""

    caption: str = ""


@dataclass(frozen=True)
class PictureGrid:
    """Pictures in rows and columns, each with a label above or beside it: a contact sheet."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Frame | None]]]
    """Label and one frame, or None, for each column."""

    caption: str = ""
    notes: Sequence[Sequence[str]] = ()
    """A short text below each picture, in the rows' order; may be left out."""

    fit: bool = False
    """Pictures are reduced to the page's width. Otherwise they keep their size, and the page scrolls sideways."""


Block: TypeAlias = Heading | Text | Facts | Verdicts | Table | Plot | PictureGrid


def format_cell(cell: Cell, column: Column) -> str:
    """A cell as text: 1,679,235; 0.089; 0.089 ± 0.012."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"  # noqa: RUF001 - the dash of tables
    if isinstance(cell, Interval):
        mean = f"{cell.mean:.{column.digits}f}"
        return f"{mean} ± {cell.margin:.{column.digits}f}" if math.isfinite(cell.margin) else mean
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.{column.digits}f}" if isinstance(cell, float) else cell


def best_rows(table: Table) -> list[set[int]]:
    """For each column, the rows with its best value as it is printed; none where all rows that compete are alike."""
    return [_best(table.rows, index, column) for index, column in enumerate(table.columns)]


def _best(rows: Sequence[Row], index: int, column: Column) -> set[int]:
    values: dict[int, float] = {}
    for number, row in enumerate(rows):
        cell = row.cells[index]
        value = cell.mean if isinstance(cell, Interval) else cell
        if isinstance(value, (int, float)) and math.isfinite(value) and not row.baseline:
            values[number] = round(value, column.digits)
    if column.better is None or not values:
        return set()
    if column.better == "near 1":
        values = {number: round(abs(value - 1), column.digits) for number, value in values.items()}
    best = (max if column.better == "higher" else min)(values.values())
    winners = {number for number, value in values.items() if value == best}
    return winners if len(winners) < len(values) else set()


def png_bytes(frame: Frame) -> bytes:
    """A frame as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
