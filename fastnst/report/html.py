"""A report as one HTML file: pictures embedded, light or dark as the reader's system is."""

import base64
from collections.abc import Sequence
from html import escape

from fastnst.report.blocks import (
    Block,
    Facts,
    Grid,
    Heading,
    Plot,
    Table,
    Text,
    Verdict,
    Verdicts,
    best_rows,
    format_cell,
    png_bytes,
)

_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #5b6470; --paper: #ffffff; --card: #f6f7f9;
  --line: #d9dde3; --accent: #0969da; --good: #1a7f37; --bad: #b42318; --best: #e7f5ec; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --muted: #9aa4af; --paper: #16191d; --card: #1e2227;
  --line: #343a42; --accent: #6cb6ff; --good: #4ac26b; --bad: #ff8f85; --best: #16331f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1440px; margin: 0 auto; padding: 40px 28px 72px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .8rem; padding-bottom: .35rem; border-bottom: 1px solid var(--line); }
p { max-width: 76ch; margin: .6rem 0; }
.summary { color: var(--muted); font-size: 1.08rem; margin-bottom: 1.6rem; }
.scroll, dl.facts, ul.verdicts, h2 { max-width: 1180px; }
.scroll { overflow-x: auto; margin: 1rem 0 .4rem; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
thead th { background: var(--card); color: var(--muted); font-weight: 600; }
thead th:first-child { background: var(--card); }
tbody tr:last-child td { border-bottom: 0; }
td.best { background: var(--best); font-weight: 650; }
tr.baseline td { color: var(--muted); font-style: italic; }
td small { color: var(--muted); font-size: .8em; margin-left: .15em; font-weight: 400; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.4rem; margin: 1rem 0;
  padding: 1rem 1.2rem; background: var(--card); border-radius: 8px; font-size: .92rem; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.caption { color: var(--muted); font-size: .88rem; }
details { color: var(--muted); font-size: .88rem; margin: .4rem 0 1rem; }
summary { cursor: pointer; color: var(--accent); }
details dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }
details dt { color: var(--ink); font-weight: 600; } details dd { margin: 0; max-width: 80ch; }
ul.verdicts { list-style: none; padding: 0; margin: 1rem 0; }
ul.verdicts li { display: flex; gap: .8rem; padding: .5rem 0; border-bottom: 1px solid var(--line); }
ul.verdicts .mark { flex: none; width: 3.6em; font-weight: 650; font-size: .85rem; padding-top: .1rem; }
.holds .mark { color: var(--good); } .fails .mark { color: var(--bad); } .open .mark { color: var(--muted); }
.reason { color: var(--muted); font-size: .9rem; display: block; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; }
.plot img { width: 100%; max-width: 1000px; display: block; border-radius: 6px; }
.scroll.grid { border: 0; max-width: none; } .grid table { width: auto; } .grid th, .grid td { border: 0;
  padding: .2rem .5rem .2rem 0; text-align: left; vertical-align: top; white-space: normal; background: none; }
.grid thead th { color: var(--ink); font-size: .85rem; background: none; overflow-wrap: anywhere; }
.grid.fit table { width: 100%; min-width: 640px; table-layout: fixed; } .grid.fit img { max-width: 100%; height: auto; }
.grid tbody th { color: var(--muted); font-weight: 500; font-size: .85rem; padding-top: .7rem; }
.grid img { display: block; max-width: none; border-radius: 4px; } .grid .note { color: var(--muted);
  font-size: .78rem; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { main { padding: 24px 16px; } dl.facts { grid-template-columns: 1fr; gap: .1rem; }
  dl.facts dd { margin-bottom: .5rem; } }
@media print { main { max-width: none; padding: 0; } .scroll { overflow: visible; } h2 { break-after: avoid; }
  h2, figure, li { break-inside: avoid; } }
"""


def render_html(title: str, summary: str, blocks: Sequence[Block]) -> str:
    """The whole page; it loads nothing from elsewhere."""
    body = "\n".join(_block(block) for block in blocks)
    lead = f'<p class="summary">{escape(summary)}</p>' if summary else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{lead}\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:  # noqa: PLR0911 - one for each kind of block
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Facts():
            items = (f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in block.facts.items())
            return f'<dl class="facts">{"".join(items)}</dl>'
        case Verdicts():
            return f'<ul class="verdicts">{"".join(_verdict(verdict) for verdict in block.verdicts)}</ul>'
        case Table():
            return _table(block)
        case Plot():
            return _plot(block)
        case Grid():
            return _grid(block)


def _verdict(verdict: Verdict) -> str:
    kind, mark = {True: ("holds", "✓ yes"), False: ("fails", "✗ no"), None: ("open", "? open")}[verdict.holds]
    reason = f'<span class="reason">{escape(verdict.reason)}</span>' if verdict.reason else ""
    return f'<li class="{kind}"><span class="mark">{mark}</span><span>{escape(verdict.claim)}{reason}</span></li>'


def _table(table: Table) -> str:
    best = best_rows(table)
    titles = "".join(f'<th title="{escape(column.meaning)}">{escape(column.title)}</th>' for column in table.columns)
    lines = []
    for number, row in enumerate(table.rows):
        cells = ""
        for column, cell, winners in zip(table.columns, row.cells, best, strict=True):
            text = escape(format_cell(cell, column))
            mean, sign, margin = text.partition(" ± ")
            shown = f"{mean} <small>± {margin}</small>" if sign else text
            cells += f'<td class="best">{shown}</td>' if number in winners else f"<td>{shown}</td>"
        kind = ' class="baseline"' if row.baseline else ""
        lines.append(f"<tr{kind}><td>{escape(row.label)}</td>{cells}</tr>")
    page = (
        f'<div class="scroll"><table><thead><tr><th>{escape(table.corner)}</th>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    return page + _caption(table.caption) + _meanings(table)


def _meanings(table: Table) -> str:
    described = [column for column in table.columns if column.meaning]
    if not described:
        return ""
    items = "".join(f"<dt>{escape(column.title)}</dt><dd>{escape(column.meaning)}</dd>" for column in described)
    return f"<details><summary>What the columns mean</summary><dl>{items}</dl></details>"


def _plot(plot: Plot) -> str:
    return (
        f'<figure class="plot"><picture><source media="(prefers-color-scheme: dark)" srcset="{_data_url(plot.dark)}">'
        f'<img src="{_data_url(plot.light)}" alt="{escape(plot.caption or plot.name)}"></picture>'
        f"{_caption(plot.caption)}</figure>"
    )


def _grid(grid: Grid) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in grid.columns)
    lines = []
    for number, (label, frames) in enumerate(grid.rows):
        notes = grid.notes[number] if grid.notes else [""] * len(frames)
        cells = ""
        for title, frame, note in zip(grid.columns, frames, notes, strict=True):
            alt = escape(f"{label}: {title}" if label else title)
            picture = "" if frame is None else f'<img src="{_data_url(png_bytes(frame))}" alt="{alt}">'
            cells += f"<td>{picture}{f'<span class=note>{escape(note)}</span>' if note else ''}</td>"
        if label:
            lines.append(f'<tr><th colspan="{len(frames)}">{escape(label)}</th></tr>')
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<figure><div class="scroll grid{" fit" if grid.fit else ""}"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_caption(grid.caption)}</figure>"
    )


def _caption(text: str) -> str:
    return f'<p class="caption">{escape(text)}</p>' if text else ""


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
