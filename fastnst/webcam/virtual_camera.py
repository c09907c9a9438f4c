"""A virtual camera: other programs see the painted pictures as those of a webcam.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

import importlib
from typing import Any

from fastnst.errors import OutputError, SettingError
from fastnst.io.images import Frame
from fastnst.io.opencv import resample


class VirtualCamera:
    """A camera device that this program feeds."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        """Open the first free virtual camera of the system.

        Raises:
            SettingError: the package is missing, or the system has no such device.
        """
        package = load_package()
        try:
            self._device: Any = package.Camera(width=size[1], height=size[0], fps=fps)
        except RuntimeError as error:
            reason = " ".join(str(error).split()) or "no device"
            raise SettingError(
                f"--virtual-camera: no virtual camera can be opened ({reason[:200]}); it takes v4l2loopback on Linux, "
                "OBS on Windows and macOS"
            ) from error
        self._size = size

    @property
    def name(self) -> str:
        """The device that other programs see."""
        return str(self._device.device)

    def send(self, picture: Frame) -> None:
        """Give a picture to whoever looks. Raises OutputError if the device is gone."""
        try:
            self._device.send(resample(picture, self._size))
        except (RuntimeError, OSError) as error:
            raise OutputError(f"the virtual camera {self.name} failed ({error})") from error

    def close(self) -> None:
        """Free the device."""
        self._device.close()


def load_package() -> Any:
    """Import pyvirtualcam. Raises SettingError where it is not installed."""
    try:
        return importlib.import_module("pyvirtualcam")
    except ImportError as error:
        raise SettingError(
            "--virtual-camera needs the package pyvirtualcam: pip install 'fastnst[virtual-camera]'"
        ) from error
