"""Reports: blocks of text, tables, plots and pictures, written as one HTML file, Markdown, PNGs and JSON.

    report = Report("Evaluation of starry", "Three networks over 24 photos.")
    report.add(Heading("Figures"), table, plot)
    report.data = {...}
    report.write(folder)

The HTML file needs nothing beside it: pictures are embedded. Frames are uint8 (H, W, 3) RGB.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from fastnst.evaluation.intervals import Interval
from fastnst.files import write_atomically
from fastnst.images import Frame

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

    better: Literal["lower", "higher"] | None = None
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
class Grid:
    """Pictures in rows and columns, each with a label above or beside it: a contact sheet."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Frame | None]]]
    """Label and one frame, or None, for each column."""

    caption: str = ""
    notes: Sequence[Sequence[str]] = ()
    """A short text below each picture, in the rows' order; may be left out."""

    fit: bool = False
    """Pictures are reduced to the page's width. Otherwise they keep their size, and the page scrolls sideways."""


Block: TypeAlias = Heading | Text | Facts | Verdicts | Table | Plot | Grid


@dataclass
class Report:
    """A report, built block by block."""

    title: str
    summary: str = ""
    blocks: list[Block] = field(default_factory=list)
    data: Mapping[str, Any] = field(default_factory=dict)
    """What is written as JSON: numbers, texts, lists, mappings, intervals and paths."""

    def add(self, *blocks: Block) -> None:
        """Append blocks."""
        self.blocks += blocks

    def write(self, folder: Path, name: str = "report") -> list[Path]:
        """Write NAME.html, NAME.md, NAME.json and each plot's PNGs into a folder, and return them in this order.

        Raises OutputError where a file cannot be written.
        """
        # Here and not above: both need this module's classes.
        from fastnst.evaluation.html import render_html  # noqa: PLC0415
        from fastnst.evaluation.markdown import render_markdown  # noqa: PLC0415

        files = {
            f"{name}.html": render_html(self).encode(),
            f"{name}.md": render_markdown(self).encode(),
            f"{name}.json": to_json(self.data).encode(),
        }
        for block in self.blocks:
            if isinstance(block, Plot):
                files |= {f"{block.name}.png": block.light, f"{block.name}-dark.png": block.dark}
        for file, content in files.items():
            write_atomically(folder / file, content)
        return [folder / file for file in files]


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
    best = (min if column.better == "lower" else max)(values.values())
    winners = {number for number, value in values.items() if value == best}
    return winners if len(winners) < len(values) else set()


def png_bytes(frame: Frame) -> bytes:
    """A frame as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_json(data: Any) -> str:
    """JSON text; an interval becomes {"mean", "margin", "count"}, infinite and undefined numbers null."""
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return {"mean": _plain(value.mean), "margin": _plain(value.margin), "count": value.count}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
