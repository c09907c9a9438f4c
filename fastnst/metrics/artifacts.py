"""Artifacts of feed-forward networks, each as one number: borders, grids, blobs, colors that the painting lacks.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB; Lab colors are float64 (..., 3): L* in 0..100, a*, b*. None
of these is from a paper; docs/research/metrics.md says how they were chosen and what they read on clean pictures.
"""

from dataclasses import dataclass
from typing import Any

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


Mask = npt.NDArray[np.bool_]

BORDER = 8
"""How far from the edges borders are looked for, pixels: what padding does shows most in the first few."""

PERIODS = (4, 8)
"""Grid periods looked for, pixels: the strides at which the usual networks work."""

_TILE = 128
_NEIGHBOURS = 3

_WINDOW = 7
_FLAT, _SMOOTH = 2, 8


@dataclass(frozen=True)
class Artifacts:
    """Artifacts of one stylized picture; all but the color are measured against its photo."""

    border: float
    """Lines and bands along the edges against what runs across the picture; about 1 where edges are like the rest."""

    grid: float
    """Share of the fine detail that repeats every 4 or 8 pixels; 0 none."""

    blobs: float
    """Share of the picture that is flat where the photo is not smooth, or saturated where it is not; 0 none."""

    color: float
    """Mean distance of the colors to the painting's, CIELAB units; 0 all are the painting's."""


def find_artifacts(stylized: Frame, photo: Frame, palette: Colors) -> Artifacts:
    """Measure all artifacts of a picture, given its photo of the same size and the painting's palette (colors, 3)."""
    return Artifacts(
        border_excess(stylized, photo),
        max(grid_energy(stylized, period) for period in PERIODS),
        blob_share(stylized, photo),
        distance_to_palette(stylized, palette),
    )


def border_excess(stylized: Frame, photo: Frame) -> float:
    """Lines and bands along the edges: steps between rows there, over the steps further in.

    Each row parallel to an edge is averaged to one color. Strokes average out, what runs along the whole edge stays.
    The figure is the root mean square step between neighboring rows within 8 px of the four edges, over the same from
    there to a quarter of the side; divided by the photo's own figure where that is above 1, as of a framed one.
    """
    return _edge_ratio(stylized) / max(1.0, _edge_ratio(photo))


