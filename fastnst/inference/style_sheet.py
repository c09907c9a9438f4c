"""A contact sheet: one picture in many styles, each with its name."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fastnst.io.images import Frame

_GAP, _MARGIN, _TEXT = 12, 24, 18
_PAPER, _INK = "#ffffff", "#1f2328"


def draw_contact_sheet(pictures: Sequence[tuple[str, Frame]], columns: int = 4) -> Frame:
    """Draw pictures on white, in rows, each under its name.

    Args:
        pictures: names and frames, uint8 (H, W, 3) RGB, all of one size.
        columns: pictures in a row, at most.
    """
    height, width = pictures[0][1].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step_down, step_across = height + _TEXT + 6 + _GAP, width + _GAP
    size = (2 * _MARGIN + columns * step_across - _GAP, 2 * _MARGIN + rows * step_down - _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    for number, (name, frame) in enumerate(pictures):
        left = _MARGIN + number % columns * step_across
        top = _MARGIN + number // columns * step_down
        pen.text((left, top), _shorten(name, width, font), _INK, font)
        sheet.paste(Image.fromarray(frame), (left, top + _TEXT + 6))
    return np.array(sheet)


def _shorten(text: str, room: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while len(text) > 1 and font.getlength(text) > room:
        text = text[:-2] + "…"
    return text
