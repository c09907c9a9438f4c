"""Key codes of the systems, and machines without a screen."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastnst.errors import SettingError
from fastnst.webcam import devices
from fastnst.webcam.devices import NoScreen, Window, key_name, why_no_window


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


def test_no_display(linux: pytest.MonkeyPatch) -> None:
    linux.delenv("DISPLAY", raising=False)
    with pytest.raises(SettingError, match=r"DISPLAY is not set\)\. --record FILE works without one"):
        Window("fastnst")


def test_a_display_that_does_not_answer(linux: pytest.MonkeyPatch) -> None:
    linux.setenv("DISPLAY", ":98765")
    assert why_no_window() == "the screen DISPLAY=:98765 does not answer"


def test_opencv_without_windows(linux: pytest.MonkeyPatch) -> None:
    linux.setattr(cv2, "currentUIFramework", lambda: "")
    assert "opencv-python-headless" in why_no_window()

    def raises() -> str:
        raise cv2.error("not implemented")

    linux.setattr(cv2, "currentUIFramework", raises)
    assert "opencv-python-headless" in why_no_window()


def test_other_systems_have_a_screen(linux: pytest.MonkeyPatch) -> None:
    linux.delenv("DISPLAY", raising=False)
    linux.setattr(devices.sys, "platform", "win32")
    assert why_no_window() == ""


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
