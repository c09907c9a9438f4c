"""Cameras through OpenCV: choosing the back-end, opening quickly, reading.

H height, W width in pixels; sizes are (height, width). BGR ends here: frames are uint8 (H, W, 3) RGB.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from fastnst.errors import InputError
from fastnst.io.images import Frame
from fastnst.webcam.capture import CameraLostError

CameraBackend: TypeAlias = Literal["auto", "v4l2", "dshow", "msmf", "avfoundation"]

_APIS = {
    "v4l2": cv2.CAP_V4L2,
    "dshow": cv2.CAP_DSHOW,
    "msmf": cv2.CAP_MSMF,
    "avfoundation": cv2.CAP_AVFOUNDATION,
    "any": cv2.CAP_ANY,
}
# What auto tries, by sys.platform. DirectShow opens at once where Media Foundation may take 4 to 20 s (opencv#26495).
_AUTO = {"linux": ("v4l2", "any"), "win32": ("dshow", "msmf"), "darwin": ("avfoundation", "any")}
# Damaged pictures in a row (bad USB cables spoil some) before the camera counts as lost.
_MAX_SPOILT = 10
_MAX_NUMBER = 2**31 - 1  # OpenCV's int


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """Which camera, and what is asked of it; cameras give the nearest that they have."""

    camera: str = "0"
    """Number from 0, a device such as /dev/video2, or the address of a network camera."""

    backend: CameraBackend = "auto"
    size: tuple[int, int] = (720, 1280)
    fps: float = 30
    mirror: bool = False
    """Left and right exchanged, as in a mirror."""


class OpenCvCamera:
    """A camera that OpenCV has opened."""

    live = True

    def __init__(self, capture: Any, name: str, mirror: bool) -> None:
        """Take over an opened cv2.VideoCapture."""
        self._capture, self._mirror = capture, mirror
        self.name = name

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLostError."""
        for _ in range(_MAX_SPOILT):
            if not self._capture.grab():
                break
            ok, bgr = self._capture.retrieve()
            if ok and bgr is not None and bgr.size:
                return _to_rgb(bgr, self._mirror)
        raise CameraLostError(f"{self.name} gives no pictures")

    def close(self) -> None:
        """Free the device."""
        self._capture.release()


def open_camera(settings: CameraSettings, *, capture: Callable[..., Any] = cv2.VideoCapture) -> OpenCvCamera:
    """Open a camera with the first back-end that gives a picture.

    Args:
        settings: which camera and what to ask of it.
        capture: opens a device, its number or address and the back-end given.

    Raises:
        InputError: none does; says what was tried.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Each failed attempt, and each late picture, prints lines to stderr.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    name = settings.camera if "/" in settings.camera else f"camera {settings.camera}"
    backends = _backends(settings)
    opened = False
    is_number = settings.camera.isdecimal() and int(settings.camera) <= _MAX_NUMBER
    for backend in backends:
        device = capture(int(settings.camera) if is_number else settings.camera, _APIS[backend])
        camera = OpenCvCamera(device, name, settings.mirror)
        if device.isOpened():
            opened = True
            if "://" not in settings.camera:
                _configure(device, settings)
            try:
                camera.read()
            except CameraLostError:
                pass
            else:
                return camera
        camera.close()
    if "://" in settings.camera:
        raise InputError(
            f"{name}: {'answers but gives no pictures' if opened else 'no camera answers at this address'}; check the "
            "address, user name and password, and whether a player shows it"
        )
    found = "opens but gives no pictures; is another program using it?" if opened else f"cannot be opened{_hint()}"
    raise InputError(
        f"{name}: {found} (tried {', '.join(backends)}). --camera names another, --source FILE plays a film instead"
    )


def _backends(settings: CameraSettings) -> tuple[str, ...]:
    if settings.backend != "auto":
        return (settings.backend,)
    return ("any",) if "://" in settings.camera else _AUTO.get(sys.platform, ("any",))


def _configure(device: Any, settings: CameraSettings) -> None:
    """Ask for compressed pictures first: USB 2 carries only 10 uncompressed ones a second at 1280 x 720.

    DirectShow starts the camera anew with each change from here on, and with the form that was asked for before.
    """
    height, width = settings.size
    device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    device.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    device.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    device.set(cv2.CAP_PROP_FPS, settings.fps)
    device.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def _hint() -> str:
    if sys.platform != "linux":
        return ""
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return f"; there is {', '.join(found)}" if found else ", none is connected"


def _to_rgb(bgr: np.ndarray[Any, Any], mirror: bool) -> Frame:
    channels = bgr.shape[2] if bgr.ndim == 3 else 1
    code = {1: cv2.COLOR_GRAY2RGB, 4: cv2.COLOR_BGRA2RGB}.get(channels, cv2.COLOR_BGR2RGB)
    rgb = cv2.cvtColor(bgr, code)
    return np.asarray(cv2.flip(rgb, 1) if mirror else rgb, np.uint8)
