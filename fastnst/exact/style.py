"""A style picture, its part in the whole, its regions, and the shape it is brought into.

Frames are uint8 (H, W, 3) RGB, H height and W width; sizes are (height, width) in pixels.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame, fit_long_side

SMALLEST_SIDE = 8
"""Pixels that the longer side of a photo or a style picture has at least, before it is resized."""

Fit = Literal["keep", "crop", "square"]
Array = TypeVar("Array", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Style:
    """A style picture and its part in the whole.

    Examples:
        >>> night, wave = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)
        >>> [style.weight for style in (Style(night, weight=0.7), Style(wave, weight=0.3))]
        [0.7, 0.3]
    """

    frame: Frame
    """The picture, uint8 (H, W, 3) RGB."""

    weight: float = 1.0
    """Its share; the weights of all styles are scaled to a sum of 1."""

    mask: Frame | str | None = None
    """Its regions, each in a color of its own, (H, W, 3) of the picture's shape; or one color, #rrggbb, for
    all of it. None: all of it serves every region of the photo."""


Styles: TypeAlias = Frame | Style | Sequence[Frame | Style]


def share_out(styles: Styles) -> list[Style]:
    """Styles with weights that sum to 1, and masks that are pictures; those of weight 0 are left out.

    Raises InputError for what is no picture, SettingError without styles and for weights that cannot be.
    """
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    for style in given:
        check_picture(style.frame, "style picture")
        if not 0 <= style.weight < math.inf:
            raise SettingError(f"a style has weight {style.weight}; expected a number from 0 on")
    # Relative to the largest one first: a sum of huge ones would be infinite.
    largest = max((style.weight for style in given), default=0.0)
    if not largest:
        raise SettingError("no style has a weight above 0; give at least one style, e.g. --style painting.jpg")
    shares = [style.weight / largest for style in given]
    total = sum(shares)
    return [
        replace(style, weight=share / total, mask=_drawn(style))
        for style, share in zip(given, shares, strict=True)
        if share
    ]


def check_picture(frame: Frame, what: str) -> Frame:
    """Return a picture as it is, or raise InputError, calling it `what`, where it is none or too small to be one."""
    height, width = check_frame(frame).shape[:2]
    if max(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the {what} is {width}x{height} pixels, of which enlarging makes no picture; "
            f"expected a longer side of at least {SMALLEST_SIDE}"
        )
    return frame


def check_frame(frame: Frame) -> Frame:
    """Return a frame as it is, or raise InputError for an array that is none."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise InputError(
            f"an array of {frame.dtype} {frame.shape} is no picture; expected uint8 (height, width, 3) RGB"
        )
    return frame


def is_colour(text: str) -> bool:
    """Whether a text is a colour, #rrggbb."""
    return re.fullmatch("#[0-9a-fA-F]{6}", text) is not None


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


def _drawn(style: Style) -> Frame | None:
    if not isinstance(style.mask, str):
        return style.mask
    if not is_colour(style.mask):
        raise InputError(f"a style's mask is {style.mask!r}; expected a picture or a color such as #ff0000")
    return np.broadcast_to(np.frombuffer(bytes.fromhex(style.mask[1:]), np.uint8), style.frame.shape)
