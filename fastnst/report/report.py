"""Reports: blocks of text, tables, plots and pictures, written as one HTML file, Markdown, PNGs and JSON.

    report = Report("Evaluation of starry", "Three networks over 24 photos.")
    report.add(Heading("Figures"), table, plot)
    report.data = {...}
    report.write(folder)

The HTML file needs nothing beside it: pictures are embedded. Frames are uint8 (H, W, 3) RGB.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fastnst.io.files import write_atomically
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
