"""Pictures of any size through a network that takes one size alone: in pieces of that size, which overlap.

Each piece is painted by itself, and a network that normalizes over the picture sees another one each time: colors and
strokes of neighbors do not quite match. Where pieces overlap, one fades into the other.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastnst.io.images import Frame

_OVERLAP = 0.25
"""Share of a piece's side that lies over the next one, about."""

_GRID = 8
"""Pieces begin at multiples of it: networks halve pictures up to three times, each by the same pixels."""


def paint_in_pieces(paint: Callable[[Frame], Frame], frame: Frame, size: tuple[int, int]) -> Frame:
    """Paint a picture of any size.

    Args:
        paint: turns a frame of the size below into a painted one.
        frame: not changed; where it is smaller than a piece, its borders are mirrored.
        size: (height, width) of a piece.

    Returns:
        A frame of the given one's size.
    """
    height, width = frame.shape[:2]
    missing = [
        side - own if own <= side else -(own - side) % _GRID for side, own in zip(size, (height, width), strict=True)
    ]
    padded = np.pad(frame, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    places = [(top, left) for top in _starts(padded.shape[0], size[0]) for left in _starts(padded.shape[1], size[1])]
    if len(places) == 1:
        return np.ascontiguousarray(paint(padded)[:height, :width])
    fade = (_fade(size[0])[:, None] * _fade(size[1]))[..., None]
    levels, weights = np.zeros(padded.shape, np.float32), np.zeros((*padded.shape[:2], 1), np.float32)
    for top, left in places:
        piece = slice(top, top + size[0]), slice(left, left + size[1])
        levels[piece] += fade * paint(np.ascontiguousarray(padded[piece]))
        weights[piece] += fade
    painted = np.rint(levels / weights).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(painted[:height, :width])


def _starts(length: int, piece: int) -> list[int]:
    """Where pieces begin so that they cover a length and overlap alike."""
    step = max(1, round(piece * (1 - _OVERLAP)))
    count = 1 + -(-(length - piece) // step)
    return [round(place / _GRID) * _GRID for place in np.linspace(0, length - piece, count)]


def _fade(side: int) -> npt.NDArray[np.float32]:
    """Weights over a piece's side: 1 in the middle, falling to next to nothing at the ends."""
    rising = (np.arange(side) + 1) / max(1, round(side * _OVERLAP))
    return np.minimum(1, np.minimum(rising, rising[::-1])).astype(np.float32)
