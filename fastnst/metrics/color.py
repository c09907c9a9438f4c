"""Colors: distances in CIELAB, and the palette of a painting.

Frames are uint8 (H, W, 3) RGB, H height and W width; Lab colors are float64 (..., 3): L* in 0..100, a*, b*.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastnst.io.images import Frame

Colors = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float64]

# sRGB to XYZ under D65, IEC 61966-2-1, and the white that it maps (1, 1, 1) to.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(1)
# Colors compared with the palette at once.
_CHUNK = 4096


def luma(frame: Frame) -> Plane:
    """Luma of ITU-R BT.601, the one of JPEG: uint8 (H, W, 3) -> (H, W) in 0..255."""
    weighted: Plane = frame @ np.array([0.299, 0.587, 0.114])
    return weighted


def to_lab(colors: npt.NDArray[np.uint8]) -> Colors:
    """SRGB colors, uint8 (..., 3), in CIELAB under D65 (CIE 15:2004, 8.2.1)."""
    scaled = colors / 255.0
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    cube = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(cube, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def palette_of(frame: Frame, colors: int = 256) -> Colors:
    """The colors that stand for a picture, by median cut, as Lab (at most `colors`, 3)."""
    reduced = Image.fromarray(frame).quantize(colors, Image.Quantize.MEDIANCUT)
    levels = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    return to_lab(levels[np.unique(np.asarray(reduced))])


def distance_to_palette(frame: Frame, palette: Colors) -> float:
    """Mean over pixels of the distance to the nearest color of a palette, CIE 1976 (about 2.3 is just noticeable)."""
    # The two lowest bits are left out, so that thousands of colors remain, not a hundred thousand; 2 is their middle.
    colors, counts = np.unique(frame.reshape(-1, 3) & 0xFC, axis=0, return_counts=True)
    lab = to_lab(colors + np.uint8(2))
    squares = (palette**2).sum(1)
    nearest = np.empty(len(lab))
    for start in range(0, len(lab), _CHUNK):
        part = lab[start : start + _CHUNK]
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b, so that no (colors, palette, 3) array is needed.
        errors = squares - 2 * part @ palette.T
        nearest[start : start + _CHUNK] = (part**2).sum(1) + errors.min(1)
    return float((np.sqrt(nearest.clip(0)) * counts).sum() / counts.sum())
