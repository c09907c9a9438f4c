"""Blocks as a page: one HTML file that needs nothing beside it, or Markdown for README files and notes."""

import base64
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fastnst.report.blocks import (
    Block,
    Facts,
    Heading,
    PictureGrid,
    Plot,
    Table,
    Text,
    Verdicts,
    best_rows,
    format_cell,
    png_bytes,
)


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
