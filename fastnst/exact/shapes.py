"""Shapes of photo and style pictures brought together. Sizes are (height, width) in pixels."""

from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fastnst.io.images import fit_long_side

Fit = Literal["keep", "crop", "square"]
Array = TypeVar("Array", bound=npt.NDArray[Any])


def fitted_size(frame: npt.NDArray[Any], long_side: int, fit: Fit) -> tuple[int, int]:
    """Size of a picture, (H, W, ...), at a long side of that many pixels: of its own shape, or a square."""
    size = (1, 1) if fit == "square" else (frame.shape[0], frame.shape[1])
    return fit_long_side(size, long_side)


def crop_to(frame: Array, shape: tuple[int, ...]) -> Array:
    """The largest middle part of a picture, (H, W, ...), that has the proportions of shape = (height, width, ...)."""
    height, width = frame.shape[:2]
    scale = min(height / shape[0], width / shape[1])
    tall, wide = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(frame[top : top + tall, left : left + wide])  # type: ignore[return-value]
