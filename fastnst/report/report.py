"""Reports: blocks of text, tables, plots and pictures, written as one HTML file, Markdown, PNGs and JSON.

    report = Report("Evaluation of starry", "Three networks over 24 photos.")
    report.add(Heading("Figures"), table, plot)
    report.data = {...}
    report.write(folder)

The HTML file needs nothing beside it: pictures are embedded. Plots are drawn once for light pages and print, once for
dark pages. Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image, ImageDraw, ImageFont

from fastnst.io.files import write_atomically
from fastnst.io.images import Frame, resize_long_side
from fastnst.report.blocks import (
    Block,
    Facts,
    Heading,
    Interval,
    PictureGrid,
    Plot,
    Table,
    Text,
    Verdicts,
    best_rows,
    format_cell,
    png_bytes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        files = {
            f"{name}.html": render_html(self.title, self.summary, self.blocks).encode(errors="backslashreplace"),
            f"{name}.md": render_markdown(self.title, self.summary, self.blocks).encode(errors="backslashreplace"),
            f"{name}.json": to_json(self.data).encode(errors="backslashreplace"),
        }
        for block in self.blocks:
            if isinstance(block, Plot):
                files |= {f"{block.name}.png": block.light, f"{block.name}-dark.png": block.dark}
        for file, content in files.items():
            write_atomically(folder / file, content)
        return [folder / file for file in files]


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


def render_html(title: str, summary: str, blocks: Sequence[Block]) -> str:
    """The whole page; it loads nothing from elsewhere."""
    kinds = [(type(block).__name__, block) for block in blocks]
    return _page().render(title=title, summary=summary, blocks=kinds).lstrip()


def render_markdown(title: str, summary: str, blocks: Sequence[Block]) -> str:
    """The whole document. Grids of pictures are left to the HTML file and the sheet; plots are files beside it."""
    parts = [f"# {_escape(title)}"]
    if summary:
        parts.append(_escape(summary))
    parts += [_block(block) for block in blocks if not isinstance(block, PictureGrid)]
    return "\n\n".join(parts) + "\n"


@cache
def _page() -> Template:
    environment = Environment(
        loader=PackageLoader("fastnst.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "best_rows": best_rows,
        "format_cell": format_cell,
        "png_bytes": png_bytes,
        "data_url": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
    }
    return environment.get_template("page.html.jinja")


def _block(block: Block) -> str:  # noqa: PLR0911 - one for each kind of block
    match block:
        case Heading():
            return f"## {_escape(block.text)}"
        case Text():
            return _escape(block.text)
        case Facts():
            return "\n".join(f"- {_escape(name)}: {_escape(fact)}" for name, fact in block.facts.items())
        case Verdicts():
            marks = {True: "yes", False: "no", None: "open"}
            return "\n".join(
                f"- **{marks[verdict.holds]}**: {_escape(verdict.claim)}"
                + (f" ({_escape(verdict.reason)})" if verdict.reason else "")
                for verdict in block.verdicts
            )
        case Table():
            return render_table(block)
        case Plot():
            return (
                f'<picture><source media="(prefers-color-scheme: dark)" srcset="{block.name}-dark.png">'
                f'<img src="{block.name}.png" alt="{block.caption or block.name}"></picture>'
            )
        case PictureGrid():
            return ""


def render_table(table: Table) -> str:
    """A table in GitHub's Markdown, the best value of each column in bold, the caption below."""
    best = best_rows(table)
    lines = [
        "| " + " | ".join([_escape(table.corner), *(_escape(column.title) for column in table.columns)]) + " |",
        "|" + "---|" + "---:|" * len(table.columns),
    ]
    for number, row in enumerate(table.rows):
        cells = [_escape(format_cell(cell, column)) for cell, column in zip(row.cells, table.columns, strict=True)]
        cells = [f"**{cell}**" if number in winners else cell for cell, winners in zip(cells, best, strict=True)]
        label = f"*{_escape(row.label)}*" if row.baseline else _escape(row.label)
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return "\n".join(lines) + (f"\n\n{_escape(table.caption)}" if table.caption else "")


def _escape(text: str) -> str:
    for letter in "\\|*<":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("\n", " ")


@dataclass(frozen=True)
class Theme:
    """Colors of a page."""

    ink: str
    muted: str
    paper: str
    series: tuple[str, ...]
    """For lines and points that must be told apart, also by people who see few colors (Okabe and Ito 2008)."""


