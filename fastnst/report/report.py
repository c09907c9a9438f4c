"""Reports: blocks of text, tables, plots and pictures, written as one HTML file, Markdown, PNGs and JSON.

    report = Report("Evaluation of starry", "Three networks over 24 photos.")
    report.add(Heading("Figures"), table, plot)
    report.data = {...}
    report.write(folder)

The HTML file needs nothing beside it: pictures are embedded. Frames are uint8 (H, W, 3) RGB.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastnst.io.files import write_atomically
from fastnst.report.blocks import Block, Plot
from fastnst.report.intervals import Interval
from fastnst.report.render import render_html, render_markdown


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
