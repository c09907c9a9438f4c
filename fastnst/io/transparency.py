"""Colors beside transparency: what is hidden must count for nothing, at resizing and in a network's statistics.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB, alphas uint8 (H, W), 255 opaque.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

# Averages of the visible colors begin at squares of so many pixels: a pyramid from the full size needs ten times more
# memory, and nobody sees the difference.
_SQUARE = 8


def fill_hidden(frame: Levels, alpha: Levels) -> Levels:
    """Give fully transparent pixels the color of what is visible near them; the others stay as they are.

    Editors leave anything there, mostly black. Push-pull (Gortler et al. 1996, "The Lumigraph", section 3.4): averages
    of the visible colors on ever coarser grids fill the holes of the finer ones. White where nothing is visible.
    """
    hidden = alpha == 0
    if not hidden.any():
        return frame
    height, width = alpha.shape
    opacity = alpha / np.float32(255)
    sums = np.dstack([_average(frame[..., channel] * opacity) for channel in range(3)])
    coarse = _pull(sums, _average(opacity)[..., None])
    colors = np.rint(coarse.clip(0, 255)).astype(np.uint8)
    spread = Image.fromarray(colors).resize((width, height), Image.Resampling.BILINEAR)
    return np.where(hidden[..., None], np.asarray(spread), frame)


def resize_visible(frame: Levels, alpha: Levels, size: tuple[int, int]) -> tuple[Levels, Levels]:
    """Resample a frame and its alpha to size = (height, width) with Lanczos' filter, each pixel by its opacity.

    Colors are multiplied by alpha before and divided after (Porter and Duff 1984), in floats: 8 bits would round the
    colors of nearly transparent pixels to a few levels.
    """
    opacity = _resample(alpha / np.float32(255), size)
    smaller = np.empty((*size, 3), np.uint8)
    visible = opacity > 0.5 / 255  # Lanczos' filter rings below 0
    for channel in range(3):
        sums = _resample(frame[..., channel] * (alpha / np.float32(255)), size)
        colors = np.divide(sums, opacity, out=np.full(size, 255, np.float32), where=visible)
        smaller[..., channel] = np.rint(colors.clip(0, 255))
    levels: Levels = np.rint(opacity.clip(0, 1) * 255).astype(np.uint8)
    return fill_hidden(smaller, levels), levels


def _average(plane: Floats) -> Floats:
    """Averages of squares."""
    return np.asarray(Image.fromarray(plane.astype(np.float32, copy=False)).reduce(_SQUARE), np.float32)


def _pull(sums: Floats, weights: Floats) -> Floats:
    """Colors (H, W, 3) from sums of color times weight and weights (H, W, 1); coarser averages where a weight is 0."""
    known = weights > 0
    colors = np.divide(sums, weights, out=np.full_like(sums, 255), where=known)
    if known.all() or max(weights.shape[:2]) == 1:
        return colors
    coarser = _pull(_halve(sums), _halve(weights))
    height, width = weights.shape[:2]
    spread = coarser.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known, colors, spread)


def _halve(values: Floats) -> Floats:
    """Sums of 2 x 2 pixels; beyond an odd edge there is nothing."""
    height, width, channels = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    summed: Floats = even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum(axis=(1, 3))
    return summed


def _resample(plane: Floats, size: tuple[int, int]) -> Floats:
    resized = Image.fromarray(plane.astype(np.float32, copy=False)).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(resized, np.float32)
