"""Picture files <-> frames, uint8 (H, W, 3) RGB."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fastnst.errors import InputError

Frame: TypeAlias = npt.NDArray[np.uint8]


def read_frame(path: Path) -> Frame:
    """Read a picture file as a frame, its EXIF orientation applied."""
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error


def resize_frame(frame: Frame, size: tuple[int, int]) -> Frame:
    """Resample a frame to size = (height, width) pixels with Lanczos' filter."""
    height, width = size
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def fit_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Scale size = (height, width) so that its longer side is `long_side` pixels."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
