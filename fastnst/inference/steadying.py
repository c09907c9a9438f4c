"""Holding a painted film steady: what only moves in the film keeps the paint that it has.

A network that paints each frame alone paints two frames that look alike differently, and the film flickers. Here the
result for the frame before is moved along the optical flow of the unpainted film and laid over the new one, with the
weight of Bonneel et al. (2015, "Blind video temporal consistency", equation 4): lambda exp(-alpha d^2), where d is how
much the unpainted frame differs from the one before, moved likewise. They solve for gradients; here it is the levels
themselves, which takes no solver. What comes into view, and a new scene, is painted afresh.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fastnst.errors import SettingError
from fastnst.io.blending import load_opencv
from fastnst.io.files import atomic_path
from fastnst.io.images import Frame

Floats: TypeAlias = npt.NDArray[np.float32]

# Levels of difference at which the weight has fallen to exp(-1/2).
_TOLERANCE = 8.0
# Differences are averaged over so many pixels a side: noise of a sensor is no motion.
_AROUND = 5
# Flow is estimated on frames reduced to this long side, pixels: finer it is not better, and slow.
_FLOW_SIDE = 960
_SMALLEST_SIDE = 16
_MOST = 0.95


def check_steady(steady: float) -> None:
    """Raise SettingError for a share of the frame before that is none, or so large that nothing new would be seen."""
    if not 0 <= steady <= _MOST:
        raise SettingError(f"steady {steady:g}: expected 0 (each frame for itself) to {_MOST} (held tight)")


class Past(NamedTuple):
    """The frame before: all that the next one depends on."""

    photo: Frame
    """Unpainted."""

    painted: Frame
    """As it was given out."""


def save_past(path: Path, past: Past) -> None:
    """Write what is needed to go on from a frame. Raises OutputError."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, photo=past.photo, painted=past.painted)


def load_past(path: Path) -> Past | None:
    """Read it again; None where it is missing or damaged."""
    try:
        # Given a name, np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return Past(saved["photo"], saved["painted"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


class Steadier:
    """Holds one film steady; call it with its frames in order."""

    def __init__(self, hold: float, past: Past | None = None) -> None:
        """Hold a share of the frame before, 0 to 0.95, in what has not changed; goes on from `past`, if there is one.

        Raises SettingError for another share, or where OpenCV cannot be loaded.
        """
        check_steady(hold)
        load_opencv()
        import cv2  # noqa: PLC0415 - only films that are held need it

        levels = np.arange(256, dtype=np.float32)
        self._weights = np.float32(hold) * np.exp(-np.square(levels) / np.float32(2 * _TOLERANCE**2))
        self._grid = np.zeros((2, 0, 0), np.float32)
        self.past = past
        """The last frame."""

        # OpenCV's type hints do not know that None means no first guess.
        self._search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, photo: Frame, painted: Frame) -> Frame:
        """Hold what was painted of a photo, of the same size, to the frame before; gives a new frame."""
        past, steady = self.past, painted
        if past is not None and past.photo.shape == photo.shape and min(photo.shape[:2]) >= _SMALLEST_SIDE:
            steady = self._hold_to(past, photo, painted)
        self.past = Past(photo, steady)
        return steady

    def _hold_to(self, past: Past, photo: Frame, painted: Frame) -> Frame:
        import cv2  # noqa: PLC0415

        x, y = self._follow_back(past.photo, photo)
        moved = cv2.remap(past.photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        held = cv2.remap(past.painted, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        weight = self._weigh(photo, np.asarray(moved, np.uint8), x, y)
        return np.asarray(cv2.blendLinear(held, painted, weight, 1 - weight), np.uint8)

    def _weigh(self, photo: Frame, moved: Frame, x: Floats, y: Floats) -> Floats:
        """How much each pixel owes to the frame before, (H, W); nothing where that did not show it."""
        import cv2  # noqa: PLC0415

        height, width = photo.shape[:2]
        red, green, blue = cv2.split(cv2.absdiff(photo, moved))
        difference = cv2.blur(cv2.max(cv2.max(red, green), blue), (_AROUND, _AROUND))
        weight = np.asarray(cv2.LUT(difference, self._weights), np.float32)
        weight[(x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)] = 0
        return weight

    def _follow_back(self, before: Frame, now: Frame) -> tuple[Floats, Floats]:
        """Where each pixel of `now` was in `before`: columns (H, W) and rows (H, W)."""
        import cv2  # noqa: PLC0415

        height, width = now.shape[:2]
        scale = min(1.0, _FLOW_SIDE / max(height, width))
        small = (max(_SMALLEST_SIDE, round(width * scale)), max(_SMALLEST_SIDE, round(height * scale)))
        greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (now, before)]
        if scale < 1:
            greys = [cv2.resize(grey, small, interpolation=cv2.INTER_AREA) for grey in greys]
        flow = np.asarray(self._search.calc(*greys, None), np.float32)
        if scale < 1:
            flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
            flow *= np.array([width / small[0], height / small[1]], np.float32)
        if self._grid.shape[1:] != (height, width):
            self._grid = np.mgrid[:height, :width].astype(np.float32)
        rows, columns = self._grid
        return flow[..., 0] + columns, flow[..., 1] + rows
