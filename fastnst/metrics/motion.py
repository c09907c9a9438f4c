"""Motions that are known exactly: where each pixel of a picture that moves, turns or grows comes from.

Coordinates are (x, y) = (column, row) of pixel centres. An affine map is float64 (2, 3): (x, y, 1) -> (x, y).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Affine: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """What the picture does from one frame to the next, all about the frame's middle."""

    name: str
    shift: tuple[float, float] = (0.0, 0.0)
    """Pixels to the right and down."""

    zoom: float = 1.0
    """Factor; above 1 the picture grows."""

    degrees: float = 0.0
    """Angle that it turns by, clockwise."""

    def to_source(self, step: int, size: tuple[int, int], source_size: tuple[int, int]) -> Affine:
        """Affine map from the pixels of frame `step` (0 the first) to the source picture's pixels.

        Sizes are (height, width) of the frames and of the picture.
        """
        middle, source_middle = _middle(size), _middle(source_size)
        angle = np.deg2rad(self.degrees * step)
        # The picture turns by +angle, so its source is found by turning back. Rows point down: this is clockwise.
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / self.zoom**step
        offset = source_middle - turn @ (middle + np.array(self.shift) * step)
        return np.column_stack([turn, offset])


def _middle(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Centre of a picture, on a whole pixel so that whole shifts stay whole."""
    return np.array([size[1] // 2, size[0] // 2], np.float64)
