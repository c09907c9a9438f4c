"""What is installed: `fastnst doctor` says what works, and what mends the rest; `fastnst styles` lists and changes."""

import os
import re
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators

from fastnst.cli.console import Console, fitted
from fastnst.errors import InputError, OutputError, StyleError
from fastnst.inference.effects import PLAIN
from fastnst.inference.paintings import FIT_S
from fastnst.io.styles import is_painting
from fastnst.machine import TRAINING_PACKAGES

if TYPE_CHECKING:
    from fastnst.diagnosis.examine import Diagnosis
    from fastnst.inference.style_files import StyleFile

_MARKS = {"ok": ("ok", "green"), "absent": ("--", "dim"), "wrong": ("!!", "yellow"), "broken": ("XX", "red")}


def doctor(*, as_json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Look at what is installed and what really works here, and say how to fix the rest.

    Exit status 1 only if something is broken without which no picture can be stylized.

    Parameters
    ----------
    as_json:
        Print JSON, for programs and for reports of errors.
    """
    from fastnst.diagnosis.examine import examine  # noqa: PLC0415

    waiting = Console(stderr=True)
    with waiting.status("looking ..."):
        report = examine()
    if as_json:
        print(report.as_json(), end="")
    else:
        _show_report(report)
    if not report.works:
        sys.exit(1)


def _show_report(report: "Diagnosis") -> None:
    console = Console()
    for area, findings in groupby(report.findings, key=lambda finding: finding.area):
        console.print(area, style="bold")
        for finding in findings:
            mark, color = _MARKS[finding.status]
            line = f"{finding.name}: {finding.detail}" if finding.detail else finding.name
            console.print(f"  {mark}  ", style=color, end="")
            console.print(line)
            if finding.mend:
                console.print(f"        {finding.mend}", style="cyan")
    console.print(_summary(report), style="bold")


def _summary(report: "Diagnosis") -> str:
    """What works, and what training lacks; before it what is wrong."""
    lacking = [finding for finding in report.findings if finding.name in TRAINING_PACKAGES and finding.status != "ok"]
    if not report.works:
        last = "No picture can be stylized before that is fixed."
    elif lacking:
        last = f"Stylizing works; training needs {', '.join(each.name for each in lacking)}: {lacking[0].mend}"
    else:
        last = "Stylizing and training work; training also needs photos: --content DIR, or fastnst coco fetches some."
    if not report.wrong:
        return last
    things = "1 thing is" if len(report.wrong) == 1 else f"{len(report.wrong)} things are"
    return f"{things} wrong: {', '.join(finding.name for finding in report.wrong)}. {last}"


styles = App(name="styles", help="List the installed styles; add or remove your own.")


@styles.default
def show(
    *,
    sheet: Path | None = None,
    photo: Path | None = None,
    size: Annotated[int, Parameter(validator=validators.Number(gte=64))] = 384,
) -> None:
    """List the installed styles: yours and those that come with fastnst.

    Parameters
    ----------
    sheet:
        Contact sheet: a file (.png .jpg .webp .tif) for one of a picture in every style.
    photo:
        Photo; by default one that comes with fastnst.
    size:
        Longest side, pixels: larger photos are reduced to it first.
    """
    from fastnst.inference.style_files import list_styles  # noqa: PLC0415

    found = list_styles()
    _show(found)
    if sheet is not None:
        _write_sheet([style for style in found if style.error is None], sheet, photo, size)
    if any(style.error for style in found):
        sys.exit(1)


@styles.command
def add(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    name: str | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Add an exported network to your styles.

    Parameters
    ----------
    file:
        An .onnx file, from fastnst train or fastnst export; or a painting, which is fitted first.
    name:
        Name of the style; by default the file's.
    overwrite:
        Replace files that already exist: your style of that name, or use yours instead of one that comes with fastnst.
    """
    from fastnst.inference.style_files import add_style  # noqa: PLC0415

    if is_painting(file):
        name = name or re.sub(r"[^\w-]+", "_", file.stem)
        file = Path(fitted(str(file), PLAIN, FIT_S, Console(stderr=True))[0] or file)
    added = add_style(file, name, overwrite=overwrite)
    console = Console(stderr=True)
    console.print(f"{added.name}: added")
    console.note(str(added.path))


@styles.command
def remove(name: Annotated[str, Parameter(name="NAME")], /) -> None:
    """Delete one of your own styles.

    Parameters
    ----------
    name:
        Name of the style.
    """
    from fastnst.inference.style_files import remove_style  # noqa: PLC0415

    console, path = Console(stderr=True), remove_style(name)
    console.print(f"{name}: removed")
    console.note(str(path))


def _show(found: "list[StyleFile]") -> None:
    from fastnst.io.styles import user_styles_folder  # noqa: PLC0415

    console = Console()
    if not found:
        console.print("No styles are installed; fastnst train makes one of a picture.")
    rows = [_row(style) for style in found]
    widths = [max(len(row[place]) for row in (_TITLES, *rows)) for place in range(len(_TITLES))]
    for row in rows[:1] and [_TITLES, *rows]:
        line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(line, style="bold" if row is _TITLES else None)
    for style in found:
        if style.error:
            console.print(f"{style.name}: cannot be used: {style.error}", style="red")
        if style.styles:
            console.print(f"In {style.name}, {_named(style)}: {', '.join(style.styles)}")
        for line in filter(None, (style.provenance, str(style.path))):
            console.note(f"{style.name}: {line}")
    console.note(f"Your own are kept in {user_styles_folder()}")


def _named(style: "StyleFile") -> str:
    """How one of a network's styles is named: alone, where that means this network."""
    from fastnst.io.styles import MIX_SIGN, choose_style  # noqa: PLC0415

    first = style.styles[0]
    try:
        alone = choose_style(first).path == style.path
    except StyleError:
        alone = False
    return f"each named by itself, as --style {first}" if alone else f"as --style {style.name}{MIX_SIGN}{first}"


_TITLES = ("name", "styles", "network", "size", "license", "from")


def _row(style: "StyleFile") -> tuple[str, ...]:
    """One line about a style: name, how many it is, network, size, license, whose it is."""
    styles = f"{len(style.styles)}, see below" if style.styles else "one"
    styles += ", any strength" if style.strength else ""
    size = f"{style.size / 1e6:.1f} MB"
    return (style.name, styles, style.network or "other", size, style.license or "not stated", style.origin)


def _write_sheet(found: "list[StyleFile]", sheet: Path, photo: Path | None, size: int) -> None:
    from fastnst.inference.style_files import draw_contact_sheet  # noqa: PLC0415
    from fastnst.inference.stylizer import Stylizer  # noqa: PLC0415
    from fastnst.io.images import (  # noqa: PLC0415
        Picture,
        format_of,
        read_frame,
        resize_long_side,
        write_picture,
    )
    from fastnst.io.styles import sample_picture  # noqa: PLC0415

    format_of(sheet)
    photo = photo or sample_picture()
    if photo is None:
        raise InputError("no picture came with this fastnst; name one by --photo")
    if os.path.realpath(sheet) == os.path.realpath(photo):
        raise OutputError(f"{sheet}: is the photo, and is not overwritten; choose another --sheet")
    frame = read_frame(photo)
    frame = resize_long_side(frame, size)
    known = Counter(name for style in found for name in (style.name, *style.styles))
    pictures = [("photo", frame)]
    for style in found:
        with Stylizer(style.path) as stylizer:
            if style.styles:
                pictures += [
                    (name if known[name] == 1 else f"{style.name}@{name}", stylizer(frame, style_weights={name: 1}))
                    for name in style.styles
                ]
            else:
                pictures.append((style.name, stylizer(frame)))
    write_picture(sheet, Picture(frame=draw_contact_sheet(pictures)))
    painted = len(pictures) - 1
    _print(f"{sheet}: {photo.name} in {painted} style{'' if painted == 1 else 's'}")


def _print(line: str) -> None:
    Console(stderr=True).print(line)
