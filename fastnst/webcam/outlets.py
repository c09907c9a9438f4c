"""Where painted pictures go: the screen, with what stands written on it, recordings, snapshots, a virtual camera.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

import importlib
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fastnst.errors import OutputError, SettingError
from fastnst.io.blending import resample
from fastnst.io.images import Frame, Picture, signed, write_picture
from fastnst.machine import install_line
from fastnst.webcam.inference_thread import StylizedShot
from fastnst.webcam.settings import help_lines

if TYPE_CHECKING:
    from fastnst.webcam.films import FilmRecorder

Place: TypeAlias = Literal["top", "middle", "bottom"]

# Letters are as high as this share of the picture, but never too small to read.
_LETTER_SHARE, _SMALLEST_LETTER = 0.03, 11
_LINE_SPACING = 1.35


@dataclass(frozen=True)
class Panel:
    """Lines of text on a dark ground."""

    lines: tuple[str, ...]
    place: Place
    """top and bottom are at the left edge."""


def write_on(frame: Frame, panels: Sequence[Panel]) -> Frame:
    """Return the frame with panels laid over it; what does not fit is made smaller, then cut off."""
    written = frame.copy()
    for panel in panels:
        if any(panel.lines):
            _lay(written, panel)
    return written


def dim(frame: Frame) -> Frame:
    """Return the frame at a third of its brightness, behind a message."""
    return frame // 3


def _lay(written: Frame, panel: Panel) -> None:
    height, width = written.shape[:2]
    letter = max(_SMALLEST_LETTER, round(height * _LETTER_SHARE))
    ink = _render(panel.lines, letter)
    fit = min((width - 2) / ink.shape[1], (height - 2) / ink.shape[0])
    if fit < 1:
        ink = _render(panel.lines, max(6, int(letter * fit)))
    ink = ink[:height, :width]
    rows, columns = ink.shape
    edge = min(letter // 2, height - rows, width - columns)
    middle = (height - rows) // 2
    top = {"top": edge, "middle": middle, "bottom": height - rows - edge}[panel.place]
    left = (width - columns) // 2 if panel.place == "middle" else edge
    ground = written[top : top + rows, left : left + columns]
    # A third of the picture shines through; white letters over it.
    faded = (ground // 3).astype(np.uint16)
    ground[:] = faded + (255 - faded) * ink[..., None] // 255


@lru_cache(maxsize=32)
def _render(lines: tuple[str, ...], letter: int) -> npt.NDArray[np.uint16]:
    """Draw lines as ink, 0 to 255, (H, W). Kept, for the words change far less often than the picture."""
    font = ImageFont.load_default(letter)
    margin, spacing = letter // 2, round(letter * _LINE_SPACING)
    width = max(round(font.getlength(line)) for line in lines) + 2 * margin
    picture = Image.new("L", (width, spacing * len(lines) + margin))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((margin, margin // 2 + number * spacing), line, fill=255, font=font)
    ink = np.asarray(picture).astype(np.uint16)
    ink.setflags(write=False)
    return ink


# What the eye should read is a mean over about this long.
_SPAN_S = 2.0


class Meter:
    """Counts pictures as they are shown."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()
        self._latencies: list[float] = []

    @property
    def shown(self) -> int:
        """Pictures so far."""
        return len(self._latencies)

    def note(self, captured_s: float, shown_s: float) -> None:
        """Count a picture that arrived at `captured_s` and was on the screen at `shown_s`."""
        latency_ms = (shown_s - captured_s) * 1000
        self._latencies.append(latency_ms)
        self._recent.append((shown_s, latency_ms))
        while self._recent[0][0] < shown_s - _SPAN_S:
            self._recent.popleft()

    def fps(self, now_s: float) -> float:
        """Pictures a second over the last two seconds, or since the first one."""
        since = [shown_s for shown_s, _ in self._recent if shown_s >= now_s - _SPAN_S]
        if len(since) < 2:
            return 0.0
        # While pictures come, time counts between them; once they stop, up to now.
        end_s = since[-1] if now_s - since[-1] < 2 * (since[-1] - since[0]) / (len(since) - 1) else now_s
        return (len(since) - 1) / (end_s - since[0])

    def latency_ms(self) -> float:
        """From capture to screen, median over the last two seconds of pictures."""
        return median(latency for _, latency in self._recent) if self._recent else 0.0

    def latency_share_ms(self, share: float) -> float:
        """The latency that this share of all pictures stays within."""
        if not self._latencies:
            return 0.0
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# Numbers that change faster cannot be read.
_STATUS_S = 0.5
_NOTICE_S = 2.5
_BLANK_SIZE = (480, 640)


class Dashboard:
    """The words over the picture."""

    def __init__(self, styles: Sequence[str], meter: Meter) -> None:
        """Prepare; status is shown, help is not."""
        self._styles, self._meter = list(styles), meter
        self.shows_status, self.shows_help = True, False
        self._status, self._status_until_s = "", 0.0
        self._notice, self._notice_until_s = "", 0.0

    def notice(self, words: str, now_s: float) -> None:
        """Show a line for a few seconds."""
        if words:
            self._notice, self._notice_until_s = words, now_s + _NOTICE_S

    def renew(self) -> None:
        """Write the status line anew at once, for a key has changed something."""
        self._status_until_s = 0.0

    def compose(
        self, stylized: StylizedShot | None, now_s: float, *, trouble: str, note: str, recorded_s: float | None
    ) -> Frame:
        """Lay the words over the latest picture, if there is one.

        Trouble is what is wrong with the camera; the picture is then old and shown dark. The inference thread's note
        goes before notices; `recorded_s` is the length of the recording that runs.
        """
        picture = np.zeros((*_BLANK_SIZE, 3), np.uint8) if stylized is None else stylized.picture
        if stylized is not None and now_s >= self._status_until_s:
            self._status = "   ".join(self._status_words(stylized, now_s, recorded_s))
            self._status_until_s = now_s + _STATUS_S
        middle = help_lines(self._styles) if self.shows_help else ()
        if trouble:
            picture, middle = dim(picture), (trouble,)
        panels = (
            Panel((self._status,) if self.shows_status else (), "top"),
            Panel((note or (self._notice if now_s < self._notice_until_s else ""),), "bottom"),
            Panel(middle, "middle"),
        )
        return write_on(picture, panels)

    def _status_words(self, stylized: StylizedShot, now_s: float, recorded_s: float | None) -> list[str]:
        controls, (height, width) = stylized.controls, stylized.size
        words = [stylized.style, f"{self._meter.fps(now_s):.0f} fps", f"{self._meter.latency_ms():.0f} ms"]
        words.append(f"{width} x {height}")
        words += [f"{name} {share:.0%}" for name, share in stylized.mixed if share]
        strength = min(controls.strength, stylized.most)
        if strength != 1:
            words.append(f"strength {strength:.1f}")
        if controls.preserve_color:
            words.append("own colors")
        if recorded_s is not None:
            words.append(f"REC {int(recorded_s) // 60}:{int(recorded_s) % 60:02d}")
        return words


class VirtualCamera:
    """A camera device that this program feeds."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        """Open the first free virtual camera of the system.

        Raises SettingError: the package is missing, or the system has no such device.
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


class Outlets:
    """Files and devices of one run. Methods return a line for the viewer, empty if there is nothing to say."""

    def __init__(self, folder: Path, fps: float, tell: Callable[[str], None]) -> None:
        """Prepare for snapshots and recordings in a folder, of about `fps` pictures a second.

        `tell` is called with a line when a file is written or fails.
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
        """Hand a picture on, which must not change any more. Raises SettingError: there is no virtual camera."""
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