def grid_energy(frame: Frame, period: int) -> float:
    """Share of the energy of fine detail in peaks at multiples of 1/period cycles a pixel.

    The power spectrum of luma is averaged over tiles of 128 px (Welch 1967), so a pattern counts also where its
    strength or sign changes from place to place. Of each peak the power of its neighborhood is taken off: what is left
    repeats exactly. Fine detail is what changes faster than once in two periods.
    """
    tile = min(_TILE, min(frame.shape[:2]) // (2 * period) * 2 * period)
    if tile < 4 * period:
        return 0.0
    power = _power(luma(frame), tile)
    frequency = np.fft.fftfreq(tile)
    fine = np.maximum(np.abs(frequency)[:, None], np.abs(frequency)[None]) > 1 / (2 * period)
    total = power[fine].sum()
    peaks = sum(_peak(power, row, column) for row, column in _lattice(tile, period))
    return float(max(peaks, 0) / total) if total > 0 else 0.0


def blob_share(stylized: Frame, photo: Frame) -> float:
    """Share of pixels in squares of 7 px that are flat, where the photo is not smooth, or saturated, where it is not.

    Flat: no channel changes by more than 2 levels. Smooth: by no more than 8; a sky may well become plain paper.
    Saturated: all channels at 0 or 255, give or take 2, throughout.
    """
    flat = _squares(_even(stylized, _FLAT), stylized) & ~_squares(_even(photo, _SMOOTH), photo)
    lost = _squares(_saturated(stylized), stylized) & ~_squares(_saturated(photo) | _even(photo, _FLAT), photo)
    return float((flat | lost).mean())


def _edge_ratio(frame: Frame) -> float:
    outer, inner = [], []
    for turned in (frame, frame[::-1], frame.transpose(1, 0, 2), frame.transpose(1, 0, 2)[::-1]):
        steps = np.diff(turned.mean(1), axis=0) ** 2
        outer.append(steps[:BORDER].mean())
        inner.append(steps[BORDER : max(3 * BORDER, len(turned) // 4)].mean())
    # Of a flat picture one ten-thousandth of a level, so that 0 / 0 is 0 and rounding noise is nothing.
    return float(np.sqrt(np.mean(outer)) / max(np.sqrt(np.mean(inner)), 1e-4))


def _power(plane: Plane, tile: int) -> Plane:
    """Mean power spectrum (tile, tile) over half-overlapping tiles under Hann's window."""
    window = np.hanning(tile + 1)[:-1]
    window2d = window[:, None] * window[None]
    spectra = []
    for top in _starts(plane.shape[0], tile):
        for left in _starts(plane.shape[1], tile):
            part = plane[top : top + tile, left : left + tile]
            spectra.append(np.abs(np.fft.fft2((part - part.mean()) * window2d)) ** 2)
    power: Plane = np.mean(spectra, axis=0)
    return power


def _starts(length: int, tile: int) -> range:
    return range(0, length - tile + 1, tile // 2)


def _lattice(tile: int, period: int) -> list[tuple[int, int]]:
    """Bins of the frequencies (k/period, l/period), the mean aside; of each pair of opposite ones only one."""
    step, half = tile // period, period // 2
    return [
        (row * step % tile, column * step)
        for column in range(half + 1)
        for row in range(-half + 1, half + 1)
        if column > 0 or row > 0
    ]


def _peak(power: Plane, row: int, column: int) -> float:
    """Energy of a peak and its opposite above the neighborhood: Hann's window spreads a line over 3 x 3 bins.

    The neighborhood is what lies around, or above and below, or at both sides, whichever is strongest: straight edges,
    as of a horizon, fill whole rows or columns of the spectrum, and that is no peak.
    """
    reach = np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)
    area = power[np.ix_((row + reach) % len(power), (column + reach) % len(power))]
    near = np.abs(reach) <= 1
    inside = near[:, None] & near[None]
    around = max(area[part].mean() for part in (~inside, np.ix_(~near, near), np.ix_(near, ~near)))
    twice = 1 if (2 * row) % len(power) == 0 and (2 * column) % len(power) == 0 else 2
    return float(twice * inside.sum() * (area[inside].mean() - around))


def _even(frame: Frame, levels: int) -> Mask:
    """Squares of 7 px, by their upper left corner, in which no channel changes by more than that."""
    even: Mask = (_windows(frame, np.maximum) - _windows(frame, np.minimum) <= levels).all(-1)  # no wrap: not below 0
    return even


def _saturated(frame: Frame) -> Mask:
    """Squares of 7 px, by their upper left corner, with nothing but black, white and full colors."""
    whole: Mask = _windows(np.logical_and.reduce((frame <= _FLAT) | (frame >= 255 - _FLAT), axis=-1), np.logical_and)
    return whole


def _squares(corners: Mask, frame: Frame) -> Mask:
    """The pixels of squares, (H, W), given by their upper left corners."""
    inside = np.zeros(frame.shape[:2], np.bool_)
    rows, columns = corners.shape
    for down in range(_WINDOW):
        for right in range(_WINDOW):
            inside[down : down + rows, right : right + columns] |= corners
    return inside


def _windows(values: npt.NDArray[Any], reduce: np.ufunc) -> npt.NDArray[Any]:
    """Reduce each 7 x 7 window that fits to one value, axis by axis."""
    for axis in (0, 1):
        length = max(values.shape[axis] - _WINDOW + 1, 0)
        values = reduce.reduce([values.take(range(start, start + length), axis) for start in range(_WINDOW)])
    return values
