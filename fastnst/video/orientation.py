"""How players turn a film, and how to turn its frames the same way and back.

H height, W width in pixels, before turning.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from av import VideoFrame

from fastnst.io.images import Frame
from fastnst.video.film import Orientation

_ONE = 1 << 16
_NOT_TURNED: Orientation = (_ONE, 0, 0, 0, _ONE, 0, 0, 0, 1 << 30)


def read_orientation(decoded: VideoFrame) -> Orientation | None:
    """Return the display matrix of a frame; None where it is shown as stored."""
    side_data: Mapping[Any, Any] = decoded.side_data
    try:
        matrix = tuple(int(value) for value in np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)[:9])
    except KeyError:
        return None
    return None if matrix == _NOT_TURNED else matrix


def turn_upright(frame: Frame, orientation: Orientation | None) -> Frame:
    """Turn a stored frame, (H, W, ...), as players show it; turns that are no multiple of 90 degrees are left out."""
    swap, flip_rows, flip_columns = _steps(orientation)
    turned = frame.swapaxes(0, 1) if swap else frame
    turned = turned[::-1] if flip_rows else turned
    return np.ascontiguousarray(turned[:, ::-1] if flip_columns else turned)


def turn_back(frame: Frame, orientation: Orientation | None) -> Frame:
    """The other way round from `turn_upright`."""
    swap, flip_rows, flip_columns = _steps(orientation)
    turned = frame[:, ::-1] if flip_columns else frame
    turned = turned[::-1] if flip_rows else turned
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swap else turned)


def swaps_sides(orientation: Orientation | None) -> bool:
    """Whether height and width are exchanged when the film is shown."""
    return _steps(orientation)[0]


def _steps(orientation: Orientation | None) -> tuple[bool, bool, bool]:
    """The turn as: exchange rows and columns, then mirror top to bottom, then left to right.

    The matrix (a b u / c d v / x y w) sends the point (column, row) to (a column + c row, b column + d row).
    """
    if orientation is None:
        return False, False, False
    a, b, c, d = (orientation[place] for place in (0, 1, 3, 4))
    if a and d and not (b or c):
        return False, d < 0, a < 0
    if b and c and not (a or d):
        return True, b < 0, c < 0
    return False, False, False
