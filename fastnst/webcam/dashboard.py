"""What stands written on the picture: status, notices, help, troubles.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

from collections.abc import Sequence

import numpy as np

from fastnst.io.images import Frame
from fastnst.webcam.inference_thread import StylizedShot
from fastnst.webcam.keys import help_lines
from fastnst.webcam.meter import Meter
from fastnst.webcam.overlay import Panel, dim, write_on

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
            words.append("own colours")
        if recorded_s is not None:
            words.append(f"REC {int(recorded_s) // 60}:{int(recorded_s) % 60:02d}")
        return words
