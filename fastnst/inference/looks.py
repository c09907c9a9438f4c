"""Looks by name: what each does to strokes and strength, and where portraits have their faces.

H height, W width. Frames are uint8 (H, W, 3) RGB, weights uint8 (H, W), 255 for all of a face.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from platformdirs import user_cache_path

from fastnst.errors import DownloadError, SettingError
from fastnst.io.addresses import fetch
from fastnst.io.blending import load_opencv, resample
from fastnst.io.images import Frame, fit_long_side

LookName: TypeAlias = Literal["plain", "subtle", "bold", "portrait"]


@dataclass(frozen=True)
class Look:
    """What a look multiplies the options by."""

    stroke: float = 1.0
    strength: float = 1.0


LOOKS: dict[LookName, Look] = {
    "plain": Look(),
    "subtle": Look(0.75, 0.6),
    "bold": Look(1.5, 1.25),
    "portrait": Look(),
}
"""Chosen by looking."""

FACE = Look(0.5, 0.65)
"""What faces get in a portrait: finer strokes, and more of the photo."""

YUNET_VARIABLE = "FASTNST_YUNET"
"""Environment variable that names a file of YuNet, which finds faces."""

_NAME = "face_detection_yunet_2023mar.onnx"
_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{_NAME}"
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_SIDE, _SURE = 640, 0.7


def _silent(*_: object) -> None:
    """Take news that nobody needs of so small a file."""


def yunet(announce: Callable[[str], None] = _silent) -> Path:
    """Return the file of YuNet (Wu et al. 2023, MIT license), OpenCV's network for faces; 230 kB, fetched once.

    `announce` is called with a line before it is fetched.

    Raises:
        SettingError: it is not there and cannot be fetched.
    """
    named = os.environ.get(YUNET_VARIABLE)
    path = Path(named) if named else user_cache_path("fastnst", appauthor=False) / _NAME
    if path.is_file():
        return path
    remedy = f"--faces MASK says where faces are, {YUNET_VARIABLE} names the file if you have it"
    if named:
        raise SettingError(f"{path}: no such file; {remedy}")
    announce(f"--look portrait: fetching YuNet, which finds faces (230 kB, once). Offline: {remedy}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(_URL, path, announce=_silent, progress=_silent, check_room=_silent)
    except (DownloadError, OSError) as error:
        raise SettingError(
            f"--look portrait finds faces by YuNet, which cannot be fetched ({error}); {remedy}"
        ) from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        path.unlink()
        raise SettingError(f"{_URL}: is not the file that was expected; {remedy}")
    return path


@cache
def _detector(path: Path) -> Any:
    load_opencv()
    import cv2  # noqa: PLC0415 - only portraits need it

    try:
        return cv2.FaceDetectorYN.create(str(path), "", (_SIDE, _SIDE), _SURE)
    except (cv2.error, AttributeError) as error:
        raise SettingError(f"{path}: OpenCV cannot run it to find faces; --faces MASK says where they are") from error


def find_faces(photo: Frame) -> list[tuple[float, float, float, float]]:
    """Find faces: left, top, width and height of each, in pixels of the photo. Raises SettingError as `yunet`."""
    height, width = photo.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = fit_long_side((height, width), round(max(height, width) * scale))
    detector = _detector(yunet())
    detector.setInputSize(size[::-1])
    _, found = detector.detect(np.ascontiguousarray(resample(photo, size)[..., ::-1]))
    across, down = width / size[1], height / size[0]
    boxes = [] if found is None else [[float(value) for value in row[:4]] for row in found]
    return [(left * across, top * down, wide * across, tall * down) for left, top, wide, tall in boxes]


def face_weights(size: tuple[int, int], faces: list[tuple[float, float, float, float]]) -> Frame:
    """Weights of faces in a picture of `size`: an ellipse about each, 1 inside the face and soft to twice its size."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in size)
    weights = np.zeros(size, np.float32)
    for left, top, wide, tall in faces:
        across = (columns - (left + wide / 2)) / (wide / 2)
        down = (rows - (top + tall / 2)) / (tall / 2)
        away = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
        soft = np.clip(2 - away, 0, 1)
        weights = np.maximum(weights, soft * soft * (3 - 2 * soft))
    return np.rint(weights * 255).astype(np.uint8)
