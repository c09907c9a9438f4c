"""Loading OpenCV: what it reads from the environment must stand there before its first import. And its quick resizing.

Frames are uint8 (H, W, 3) RGB, H height and W width.
"""

import importlib
import os
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastnst.errors import SettingError
from fastnst.io.images import Frame

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

    Raises:
        SettingError: it cannot be imported, for want of a system library.
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
