"""Words on the picture: status, messages, help.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB; none is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fastnst.io.images import Frame

Place: TypeAlias = Literal["top", "middle", "bottom"]

# Letters are as high as this share of the picture, but never too small to read.
_LETTER_SHARE, _SMALLEST_LETTER = 0.03, 11
_LINE_SPACING = 1.35


@dataclass(frozen=True)
class Panel:
    """Lines of text on a dark ground."""

    lines: tuple[str, ...]
    place: Place
    """top and bottom are at the left edge."""


def write_on(frame: Frame, panels: Sequence[Panel]) -> Frame:
    """Return the frame with panels laid over it; what does not fit is made smaller, then cut off."""
    written = frame.copy()
    for panel in panels:
        if any(panel.lines):
            _lay(written, panel)
    return written


def dim(frame: Frame) -> Frame:
    """Return the frame at a third of its brightness, behind a message."""
    return frame // 3


def _lay(written: Frame, panel: Panel) -> None:
    height, width = written.shape[:2]
    letter = max(_SMALLEST_LETTER, round(height * _LETTER_SHARE))
    ink = _render(panel.lines, letter)
    fit = min((width - 2) / ink.shape[1], (height - 2) / ink.shape[0])
    if fit < 1:
        ink = _render(panel.lines, max(6, int(letter * fit)))
    ink = ink[:height, :width]
    rows, columns = ink.shape
    edge = min(letter // 2, height - rows, width - columns)
    middle = (height - rows) // 2
    top = {"top": edge, "middle": middle, "bottom": height - rows - edge}[panel.place]
    left = (width - columns) // 2 if panel.place == "middle" else edge
    ground = written[top : top + rows, left : left + columns]
    # A third of the picture shines through; white letters over it.
    faded = (ground // 3).astype(np.uint16)
    ground[:] = faded + (255 - faded) * ink[..., None] // 255


@lru_cache(maxsize=32)
def _render(lines: tuple[str, ...], letter: int) -> npt.NDArray[np.uint16]:
    """Draw lines as ink, 0 to 255, (H, W). Kept, for the words change far less often than the picture."""
    font = ImageFont.load_default(letter)
    margin, spacing = letter // 2, round(letter * _LINE_SPACING)
    width = max(round(font.getlength(line)) for line in lines) + 2 * margin
    picture = Image.new("L", (width, spacing * len(lines) + margin))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((margin, margin // 2 + number * spacing), line, fill=255, font=font)
    ink = np.asarray(picture).astype(np.uint16)
    ink.setflags(write=False)
    return ink
