"""Contact sheets: pictures in labelled rows and columns, as one picture.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.report.blocks import PictureGrid

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
    return frame if max(size) <= long_side else resize_frame(frame, fit_long_side(size, long_side))


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
