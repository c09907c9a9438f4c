"""Where painted pictures go besides the screen: recordings, snapshots, a virtual camera.

Frames are uint8 (H, W, 3) RGB.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnst.errors import OutputError, SettingError
from fastnst.io.blending import resample
from fastnst.io.images import Frame, Picture, signed, write_picture
from fastnst.machine import install_line


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
            f"--virtual-camera needs the package pyvirtualcam: {install_line('virtual-camera')}"
        ) from error


if TYPE_CHECKING:
    from fastnst.webcam.films import FilmRecorder


class Outlets:
    """Files and devices of one run. Methods return a line for the viewer, empty if there is nothing to say."""

    def __init__(self, folder: Path, fps: float, tell: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            folder: where snapshots and recordings go.
            fps: about how many pictures a second will come.
            tell: called with a line when a file is written or fails.
        """
        self._folder, self._fps, self._tell = folder, fps, tell
        self._recorder: FilmRecorder | None = None
        self._wanted: tuple[Path, bool] | None = None
        self._virtual: VirtualCamera | None = None
        self._wants_virtual = False
        self.files: list[Path] = []
        """Written so far."""

        self.failures: list[str] = []
        """What could not be written, each with the reason."""

    @property
    def recorded_s(self) -> float | None:
        """Length of the recording that runs; None: none does."""
        return None if self._recorder is None else self._recorder.seconds

    def record_into(self, path: Path, *, overwrite: bool) -> None:
        """Begin a recording with the next picture. Raises OutputError for a name that cannot be."""
        # Imported only to record: PyAV and OpenCV bring an FFmpeg each, which macOS complains of.
        from fastnst.webcam.films import check_path  # noqa: PLC0415

        check_path(path, overwrite=overwrite)
        self._wanted = path, overwrite

    def feed_virtual_camera(self) -> None:
        """Open a virtual camera with the next picture. Raises SettingError where the package is missing."""
        load_package()
        self._wants_virtual = True

    def send(self, picture: Frame, captured_s: float) -> str:
        """Hand a picture on, which must not change any more.

        Raises:
            SettingError: there is no virtual camera.
        """
        size = (picture.shape[0], picture.shape[1])
        if self._wants_virtual:
            self._wants_virtual = False
            self._virtual = VirtualCamera(size, self._fps)
            self._tell(f"other programs find the pictures in {self._virtual.name}")
        try:
            if self._wanted is not None:
                self._recorder = self._begin(size)
            if self._recorder is not None:
                self._recorder.write(picture, captured_s)
        except OutputError as error:
            self._recorder = None
            return self._fail(error)
        try:
            if self._virtual is not None:
                self._virtual.send(picture)
        except OutputError as error:
            self._virtual = None
            return self._fail(error)
        return ""

    def toggle_recording(self, style: str) -> str:
        """Begin a recording with the next picture, or finish the one that runs."""
        if self._recorder is not None or self._wanted is not None:
            return self.finish_recording()
        path = self._free_name(style, ".mp4")
        self.record_into(path, overwrite=False)
        return f"recording {path.name}"

    def finish_recording(self) -> str:
        """Finish the recording that runs, if one does."""
        recorder, self._recorder, self._wanted = self._recorder, None, None
        if recorder is None:
            return ""
        try:
            recorder.finish()
        except OutputError as error:
            return self._fail(error)
        left_out = f", {recorder.dropped} pictures left out" if recorder.dropped else ""
        return self._wrote(recorder.path, f" ({recorder.seconds:.1f} s{left_out})")

    def snapshot(self, picture: Frame, style: str, words: str = "stylized") -> str:
        """Write a picture as PNG under the next free number; `words` say how it was stylized."""
        path = self._free_name(style, ".png")
        try:
            write_picture(path, signed(Picture(frame=picture), words))
        except OutputError as error:
            return self._fail(error)
        return self._wrote(path, "")

    def close(self) -> None:
        """Finish the recording and free the virtual camera."""
        self.finish_recording()
        if self._virtual is not None:
            self._virtual.close()
            self._virtual = None

    def _begin(self, size: tuple[int, int]) -> "FilmRecorder":
        from fastnst.webcam.films import FilmRecorder  # noqa: PLC0415

        assert self._wanted is not None
        (path, overwrite), self._wanted = self._wanted, None
        return FilmRecorder(path, size, self._fps, overwrite=overwrite)

    def _free_name(self, style: str, suffix: str) -> Path:
        """A name with the next number that no picture and no film has."""
        stem = re.sub(r"[^\w-]+", "_", style)
        taken = [path.stem.removeprefix(f"{stem}-") for path in self._folder.glob(f"{stem}-*")]
        number = max((int(end) for end in taken if end.isdecimal()), default=0) + 1
        return self._folder / f"{stem}-{number:04d}{suffix}"

    def _wrote(self, path: Path, detail: str) -> str:
        self.files.append(path)
        self._tell(f"{path}{detail}")
        return f"{path.name}{detail}"

    def _fail(self, error: OutputError) -> str:
        self.failures.append(str(error))
        self._tell(f"failed: {error}")
        return f"failed: {error}"
