"""Synthetic motion: a picture that moves, turns, grows or only carries sensor noise, so that the flow is exact.

Coordinates are (x, y) = (column, row) of pixel centres. An affine map is float64 (2, 3): (x, y, 1) -> (x, y).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastnst.errors import InputError
from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.metrics.flow import Flow, still
from fastnst.metrics.motion import Affine, Motion
from fastnst.metrics.scenes import Scene, exact_scene

WINDOW = 0.8
"""Sides of the frames as parts of the picture's sides: the rest is there to move into view."""

NOISE_LEVELS = 2.0
"""Standard deviation of the sensor noise, levels of 255: about that of a camera in daylight."""


MOTIONS = (
    # Not a multiple of 4, on whose grid networks with two strided convolutions repeat themselves exactly; and whole
    # pixels, so that the unstylized floor is 0.
    Motion("translation", shift=(3.0, 1.0)),
    Motion("zoom", zoom=1.01),
    Motion("rotation", degrees=0.5),
)
"""The motions that `moving_scenes` uses."""


def moving_scene(name: str, picture: Frame, motion: Motion, *, frames: int, long_side: int) -> Scene:
    """Let a picture move behind a window and return what is seen, with the exact flow.

    Args:
        name: of the picture.
        picture: uint8 (H, W, 3).
        motion: from each frame to the next.
        frames: at least 2.
        long_side: of the frames, pixels.

    Raises:
        InputError: the motion leads out of the picture.
    """
    source = resize_frame(picture, fit_long_side(_size_of(picture), round(long_side / WINDOW)))
    source_size = _size_of(source)
    size = round(source_size[0] * WINDOW), round(source_size[1] * WINDOW)
    maps = [motion.to_source(step, size, source_size) for step in range(frames)]
    if not all(_stays_inside(affine, size, source_size) for affine in maps):
        raise InputError(f"{name}: {frames} frames of {motion.name} leave the picture; take fewer, or larger frames")
    flows = [_flow(before, after, size) for before, after in pairwise(maps)]
    return exact_scene(f"{name} {motion.name}", "synthetic motion", [_render(source, a, size) for a in maps], flows)


def noisy_scene(
    name: str, picture: Frame, *, frames: int, long_side: int, levels: float = NOISE_LEVELS, seed: int = 0
) -> Scene:
    """The same picture in each frame, with independent Gaussian noise as a camera's sensor adds it.

    Args:
        name: of the picture.
        picture: uint8 (H, W, 3).
        frames: at least 2.
        long_side: of the frames, pixels.
        levels: standard deviation of the noise, levels of 255.
        seed: of the noise.
    """
    clean = resize_frame(picture, fit_long_side(_size_of(picture), long_side))
    rng = np.random.default_rng(seed)
    noisy = [np.rint(clean + rng.normal(0, levels, clean.shape)).clip(0, 255).astype(np.uint8) for _ in range(frames)]
    return exact_scene(name, "noise", noisy, [still(*clean.shape[:2])] * (frames - 1))


def moving_scenes(
    pictures: Sequence[tuple[str, Frame]], *, frames: int, long_side: int, motions: Sequence[Motion] = MOTIONS
) -> list[Scene]:
    """Each named picture in each motion, and standing still with sensor noise."""
    scenes = []
    for name, picture in pictures:
        scenes += [moving_scene(name, picture, motion, frames=frames, long_side=long_side) for motion in motions]
        scenes.append(noisy_scene(name, picture, frames=frames, long_side=long_side))
    return scenes


def _flow(before: Affine, after: Affine, size: tuple[int, int]) -> Flow:
    """Where each pixel's place in the source is one frame later, minus where it is now: (H, W, 2)."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    source_x, source_y = _apply(before, columns, rows)
    back = np.linalg.inv(np.vstack([after, [0, 0, 1]]))[:2]
    x, y = _apply(back, source_x, source_y)
    return np.stack([x - columns, y - rows], axis=2).astype(np.float32)


def _apply(
    affine: Affine, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    (a, b, c), (d, e, f) = affine
    return a * x + b * y + c, d * x + e * y + f


def _render(source: Frame, affine: Affine, size: tuple[int, int]) -> Frame:
    (a, b, c), (d, e, f) = affine
    # Pillow counts from the pixels' corners: half a pixel is taken off before and added after.
    shifted = (a, b, c + 0.5 - 0.5 * (a + b), d, e, f + 0.5 - 0.5 * (d + e))
    seen = Image.fromarray(source).transform(
        (size[1], size[0]), Image.Transform.AFFINE, shifted, Image.Resampling.BICUBIC
    )
    return np.array(seen)


def _stays_inside(affine: Affine, size: tuple[int, int], source_size: tuple[int, int]) -> bool:
    corners_x = np.array([0, size[1] - 1, 0, size[1] - 1], np.float64)
    corners_y = np.array([0, 0, size[0] - 1, size[0] - 1], np.float64)
    x, y = _apply(affine, corners_x, corners_y)
    # Two pixels of room for the bicubic filter.
    return bool(min(x.min(), y.min()) >= 1 and x.max() <= source_size[1] - 3 and y.max() <= source_size[0] - 3)


def _size_of(frame: Frame) -> tuple[int, int]:
    return frame.shape[0], frame.shape[1]
