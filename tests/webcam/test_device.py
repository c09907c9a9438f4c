"""Cameras through a stand-in for OpenCV: back-ends, what is asked of them, colours, damage."""

import os
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from fastnst.errors import InputError, SettingError
from fastnst.io.blending import load_opencv
from fastnst.webcam.capture import CameraLostError
from fastnst.webcam.devices import CameraSettings, open_camera

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


def test_a_network_camera_is_taken_as_it_is() -> None:
    device = Device(BLUE_LEFT)
    devices = Devices(device)
    camera = open_camera(CameraSettings(camera="rtsp://door/1"), capture=devices)
    assert devices.asked == [("rtsp://door/1", cv2.CAP_ANY)]
    assert device.asked == []
    assert camera.name == "rtsp://door/1"


def test_frames_are_rgb() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT, BLUE_LEFT)))
    frame = camera.read()
    np.testing.assert_array_equal(frame[0], [[0, 0, 255], [0, 0, 255], [0, 0, 0], [0, 0, 0]])


def test_mirror_exchanges_left_and_right() -> None:
    camera = open_camera(CameraSettings(mirror=True), capture=Devices(Device(BLUE_LEFT, BLUE_LEFT)))
    np.testing.assert_array_equal(camera.read()[0], [[0, 0, 0], [0, 0, 0], [0, 0, 255], [0, 0, 255]])


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 1), (2, 4, 4)])
def test_grey_and_transparent_cameras(shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 90, np.uint8)
    frame = open_camera(CameraSettings(), capture=Devices(Device(picture, picture))).read()
    np.testing.assert_array_equal(frame, np.full((2, 4, 3), 90))


def test_damaged_pictures_are_passed_over() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT, None, np.empty((0,)), BLUE_LEFT)))
    assert camera.read().shape == (2, 4, 3)


def test_only_damaged_pictures_mean_that_the_camera_is_lost() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT, *[None] * 100)))
    with pytest.raises(CameraLostError):
        camera.read()


def test_unplugged() -> None:
    camera = open_camera(CameraSettings(), capture=Devices(Device(BLUE_LEFT)))
    with pytest.raises(CameraLostError, match="camera 0"):
        camera.read()


def test_a_camera_in_use_says_so() -> None:
    devices = Devices(Device(), Device())
    with pytest.raises(InputError, match="opens but gives no pictures; is another program using it"):
        open_camera(CameraSettings(), capture=devices)


def test_a_dead_address_is_not_taken_for_a_camera_that_is_unplugged() -> None:
    with pytest.raises(InputError, match=r"rtsp://127\.0\.0\.1:1/x: no camera answers at this address; check"):
        open_camera(CameraSettings(camera="rtsp://127.0.0.1:1/x"), capture=Devices(Device(opens=False)))


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
