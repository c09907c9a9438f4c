"""Arithmetic between a photo and what was painted of it, and quick resizing by OpenCV, which is loaded here.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB, weights uint8 (H, W) with 255 for all of a painting. No
argument is changed. Large pictures go band by band, so that no wider copy of one is ever made. What OpenCV reads from
the environment must stand there before its first import.
"""

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from fastnst.errors import SettingError
from fastnst.io.images import Frame, fit_long_side

Changes: TypeAlias = npt.NDArray[np.int16]
"""Differences of levels, (H, W, 3), -255 to 255."""

_ENVIRONMENT = {
    # A V4L2 camera that stalls holds a read for 10 s by default; a whole number of seconds.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",
    # Media Foundation looks for hardware converters for up to 20 s at opening (opencv#17687).
    "OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS": "0",
    # FFmpeg, which opens network cameras, writes to stderr itself.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}


def load_opencv() -> None:
    """Import OpenCV, quick to open cameras and to notice one that stalls; the user's own settings stay.

    Raises SettingError: it cannot be imported, for want of a system library.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        raise SettingError(
            f"OpenCV cannot be loaded ({error}); on Debian and Ubuntu its libraries come with "
            "apt-get install libgl1 libglib2.0-0 libsm6 libxext6"
        ) from error


def resample(frame: Frame, size: tuple[int, int]) -> Frame:
    """Resize a frame to size = (height, width): averages when it shrinks, in straight lines when it grows.

    Several times faster than `resize_frame`, and not as good: for live pictures. Raises SettingError as `load_opencv`.
    """
    if frame.shape[:2] == size:
        return frame
    load_opencv()
    import cv2  # noqa: PLC0415 - only live pictures need it

    shrinks = size[0] * size[1] < frame.shape[0] * frame.shape[1]
    filtering = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (size[1], size[0]), interpolation=filtering), np.uint8)


def enlarge_change(change: Changes, size: tuple[int, int]) -> Changes:
    """Resize what changed, int16 (H, W, 3): cubic where it grows, averages where it shrinks."""
    load_opencv()
    import cv2  # noqa: PLC0415

    grows = size[0] * size[1] > change.shape[0] * change.shape[1]
    filtering = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(change, (size[1], size[0]), interpolation=filtering), np.int16)


# Rows at a time.
_BAND = 256

_AREAS = 16
"""Areas along the longer side that keep their brightness."""


_Numbers = npt.NDArray[np.float64]
_Light = npt.NDArray[np.float32]

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


def add_change(photo: Frame, given: Frame, painted: Frame) -> Frame:
    """Lay a painting over the photo, (H, W, 3): what painting changed is resized and added, so detail stays.

    `painted`, (h, w, 3), was painted of `given`, the photo at that size.
    """
    change = np.subtract(painted, given, dtype=np.int16)
    laid = enlarge_change(change, (photo.shape[0], photo.shape[1]))
    whole = np.empty(photo.shape, np.uint8)
    for band in _bands(len(photo)):
        laid[band] += photo[band]
        whole[band] = laid[band].clip(0, 255)
    return whole


def keep_brightness(painted: Frame, photo: Frame) -> Frame:
    """Give a painting the photo's light and shade: Y of BT.601 as the photo has it over areas, strokes as painted.

    Areas are about a sixteenth of the longer side wide. All three channels move by the difference; what leaves 0..255
    is cut off.
    """
    size = (photo.shape[0], photo.shape[1])
    coarse = fit_long_side(size, min(2 * _AREAS, max(size)))
    lacking = _areas(photo, coarse) - _areas(painted, coarse)
    lifted = np.empty(photo.shape, np.uint8)
    for band, change in zip(_bands(len(photo)), _enlarged_bands(lacking, size), strict=True):
        levels = np.repeat(np.rint(change).astype(np.int16).ravel(), 3).reshape(photo[band].shape)
        levels += painted[band]
        lifted[band] = levels.clip(0, 255, out=levels)
    return lifted


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
    """Put paintings together by their weights, whose sum is at most 255 everywhere; what they leave is the photo."""
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


def _areas(frame: Frame, coarse: tuple[int, int]) -> _Light:
    """Y of a frame by areas, float32 (h, w)."""
    small = Image.fromarray(resample(frame, coarse)).convert("L")
    return np.asarray(small.filter(ImageFilter.BoxBlur(1)), np.float32)


def _enlarged_bands(light: _Light, size: tuple[int, int]) -> Iterator[_Light]:
    """Light by areas, (h, w), for each band of a picture of `size`, in straight lines."""
    height, width = size
    places = np.arange(width) + 0.5
    columns = np.arange(light.shape[1]) + 0.5
    wide = np.stack([np.interp(places * light.shape[1] / width, columns, row) for row in light]).astype(np.float32)
    down = ((np.arange(height) + 0.5) * len(light) / height - 0.5).clip(0, len(light) - 1)
    above = down.astype(np.intp)
    below, share = np.minimum(above + 1, len(light) - 1), (down - above).astype(np.float32)[:, None]
    for band in _bands(height):
        yield wide[above[band]] * (1 - share[band]) + wide[below[band]] * share[band]


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
