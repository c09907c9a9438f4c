"""Cameras through a stand-in for OpenCV: back-ends, what is asked of them, colours, damage."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fastnst.errors import InputError, SettingError
from fastnst.io.blending import load_opencv
from fastnst.webcam import devices
from fastnst.webcam.capture import CameraLostError
from fastnst.webcam.devices import CameraSettings, NoScreen, Window, key_name, open_camera, why_no_window

BLUE_LEFT = np.zeros((2, 4, 3), np.uint8)
BLUE_LEFT[:, :2, 0] = 255  # blue comes first in BGR


class Device:
    """A stand-in for cv2.VideoCapture."""

    def __init__(self, *pictures: Any, opens: bool = True) -> None:
        self.pictures, self.opens = list(pictures), opens
        self.asked: list[tuple[int, float]] = []
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opens

    def set(self, name: int, value: float) -> bool:
        self.asked.append((name, value))
        return True

    def grab(self) -> bool:
        return bool(self.pictures)

    def retrieve(self) -> tuple[bool, Any]:
        picture = self.pictures.pop(0)
        return picture is not None, picture

    def release(self) -> None:
        self.released = True


class Devices:
    """Gives devices one after another, and notes what was asked for."""

    def __init__(self, *devices: Device) -> None:
        self.waiting, self.asked = list(devices), []

    def __call__(self, source: int | str, api: int) -> Device:
        self.asked.append((source, api))
        return self.waiting.pop(0)


@pytest.mark.parametrize(
    ("platform", "apis"),
    [
        ("linux", [cv2.CAP_V4L2, cv2.CAP_ANY]),
        ("win32", [cv2.CAP_DSHOW, cv2.CAP_MSMF]),
        ("darwin", [cv2.CAP_AVFOUNDATION, cv2.CAP_ANY]),
    ],
)
def test_auto_tries_the_systems_back_ends_in_order(
    platform: str, apis: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    dead = Device(opens=False)
    devices = Devices(dead, Device(BLUE_LEFT))
    open_camera(CameraSettings(camera="1"), capture=devices)
    assert devices.asked == [(1, api) for api in apis]
    assert dead.released


def test_a_back_end_asked_for_by_name_is_the_only_one_tried() -> None:
    devices = Devices(Device(opens=False))
    with pytest.raises(InputError, match=r"camera 0: cannot be opened.* \(tried msmf\)"):
        open_camera(CameraSettings(backend="msmf"), capture=devices)
    assert devices.asked == [(0, cv2.CAP_MSMF)]


def test_a_camera_is_asked_for_compressed_pictures_first_and_a_short_queue() -> None:
    device = Device(BLUE_LEFT)
    open_camera(CameraSettings(size=(480, 640), fps=25), capture=Devices(device))
    assert device.asked == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, 25),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]


def test_network_cameras_are_taken_as_they_are_and_dead_ones_named() -> None:
    device = Device(BLUE_LEFT)
    devices = Devices(device)
    camera = open_camera(CameraSettings(camera="rtsp://door/1"), capture=devices)
    assert devices.asked == [("rtsp://door/1", cv2.CAP_ANY)]
    assert device.asked == []
    assert camera.name == "rtsp://door/1"
    with pytest.raises(InputError, match=r"rtsp://127\.0\.0\.1:1/x: no camera answers at this address; check"):
        open_camera(CameraSettings(camera="rtsp://127.0.0.1:1/x"), capture=Devices(Device(opens=False)))


def test_mirror_exchanges_left_and_right() -> None:
    camera = open_camera(CameraSettings(mirror=True), capture=Devices(Device(BLUE_LEFT, BLUE_LEFT)))
    np.testing.assert_array_equal(camera.read()[0], [[0, 0, 0], [0, 0, 0], [0, 0, 255], [0, 0, 255]])


def test_grey_and_transparent_cameras() -> None:
    grey = np.full((2, 4), 90, np.uint8)
    clear = np.full((2, 4, 4), (30, 60, 90, 7), np.uint8)
    for picture, color in ((grey, (90, 90, 90)), (grey[..., None], (90, 90, 90)), (clear, (90, 60, 30))):
        frame = open_camera(CameraSettings(), capture=Devices(Device(picture, picture))).read()
        np.testing.assert_array_equal(frame, np.full((2, 4, 3), color))


def test_damaged_pictures_are_passed_over() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT, None, np.empty((0,)), BLUE_LEFT)))
    assert camera.read().shape == (2, 4, 3)


def test_unplugged_and_damaged_for_long_are_lost() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT, *[None] * 100)))
    with pytest.raises(CameraLostError):
        camera.read()
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT)))
    with pytest.raises(CameraLostError, match="camera 0"):
        camera.read()


def test_a_camera_in_use_says_so() -> None:
    devices = Devices(Device(), Device())
    with pytest.raises(InputError, match="opens but gives no pictures; is another program using it"):
        open_camera(CameraSettings(), capture=devices)


def test_the_environment_is_prepared_but_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "")
    monkeypatch.delenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT")
    monkeypatch.setenv("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "1")
    load_opencv()
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "2"
    assert os.environ["OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS"] == "1"


def test_a_missing_system_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(SettingError, match=r"libGL\.so\.1: cannot open .* apt-get install libgl1"):
        load_opencv()


# Key codes of the systems, and machines without a screen.


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (-1, ""),
        (0, ""),
        (110, "n"),
        (43, "+"),
        (27, "escape"),
        (0xFF51, "left"),  # X11
        (0xFF53, "right"),
        (2424832, "left"),  # Windows
        (2555904, "right"),
        (63234, "left"),  # macOS
        (0x100000 + 110, "n"),  # GTK with Num Lock
        (0x100000 + 0xFF53, "right"),
        (0xFFC8, ""),  # F11
        (13, ""),
        (0xE1, ""),  # Shift
    ],
)
def test_key_names(code: int, name: str) -> None:
    assert key_name(code) == name


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    return monkeypatch


def test_displays_that_do_not_answer_and_other_systems(linux: pytest.MonkeyPatch) -> None:
    linux.setenv("DISPLAY", ":98765")
    assert why_no_window() == "the screen DISPLAY=:98765 does not answer"
    linux.delenv("DISPLAY", raising=False)
    linux.setattr(devices.sys, "platform", "win32")
    assert why_no_window() == ""


def test_opencv_without_windows(linux: pytest.MonkeyPatch) -> None:
    linux.setattr(cv2, "currentUIFramework", lambda: "")
    assert "opencv-python-headless" in why_no_window()

    def raises() -> str:
        raise cv2.error("not implemented")

    linux.setattr(cv2, "currentUIFramework", raises)
    assert "opencv-python-headless" in why_no_window()


def test_without_xlib_the_socket_is_asked(linux: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(_name: str) -> None:
        raise OSError("no such library")

    linux.setattr(devices.ctypes, "CDLL", missing)
    with socket.create_server(("127.0.0.1", 0)) as server:
        linux.setattr(devices, "_X_PORT", server.getsockname()[1] - 3)
        linux.setenv("DISPLAY", "127.0.0.1:3.0")
        assert why_no_window() == ""
    linux.setenv("DISPLAY", "127.0.0.1:nonsense")
    assert "does not answer" in why_no_window()
    linux.setenv("DISPLAY", ":98765")
    assert "does not answer" in why_no_window()


class Windows:
    """A stand-in for OpenCV's windows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key, self.visible, self.shown, self.calls = -1, 1.0, [], []
        monkeypatch.setattr(devices, "why_no_window", lambda: "")
        for name in ("namedWindow", "resizeWindow", "setWindowProperty", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, lambda *_given, name=name: self.calls.append(name))
        monkeypatch.setattr(cv2, "imshow", lambda _title, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKeyEx", lambda _ms: self.key)
        monkeypatch.setattr(cv2, "getWindowProperty", self.property)
        monkeypatch.setattr(cv2, "getWindowImageRect", lambda _title: (0, 0, 200, 100))

    def property(self, *_given: object) -> float:
        if self.visible < 0:
            raise cv2.error("NULL guiReceiver")
        return self.visible


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    return Windows(monkeypatch)


def test_a_window_opens_with_the_first_picture_and_shows_bgr(windows: Windows) -> None:
    window = Window("fastnst")
    assert window.pressed() == ()
    window.close()
    assert windows.calls == []
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    window.show(red)
    assert windows.calls == ["namedWindow", "resizeWindow"]
    assert windows.shown[0][0, 0].tolist() == [0, 0, 255]
    windows.key = ord("s")
    assert window.pressed() == ("s",)
    windows.key = -1
    assert window.pressed() == ()
    window.close()
    assert "destroyAllWindows" in windows.calls


@pytest.mark.parametrize("visible", [0.0, -1.0])
def test_closing_the_window_quits(windows: Windows, visible: float) -> None:
    window = Window("fastnst")
    window.show(np.zeros((2, 2, 3), np.uint8))
    windows.visible = visible
    assert window.pressed() == ("q",)
    window.close()


def test_full_screen_is_black_around_the_picture(windows: Windows) -> None:
    window = Window("fastnst")
    grey = np.full((60, 60, 3), 90, np.uint8)
    window.show(grey)
    window.toggle_full_screen()
    window.show(grey)
    assert windows.shown[-1].shape == (60, 120, 3)  # the screen is twice as wide as high
    assert windows.shown[-1][30].tolist() == [[0] * 3] * 30 + [[90] * 3] * 60 + [[0] * 3] * 30
    window.toggle_full_screen()
    window.show(grey)
    assert windows.shown[-1].shape == (60, 60, 3)


def test_no_screen_does_nothing() -> None:
    nothing = NoScreen()
    nothing.toggle_full_screen()
    nothing.close()
    assert nothing.pressed() == ()
    assert not nothing.visible
