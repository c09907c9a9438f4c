"""Camera and window through OpenCV: choosing the back-end, opening quickly, reading; showing, and the keys pressed.

H height, W width in pixels; sizes are (height, width). BGR is used here alone: frames are uint8 (H, W, 3) RGB.
"""

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from cv2.typing import MatLike

from fastnst.errors import InputError, SettingError
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
    """Open a camera with the first back-end that gives a picture; InputError where none does says what was tried.

    `capture` opens a device, its number or address and the back-end given.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Each failed attempt, and each late picture, prints lines to stderr.
        # 4.12 has the first of these alone, later versions the second.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(0)
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


# What waitKeyEx gives for the arrow keys: X11's names, Windows' virtual keys, macOS' letters.
_SPECIAL = {
    0xFF51: "left",
    0xFF53: "right",
    0x250000: "left",
    0x270000: "right",
    0xF702: "left",
    0xF703: "right",
    27: "escape",
}
# So that it fits on a laptop's screen; it can be drawn larger.
_LONGEST_WINDOW = 1280
# Pictures after which a new window has found its place.
_SETTLED = 3
_X_PORT = 6000
_CONNECT_S = 2.0


class NoScreen:
    """For machines without a screen: the pictures only go into a file or a virtual camera."""

    visible = False
    """Somebody sees the pictures."""

    def show(self, picture: Frame) -> None:
        """Do nothing."""

    def pressed(self) -> Sequence[str]:
        """No keys."""
        return ()

    def toggle_full_screen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Window:
    """A window of the system."""

    visible = True

    def __init__(self, title: str) -> None:
        """Prepare; the window opens with the first picture. Raises SettingError where there can be none."""
        reason = why_no_window()
        if reason:
            raise SettingError(f"no window can be opened: {reason}. --record FILE works without one (Ctrl-C ends it)")
        self._title, self._shown, self._full = title, 0, False

    def show(self, picture: Frame) -> None:
        """Show a picture, scaled to the window."""
        if self._shown == 0:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        # Window managers give a new window a size of their own: it is set again once the window is there.
        if self._shown in {0, _SETTLED}:
            scale = min(1.0, _LONGEST_WINDOW / max(picture.shape))
            cv2.resizeWindow(self._title, round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        self._shown += 1
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.imshow(self._title, self._on_black(bgr) if self._full else bgr)

    def pressed(self) -> Sequence[str]:
        """Let the window draw itself and answer; gives at most one key, as `Binding.keys`; q for a closed one."""
        if self._shown == 0:
            return ()
        try:
            key = key_name(cv2.waitKeyEx(1))
            closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # Qt, once its last window is closed
            key, closed = "", True
        if closed:
            return ("q",)
        return (key,) if key else ()

    def toggle_full_screen(self) -> None:
        """Fill the screen, or go back to a window."""
        self._full = not self._full
        mode = cv2.WINDOW_FULLSCREEN if self._full else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def close(self) -> None:
        """Take the window away."""
        if self._shown:
            with suppress(cv2.error):  # closed already
                cv2.destroyAllWindows()
                cv2.waitKeyEx(1)  # some systems take it away only when events are handled

    def _on_black(self, bgr: MatLike) -> MatLike:
        """Add black bars up to the shape of the screen, for Qt's are white."""
        try:
            width, height = cv2.getWindowImageRect(self._title)[2:]
        except cv2.error:
            return bgr
        if width < 1 or height < 1:
            return bgr
        rows = max(0, round(bgr.shape[1] * height / width) - bgr.shape[0]) // 2
        columns = max(0, round(bgr.shape[0] * width / height) - bgr.shape[1]) // 2
        return cv2.copyMakeBorder(bgr, rows, rows, columns, columns, cv2.BORDER_CONSTANT)


Screen: TypeAlias = Window | NoScreen
"""Where pictures are shown and keys come from."""


def key_name(code: int) -> str:
    """Name the key of a code that waitKeyEx gave; empty for none or an unknown one."""
    if code in _SPECIAL:
        return _SPECIAL[code]
    # GTK adds the state of Shift, Ctrl and Num Lock above the lower 16 bits.
    low = code & 0xFFFF
    if code < 0 or low not in range(32, 127):
        return _SPECIAL.get(low, "") if code > 0 and low > 0xFF else ""
    return chr(low)


def why_no_window() -> str:
    """Say why no window can be opened here, empty if it can. Asked first, for Qt ends the process where it cannot."""
    try:
        framework = cv2.currentUIFramework()
    except cv2.error:
        framework = ""
    if not framework:
        return "this OpenCV was built without windows (opencv-python-headless; opencv-python has them)"
    if sys.platform in {"win32", "darwin"}:
        return ""
    display = os.environ.get("DISPLAY", "")
    if not display:
        return "there is no screen (DISPLAY is not set)"
    return "" if _x_answers(display) else f"the screen DISPLAY={display} does not answer"


def _x_answers(display: str) -> bool:
    """Whether an X server lets us in."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return _socket_answers(display)
    x11.XOpenDisplay.restype, x11.XOpenDisplay.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    connection = x11.XOpenDisplay(display.encode())
    if connection:
        x11.XCloseDisplay(connection)
    return bool(connection)


def _socket_answers(display: str) -> bool:
    """Whether something listens where the X server should be; that it lets us in is not certain then."""
    host, _, number = display.rpartition(":")
    number = number.split(".")[0]
    if not number.isdecimal():
        return False
    path = Path(f"/tmp/.X11-unix/X{number}")
    family, address = (socket.AF_INET, (host, _X_PORT + int(number))) if host else (socket.AF_UNIX, str(path))
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(_CONNECT_S)
        try:
            attempt.connect(address)
        except OSError:
            return False
    return True
