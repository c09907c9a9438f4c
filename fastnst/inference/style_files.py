"""Installed styles: what each file says of itself, adding one to the user's folder, removing it, a sheet of all."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fastnst.errors import OutputError, StyleError, nearest_hint
from fastnst.inference.session import StyleSession
from fastnst.io.files import atomic_path
from fastnst.io.images import Frame
from fastnst.io.styles import check_name, find_style, fitted_styles_folder, installed_styles, user_styles_folder

Origin: TypeAlias = Literal["yours", "bundled", "fitted"]

# Of contact sheets, in pixels.
_GAP, _MARGIN, _TEXT = 12, 24, 18
_PAPER, _INK = "#ffffff", "#1f2328"


@dataclass(frozen=True)
class StyleFile:
    """An installed style."""

    name: str
    path: Path
    size: int
    """Bytes."""

    origin: Origin
    """From the user's own folder, from the package, or fitted to a painting."""

    styles: tuple[str, ...] = ()
    """Names of the styles that the network mixes; none where it knows one."""

    strength: bool = False
    """The network itself stylizes more or less strongly."""

    network: str = ""
    provenance: str = ""
    license: str = ""
    error: str | None = None
    """Why it cannot be used; None for a style that stylizes."""


def list_styles() -> list[StyleFile]:
    """Return all installed styles by name, each loaded and tried on a tiny picture."""
    return [read_style(name, path) for name, path in installed_styles().items()]


def read_style(name: str, path: Path) -> StyleFile:
    """Read what a style's file says of itself, and try it."""
    origins: dict[Path, Origin] = {user_styles_folder(): "yours", fitted_styles_folder(): "fitted"}
    origin = origins.get(path.parent, "bundled")
    size = path.stat().st_size
    try:
        with StyleSession(path, provider="cpu") as session:
            metadata = session.metadata
            styles = session.style_names if session.styles > 1 else ()
            strength = session.takes_strength
    except StyleError as error:
        return StyleFile(name, path, size, origin, error=str(error))
    network, provenance, licensed = (metadata.get(key, "") for key in ("network", "provenance", "licence"))
    return StyleFile(name, path, size, origin, styles, strength, network, provenance, licensed)


def add_style(file: Path, name: str | None = None, *, overwrite: bool = False) -> StyleFile:
    """Copy an .onnx file into the user's folder, after a check that it is one of ours and paints.

    The style is called like the file, or `name`. With `overwrite` it replaces the user's style of that name, or takes
    the place of a bundled one. Raises StyleError for no such file or none of ours, SettingError for a name that is no
    name, OutputError where the name is taken or the folder cannot be written.
    """
    path = find_style(file) if Path(file).suffix.lower() == ".onnx" else _refuse(file)
    name = path.stem if name is None else name
    check_name(name)
    there = installed_styles().get(name)
    target = user_styles_folder() / f"{name}.onnx"
    if there is not None and not overwrite:
        whose = "one of your styles" if there == target else "a style that comes with fastnst"
        raise OutputError(f"{name}: is {whose} already; --name gives another name, --overwrite takes its place")
    with StyleSession(path, provider="cpu") as session:
        path = session.opened  # another project's network is kept in its wrapped form
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
        _check_copy(path, temporary)
    return read_style(name, target)


def remove_style(name: str) -> Path:
    """Delete a style from the user's folder, or one that was fitted to a painting; return the file that was deleted.

    Raises StyleError: no such style, or one that comes with fastnst; OutputError: the file cannot be deleted.
    """
    styles = installed_styles()
    folders = (user_styles_folder(), fitted_styles_folder())
    own = {name: path for name, path in styles.items() if path.parent in folders}
    if name not in own:
        if name in styles:
            raise StyleError(f"{name}: comes with fastnst; only your own styles can be removed")
        raise StyleError(f"no style {name!r} of your own; {nearest_hint(name, own)}")
    try:
        own[name].unlink()
        if own[name].parent == fitted_styles_folder():
            for suffix in (".safetensors", ".painting.safetensors"):
                own[name].with_suffix(suffix).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{own[name]}: cannot be deleted ({error.strerror or error})") from error
    return own[name]


def draw_contact_sheet(pictures: Sequence[tuple[str, Frame]], columns: int = 4) -> Frame:
    """Draw pictures, uint8 (H, W, 3) RGB, on white, in rows of `columns` at most, each under its name.

    Columns are as wide as the widest picture, a row as high as its highest.
    """
    columns = min(columns, len(pictures))
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(frame.shape[0] for _, frame in row) + _TEXT + 6 + _GAP for row in rows]
    width = max(frame.shape[1] for _, frame in pictures)
    size = (2 * _MARGIN + columns * (width + _GAP) - _GAP, 2 * _MARGIN + sum(heights) - _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, (name, frame) in enumerate(row):
            left = _MARGIN + column * (width + _GAP) + (width - frame.shape[1]) // 2
            pen.text((left, top), _shorten(name, frame.shape[1], font), _INK, font)
            sheet.paste(Image.fromarray(frame), (left, top + _TEXT + 6))
        top += height
    return np.array(sheet)


def _refuse(file: Path) -> Path:
    raise StyleError(f"{file}: expected an .onnx file; fastnst export turns a trained model into one")


def _check_copy(path: Path, copy: Path) -> None:
    """Weights may lie in a second file, which the copy has not beside it."""
    try:
        StyleSession(copy, provider="cpu").close()
    except StyleError as error:
        raise StyleError(f"{path}: does not work alone; expected one file with its weights inside") from error


def _shorten(text: str, room: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while len(text) > 1 and font.getlength(text) > room:
        text = text[:-2] + "…"
    return text