LIGHT = Theme("#1f2328", "#6b7280", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9"))
DARK = Theme("#e6e6e6", "#9aa4af", "#16191d", ("#56b4e9", "#ff8c42", "#2fcf9f", "#f0a3cf", "#f0e442", "#9db7ff"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""Told apart in print without colors."""


def draw_plot(
    name: str,
    draw: Callable[["list[Axes]", Theme], None],
    *,
    caption: str = "",
    panels: int = 1,
    size: tuple[float, float] = (7.2, 4.2),
) -> Plot:
    """Draw a plot for light and dark pages; `draw` gets the panels' axes, left to right, and the theme.

    It draws data, labels and legend. The size is width and height in inches of 100 pixels; PNGs have twice as many, for
    dense screens and print.
    """
    return Plot(name, _render(draw, LIGHT, panels, size), _render(draw, DARK, panels, size), caption)


def _render(draw: Callable[["list[Axes]", Theme], None], theme: Theme, panels: int, size: tuple[float, float]) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - takes a moment, and only reports need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.BytesIO()
    with mpl.rc_context(_style(theme)):
        # Not pyplot: that keeps figures alive and may look for a screen.
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(list(figure.subplots(1, panels, squeeze=False)[0]), theme)
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _style(theme: Theme) -> Any:
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor")
    muted = ("axes.edgecolor", "xtick.color", "ytick.color")
    paper = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    return {
        **dict.fromkeys(ink, theme.ink),
        **dict.fromkeys(muted, theme.muted),
        **dict.fromkeys(paper, theme.paper),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "grid.color": theme.muted,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.labelcolor": theme.ink,
        "font.size": 10,
        "font.family": "DejaVu Sans",
        "lines.linewidth": 1.8,
    }


def scale_log(axes: "Axes") -> None:
    """Logarithmic axes, with plain numbers also between the powers of ten of the upright one."""
    axes.set(xscale="log", yscale="log")
    for axis in (axes.yaxis.set_minor_formatter, axes.yaxis.set_major_formatter, axes.xaxis.set_major_formatter):
        axis("{x:g}")
    axes.tick_params(axis="y", which="minor", labelsize=7)


_GAP, _MARGIN, _TEXT, _NOTE = 8, 24, 15, 12
_PAPER, _INK, _MUTED = "#ffffff", "#1f2328", "#5b6470"


def draw_sheet(grid: PictureGrid) -> Frame:
    """Draw a grid on white: titles above the columns, labels above the rows, notes below the pictures."""
    widths = [max((row[1][index].shape[1] for row in grid.rows if row[1][index] is not None), default=0)  # type: ignore[union-attr]
              for index in range(len(grid.columns))]  # fmt: skip
    font, small, line = ImageFont.load_default(_TEXT), ImageFont.load_default(_NOTE), _TEXT + 6
    heights = [max((frame.shape[0] for frame in frames if frame is not None), default=0) for _, frames in grid.rows]
    labels = [line if label else 0 for label, _ in grid.rows]
    notes = grid.notes or [[""] * len(frames) for _, frames in grid.rows]
    below = [line if any(row) else 0 for row in notes]
    width = 2 * _MARGIN + sum(widths) + _GAP * (len(widths) - 1)
    height = 2 * _MARGIN + line + sum(heights) + sum(labels) + sum(below) + _GAP * len(heights)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + sum(widths[:index]) + _GAP * index for index in range(len(widths))]
    for left, title, room in zip(lefts, grid.columns, widths, strict=True):
        pen.text((left, _MARGIN), _shorten(title, room, font), _INK, font)
    top = _MARGIN + line
    for (label, frames), texts, tall, above, under in zip(grid.rows, notes, heights, labels, below, strict=True):
        if label:
            pen.text((_MARGIN, top), label, _MUTED, font)
        for left, frame, room, text in zip(lefts, frames, widths, texts, strict=True):
            if frame is not None:
                sheet.paste(Image.fromarray(frame), (left, top + above))
            pen.text((left, top + above + tall + 2), _shorten(text, room, small), _MUTED, small)
        top += above + tall + under + _GAP
    return np.array(sheet)


def thumbnail(frame: Frame, long_side: int = 256) -> Frame:
    """Reduce a frame to a long side; smaller ones stay as they are."""
    size = frame.shape[:2]
    return frame if max(size) <= long_side else resize_long_side(frame, long_side)


def crop_detail(frames: Sequence[Frame], size: tuple[int, int]) -> list[Frame]:
    """Crop frames of one size at the same place to size = (height, width): where the first has most detail."""
    height, width = (min(wanted, has) for wanted, has in zip(size, frames[0].shape[:2], strict=True))
    top, left = _busiest(frames[0], height, width)
    return [frame[top : top + height, left : left + width] for frame in frames]


def _busiest(frame: Frame, height: int, width: int) -> tuple[int, int]:
    """Top and left of the window with the highest total variation, on a lattice of an eighth of the window."""
    grey = frame.mean(2)
    detail = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    # Sums over windows from the summed-area table (Crow 1984).
    table = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    step = max(1, min(height, width) // 8)
    row, column = np.unravel_index(np.argmax(sums[::step, ::step]), sums[::step, ::step].shape)
    return int(row) * step, int(column) * step


def _shorten(text: str, room: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= room:
        return text
    while len(text) > 1 and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
