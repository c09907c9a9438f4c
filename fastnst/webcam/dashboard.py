"""What stands written on the picture: status, notices, help, troubles; the frame rate and latency it tells of.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fastnst.io.images import Frame
from fastnst.webcam.inference_thread import StylizedShot
from fastnst.webcam.settings import help_lines

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
        """Lay the words over the picture.

        Args:
            stylized: the latest picture; None: there is none yet.
            now_s: the time.
            trouble: what is wrong with the camera; the picture is then old and shown dark.
            note: what the inference thread has to say; goes before notices.
            recorded_s: length of the recording that runs.
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
