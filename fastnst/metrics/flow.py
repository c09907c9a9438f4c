"""Optical flow: reading it, following it, and telling where it can be trusted.

H height, W width in pixels. A flow is float32 (H, W, 2): what is at column x, row y of the first frame is at
x + flow[y, x, 0], y + flow[y, x, 1] of the second one. NaN where it is unknown. A mask is bool (H, W).
"""

from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError
from fastnst.io.images import Frame

Flow: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

# The number that .flo files begin with; its bytes spell PIEH (Baker et al. 2011, Middlebury's flow-code).
_TAG = np.float32(202021.25)
# Middlebury's flow-code: larger components mean that the flow is unknown there.
_LARGEST = 1e9
_SMALLEST_SIDE = 16


def read_flow(path: str | Path) -> Flow:
    """Read a Middlebury .flo file; NaN where it says that the flow is unknown.

    Raises:
        InputError: the file is missing, cut short or no .flo file.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a .flo file") from error
    if content[:4] != _TAG.tobytes() or len(content) < 12:
        raise InputError(f"{path}: not an optical flow in Middlebury's .flo form")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", count=2, offset=4))
    if width < 1 or height < 1 or len(content) != 12 + 8 * width * height:
        raise InputError(f"{path}: says {width}x{height} but has {len(content)} bytes; it is damaged or cut short")
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[(~(np.abs(flow) < _LARGEST)).any(axis=2)] = np.nan
    return flow


def still(height: int, width: int) -> Flow:
    """The flow of a scene in which nothing moves."""
    return np.zeros((height, width, 2), np.float32)


def warp(second: Pixels, flow: Flow) -> tuple[npt.NDArray[np.float32], Mask]:
    """Bring the second frame back onto the first: sample it, bilinearly, where the flow leads.

    Args:
        second: (H, W, C), anything by pixel: colors, or the flow back.
        flow: (H, W, 2), from the first frame to the second.

    Returns:
        float32 (H, W, C), and the mask of pixels that are known and do not leave the frame; elsewhere the values
        mean nothing.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    inside: Mask = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # no comparison holds for NaN
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = ((x - left)[..., None]).astype(np.float32), ((y - top)[..., None]).astype(np.float32)
    upper = second[top, left] * (1 - across) + second[top, right] * across
    lower = second[bottom, left] * (1 - across) + second[bottom, right] * across
    return (upper * (1 - down) + lower * down).astype(np.float32), inside


def find_visible(forward: Flow, backward: Flow) -> Mask:
    """Pixels of the first frame that are seen in the second one too, and whose flow can be trusted.

    Left out are pixels that leave the frame, pixels that the flow back does not bring home (they are covered), and
    motion boundaries: section 4.2, equations 5 and 6 of Ruder et al. (2016), after Sundaram et al. (2010).

    Args:
        forward: (H, W, 2), from the first frame to the second.
        backward: (H, W, 2), from the second frame to the first.
    """
    back, inside = warp(backward, forward)
    with np.errstate(invalid="ignore"):
        there, here = np.square(forward).sum(axis=2), np.square(back).sum(axis=2)
        returns = np.square(forward + back).sum(axis=2) <= 0.01 * (there + here) + 0.5
        slopes = sum(np.square(slope).sum(axis=2) for slope in np.gradient(forward, axis=(0, 1)))
        smooth = slopes <= 0.01 * there + 0.002
    visible: Mask = inside & returns & smooth
    return visible


def estimate_flow(first: Frame, second: Frame) -> Flow:
    """Estimate the flow between two frames, uint8 (H, W, 3), by dense inverse search (Kroeger et al. 2016; OpenCV).

    Its medium setting, but refined down to single pixels.

    Raises:
        InputError: frames of different sizes, or too small to search in.
    """
    if first.shape != second.shape or min(first.shape[:2]) < _SMALLEST_SIDE:
        raise InputError(
            f"frames of {_size(first)} and {_size(second)}; an optical flow takes two of one size, "
            f"at least {_SMALLEST_SIDE} px a side"
        )
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    flow: Flow = search.calc(*grey, None)  # OpenCV's type hints do not know that None means no first guess
    return flow


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"
