"""Arithmetic between a photo and what was painted of it; and a picture in another picture's colors.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB, weights uint8 (H, W) with 255 for all of a painting. No
argument is changed. Large pictures go band by band, so that no wider copy of one is ever made.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastnst.io.images import Frame

# Rows at a time.
_BAND = 256


_Numbers = npt.NDArray[np.float64]

# Where a grey photo or a single-colored painting has no spread, eigenvalues are rounding noise.
_NO_SPREAD = 1e-7


def blend(painted: Frame, photo: Frame, strength: float) -> Frame:
    """Lay a painting over the photo: 0 gives the photo, 1 the painting. Frames, or batches (N, H, W, 3)."""
    if strength == 1:
        return painted
    share = np.uint16(round(strength * 256))
    blended = np.empty(photo.shape, np.uint8)
    rows = [array.reshape(-1, *photo.shape[-2:]) for array in (painted, photo, blended)]
    for band in _bands(len(rows[0])):
        mixed = rows[0][band] * share
        mixed += rows[1][band] * (256 - share)
        mixed += np.uint16(128)
        mixed >>= np.uint16(8)
        rows[2][band] = mixed
    return blended


def keep_colors(painted: Frame, photo: Frame) -> Frame:
    """Give the photo's colours the painted brightness: "luminance-only transfer" of Gatys et al. (2016, "Preserving
    color in neural artistic style transfer"), with Y of BT.601 on the numbers as they are.

    Y of `painted` with Cb and Cr (or I and Q) of `photo`: in RGB, all three channels of the photo move by the
    difference in Y. What leaves 0..255 is cut off.
    """
    recolored = np.empty(photo.shape, np.uint8)
    for band in _bands(len(photo)):
        change = _luma(painted[band]).astype(np.int16)
        change -= _luma(photo[band])
        levels = np.repeat(change.ravel(), 3).reshape(photo[band].shape)
        levels += photo[band]
        recolored[band] = levels.clip(0, 255, out=levels)
    return recolored


def combine(photo: Frame, layers: Sequence[tuple[Frame, Frame]]) -> Frame:
    """Put paintings together, each by its weights; what they leave of 255 is the photo.

    Args:
        photo: what was painted.
        layers: paintings with their weights, whose sum is at most 255 everywhere.
    """
    combined = np.empty(photo.shape, np.uint8)
    for band in _bands(len(photo)):
        left = np.full(photo[band].shape[:2], 255, np.uint16)
        total = np.full(photo[band].shape, 128, np.uint16)
        for painted, weights in layers:
            left -= weights[band]
            total += painted[band] * _widened(weights[band])
        total += photo[band] * _widened(left)
        # Division by 255, rounded: exact up to 255 * 255.
        combined[band] = (total + (total >> np.uint16(8))) >> np.uint16(8)
    return combined


def _luma(frame: Frame) -> Frame:
    """Y of BT.601, uint8 (H, W)."""
    return np.asarray(Image.fromarray(frame).convert("L"))


def _widened(weights: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Weights (H, W) for each of the three channels; faster to multiply by than (H, W, 1)."""
    return np.repeat(weights.astype(np.uint16).ravel(), 3).reshape(*weights.shape, 3)


def _bands(rows: int) -> Iterator[slice]:
    return (slice(top, top + _BAND) for top in range(0, rows, _BAND))


def match_colors(frame: Frame, reference: Frame) -> Frame:
    """Give a picture the mean and the covariance of another's RGB colors, clipped to 0..255.

    The linear map of Gatys et al. (2016, "Preserving color in neural artistic style transfer", eq. 1 to 3) in its
    symmetric form, the one that moves colors least; here the painting's colors go to the photo. Directions in
    which the picture has no spread, as for a grey one, cannot be given any.
    """
    given, wanted = _pixels(frame), _pixels(reference)
    centred = given - given.mean(0)
    spread, goal = np.cov(given.T, bias=True), np.cov(wanted.T, bias=True)
    transform = _symmetric_map(spread, goal)
    matched = centred @ transform.T + wanted.mean(0)
    levels: Frame = np.rint(matched.clip(0, 255)).astype(np.uint8)
    return levels.reshape(frame.shape)


def _pixels(frame: Frame) -> _Numbers:
    return frame.reshape(-1, 3).astype(np.float64)


def _symmetric_map(spread: _Numbers, goal: _Numbers) -> _Numbers:
    root, inverse = _root(spread)
    middle, _ = _root(root @ goal @ root)
    transform: _Numbers = inverse @ middle @ inverse
    return transform


def _root(matrix: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Square root of a symmetric positive matrix, and the root's inverse where it has any."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.where(values > _NO_SPREAD * max(values.max(), 1.0), values, 0)
    roots = np.sqrt(values)
    inverses = np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)
    return (vectors * roots) @ vectors.T, (vectors * inverses) @ vectors.T
