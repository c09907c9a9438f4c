"""Blocks that reports are made of: headings, texts, tables, plots, grids of pictures; means with their intervals; and
all values as text.

Frames are uint8 (H, W, 3) RGB.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Literal, TypeAlias

from PIL import Image

from fastnst.io.images import Frame

# 97.5 % quantiles of Student's t with 1, 2, ... 30 degrees of freedom.
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval around it: mean - margin to mean + margin."""

    mean: float
    margin: float
    """Half the interval's width; infinite for a single value, which tells nothing of the spread."""

    count: int
    """Values that the mean was taken over."""

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.margin

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.margin


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of at least one value, with mean +- t * s / sqrt(n): the photos are taken as a sample of all photos."""
    count = len(values)
    if count == 1:
        return Interval(float(values[0]), math.inf, 1)
    return Interval(fmean(values), t_quantile(count - 1) * stdev(values) / math.sqrt(count), count)


def paired_interval(given: Sequence[float], reference: Sequence[float]) -> Interval:
    """Mean of the differences given - reference, photo by photo: sharper than two intervals side by side."""
    return mean_interval([a - b for a, b in zip(given, reference, strict=True)])


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, count of total, by Wilson (1927): both ends, 0 to 1; of nothing, 0 and 1."""
    if total == 0:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf(0.975), count / total
    middle = share + z**2 / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (middle - margin) / scale), min(1.0, (middle + margin) / scale)


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t; above 30 degrees by Abramowitz and Stegun (1964), 26.7.5, to four digits."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


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
    """A plot, drawn for light and for dark pages; `drawing.draw_plot` makes one."""

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
