"""`fastnst styles`: which styles are installed; add and remove your own."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators

from fastnst.cli.console import Console
from fastnst.errors import InputError, OutputError

if TYPE_CHECKING:
    from fastnst.inference.style_files import StyleFile

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
        Also stylize a picture in every style and write all of them to this file (.png .jpg .webp .tif).
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
        An .onnx file, from fastnst train or fastnst export.
    name:
        Name of the style; by default the file's.
    overwrite:
        Replace files that already exist: your style of that name, or use yours instead of one that comes with fastnst.
    """
    from fastnst.inference.style_files import add_style  # noqa: PLC0415

    added = add_style(file, name, overwrite=overwrite)
    _print(f"{added.name}: added, {added.path}")


@styles.command
def remove(name: Annotated[str, Parameter(name="NAME")], /) -> None:
    """Delete one of your own styles.

    Parameters
    ----------
    name:
        Name of the style.
    """
    from fastnst.inference.style_files import remove_style  # noqa: PLC0415

    _print(f"{name}: removed, {remove_style(name)}")


def _show(found: "list[StyleFile]") -> None:
    from fastnst.io.styles import user_styles_folder  # noqa: PLC0415

    console = Console()
    if not found:
        console.print("No styles are installed; fastnst train makes one of a picture.")
    for style in found:
        words = (f"{style.size / 1e6:.1f} MB", style.network, style.license, style.origin)
        console.print(f"{style.name}: {', '.join(filter(None, words))}", style="bold")
        mixes = f"mixes {', '.join(style.styles)}" if style.styles else ""
        strength = "takes a strength from 0 to 1.5" if style.strength else ""
        for line in filter(None, ("; ".join(filter(None, (mixes, strength))), style.provenance, str(style.path))):
            console.print(f"  {line}")
        if style.error:
            console.print(f"  cannot be used: {style.error}", style="red")
    console.print(f"Your own are kept in {user_styles_folder()}", style="dim")


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
    pictures = [("photo", frame)]
    for style in found:
        with Stylizer(style.path) as stylizer:
            if style.styles:
                pictures += [
                    (f"{style.name}@{name}", stylizer(frame, style_weights={name: 1})) for name in style.styles
                ]
            else:
                pictures.append((style.name, stylizer(frame)))
    write_picture(sheet, Picture(frame=draw_contact_sheet(pictures)))
    painted = len(pictures) - 1
    _print(f"{sheet}: {photo.name} in {painted} style{'' if painted == 1 else 's'}")


def _print(line: str) -> None:
    Console(stderr=True).print(line)
