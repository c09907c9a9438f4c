"""Where painted pictures go besides the screen: recordings, snapshots, a virtual camera.

What is shown is recorded in a thread of its own, into a file that appears when it is whole. Frames are uint8 (H, W, 3)
RGB; sizes are (height, width).
"""

import importlib
import queue
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from fastnst.errors import OutputError, SettingError
from fastnst.io.blending import resample
from fastnst.io.files import atomic_path
from fastnst.io.images import Frame, Picture, signed, write_picture
from fastnst.video.codecs import encoder_options
from fastnst.video.color import FromRgb, encoded_colors
from fastnst.video.decoder import reason
from fastnst.video.encoder import Encoding, add_encoder
from fastnst.video.film import Colors

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's word for each suffix."""

_ENCODER, _QUALITY, _PRESET = "libx264", 20, "superfast"
_TIME_BASE = Fraction(1, 90_000)
# Pictures that wait for the encoder; more are left out, so that a slow disk never holds up the screen.
_DEPTH = 16
# One thread takes 12 ms for a picture of 1280 x 720 at this preset, and leaves the other cores to the network.
_THREADS = 1
_WAIT_S = 0.2
_RGB = Colors(0, True, 1, 1)


class FilmRecorder:
    """Encodes pictures with the times at which they were captured (H.264 in MP4, MOV or Matroska)."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, *, overwrite: bool = False) -> None:
        """Open a file beside `path` that takes its name at the end.

        Args:
            path: ends in .mp4, .mov or .mkv.
            size: of the film; odd sides lose their last row or column, which H.264 as players show it cannot hold.
            fps: about how many pictures a second will come.
            overwrite: replace a file that is there.

        Raises:
            OutputError: another suffix, a file that is there, or one that cannot be written.
        """
        check_path(path, overwrite=overwrite)
        self._overwrite = overwrite
        self.path = path
        self.dropped = 0
        """Pictures that the encoder had no time for."""

        self.seconds = 0.0
        """Length so far."""

        self._size = (max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2))
        self._begin_s: float | None = None
        self._queue: queue.Queue[tuple[Frame, float] | None] = queue.Queue(_DEPTH)
        self._error: BaseException | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(fps,), name="recorder", daemon=True)
        self._thread.start()
        self._opened.wait()
        self._raise()

    def write(self, picture: Frame, captured_s: float) -> None:
        """Hand over a picture, which must not change any more. Raises OutputError if an earlier one failed."""
        self._raise()
        self._begin_s = captured_s if self._begin_s is None else self._begin_s
        time_s = captured_s - self._begin_s
        try:
            self._queue.put_nowait((picture, time_s))
        except queue.Full:
            self.dropped += 1
        else:
            self.seconds = time_s

    def finish(self) -> None:
        """Encode what waits, and give the file its name. Raises OutputError if the film could not be written."""
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=_WAIT_S)
                break
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self, fps: float) -> None:
        try:
            with atomic_path(self.path, overwrite=self._overwrite) as temporary:
                self._encode(temporary, fps)
        except (av.FFmpegError, ValueError) as error:
            self._error = OutputError(f"{self.path}: cannot be written ({reason(error)})")
        except BaseException as error:
            self._error = error
        finally:
            self._opened.set()

    def _encode(self, temporary: Path, fps: float) -> None:
        container = CONTAINERS[self.path.suffix.lower()]
        encoding = self._encoding(container, fps)
        convert = FromRgb(encoding.pixel_format, encoding.colors)
        with av.open(f"file:{temporary}", "w", format=container) as film:
            stream = add_encoder(film, encoding)
            self._opened.set()
            last = -1
            while (item := self._queue.get()) is not None:
                picture, time_s = item
                coded: Any = convert(self._fit(picture))
                last = max(last + 1, round(time_s / _TIME_BASE))
                coded.pts, coded.time_base = last, _TIME_BASE
                film.mux(stream.encode(coded))
            if last < 0:
                raise OutputError(f"{self.path}: not one picture came to be recorded")
            film.mux(stream.encode(None))

    def _encoding(self, container: str, fps: float) -> Encoding:
        return Encoding(
            encoder=_ENCODER,
            size=self._size,
            pixel_format="yuv420p",
            time_base=_TIME_BASE,
            rate=Fraction(fps).limit_denominator(1001),
            colors=encoded_colors(_RGB, self._size[0]),
            threads=_THREADS,
            container=container,
            options=encoder_options(_ENCODER, _QUALITY, _PRESET),
        )

    def _fit(self, picture: Frame) -> Frame:
        """Cut off an odd row and column; after a camera of another size was plugged in, resample."""
        height, width = picture.shape[:2]
        if (height // 2 * 2, width // 2 * 2) == self._size:
            return picture[: self._size[0], : self._size[1]]
        return resample(picture, self._size)


def check_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a recording's name that cannot be. Raises OutputError."""
    if path.suffix.lower() not in CONTAINERS:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise OutputError(f"{path}: {found}; expected a film to record into: .mp4, .mov or .mkv")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: already exists; --overwrite replaces it")


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

    def _begin(self, size: tuple[int, int]) -> FilmRecorder:

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
