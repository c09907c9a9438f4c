"""Smooth noise on what a network gets, so that flat parts of a photo become strokes.

A convolution of a flat area can give only a constant, or a pattern that repeats with the network's stride: there is
nothing in it for strokes to begin at. Ulyanov et al. (2016, "Texture networks", section 4.2) feed noise beside the
picture; here a little gray noise of several sizes is added to the photo, in training a new one for each picture, in use
always the same, as part of a tile that repeats.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastnst.io.blending import load_opencv
from fastnst.io.images import Frame

SIZES = (2, 4, 8, 16, 32)
"""Pixels from one random value to the next; each size has the same share of the variance."""

TILE = 512
"""Side of the tile of noise that is used outside of training, pixels."""

UNITS = 32
"""The tile's values are whole numbers; so many are one standard deviation."""

MAX_LEVELS = 64.0
"""Largest standard deviation of the noise that is taken, levels of 255."""

_SEED = 1605


def smooth_noise(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    """Noise of mean 0 and variance 1, (side, side), that goes on over its borders; `side` is a multiple of 32."""
    load_opencv()
    import cv2  # noqa: PLC0415 - not before what it reads from the environment stands there

    noise = np.zeros((side, side), np.float32)
    for size in SIZES:
        values = np.pad(rng.standard_normal((side // size, side // size), np.float32), 2, mode="wrap")
        larger = cv2.resize(values, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)
        part = larger[2 * size : 2 * size + side, 2 * size : 2 * size + side]
        noise += (part - part.mean()) / part.std()
    return noise / np.float32(len(SIZES) ** 0.5)


@lru_cache(maxsize=1)
def noise_tile() -> npt.NDArray[np.int8]:
    """The tile of noise that every picture gets, (512, 512), 32 to one standard deviation."""
    noise = smooth_noise(np.random.default_rng(_SEED), TILE)
    tile = np.clip(np.rint(UNITS * noise), -127, 127).astype(np.int8)
    tile.flags.writeable = False
    return tile


def tiled_noise(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The tile, repeated over a `size` (height, width), of variance 1."""
    rows, columns = (np.arange(side) % TILE for side in size)
    return noise_tile()[np.ix_(rows, columns)].astype(np.float32) / np.float32(UNITS)


def with_noise(frame: Frame, levels: float) -> Frame:
    """Frames, uint8 (H, W, 3) or (N, H, W, 3), with noise of so many levels of 255 (its standard deviation) on them.

    The noise begins anew in each frame's upper left corner, so a film's frames all have the same.
    """
    if levels == 0:
        return frame
    if frame.ndim == 4:
        return np.stack([with_noise(each, levels) for each in frame])
    import cv2  # noqa: PLC0415

    more, less = _strips(frame.shape[1], levels)
    noisy = np.empty_like(frame)
    for top in range(0, frame.shape[0], TILE):
        part, place = frame[top : top + TILE], noisy[top : top + TILE]
        cv2.add(np.ascontiguousarray(part), more[: len(part)], dst=place)
        cv2.subtract(place, less[: len(part)], dst=place)
    return noisy


@lru_cache(maxsize=2)
def _strips(width: int, levels: float) -> tuple[Frame, Frame]:
    """What the tile, repeated over a width, adds and what it takes away, in levels: each (512, width, 3)."""
    added = np.floor(noise_tile() * (levels / UNITS) + 0.5)
    across = np.repeat(np.take(added, np.arange(width) % TILE, axis=1)[..., None], 3, axis=2)
    return across.clip(0, 255).astype(np.uint8), (-across).clip(0, 255).astype(np.uint8)
