"""Smooth noise on what a network gets, so that flat parts of a photo become strokes.

A convolution of a flat area can give only a constant, or a pattern that repeats with the network's stride: there is
nothing in it for strokes to begin at. Ulyanov et al. (2016, "Texture networks", section 4.2) feed noise beside the
picture; here a little gray noise of several sizes is added to the photo, in training a new one for each picture, in use
always the same, as part of a tile that repeats.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastnst.io.images import Frame

SIZES = (2, 4, 8, 16, 32)
"""Sizes of the blots that the noise is made of, pixels; each has the same share of the variance."""

TILE = 1024
"""Side of the tile of noise that is used outside of training, pixels."""

UNITS = 32
"""The tile's values are whole numbers; so many are one standard deviation."""

MAX_LEVELS = 64.0
"""Largest standard deviation of the noise that is taken, levels of 255."""

_WIDTH = 0.45
"""Standard deviation of a blot, a Gaussian, as a part of its size."""

_SEED = 1605


def smooth_noise(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    """Noise of mean 0 and variance 1, (side, side), that goes on over its borders.

    White noise, filtered by Gaussians as wide as each size: interpolated between random values, it would be stronger at
    every 4th pixel, say, and networks would paint that grid.
    """
    across = np.square(np.fft.rfftfreq(side))
    down = np.square(np.fft.fftfreq(side))[:, None]
    powers = [np.exp(-((2 * np.pi * _WIDTH * size) ** 2) * (across + down)) for size in SIZES]
    power = sum(each / each.mean() for each in powers)
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    noise = np.fft.irfft2(white * np.sqrt(power), (side, side))
    normal: npt.NDArray[np.float32] = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return normal


@lru_cache(maxsize=1)
def noise_tile() -> npt.NDArray[np.int8]:
    """The tile of noise that every picture gets, (1024, 1024), 32 to one standard deviation."""
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

    more, less = _strips(frame.shape[1], levels)
    noisy = np.empty_like(frame)
    for top in range(0, frame.shape[0], TILE):
        part, place = frame[top : top + TILE], noisy[top : top + TILE]
        np.add(part, np.minimum(more[: len(part)], 255 - part), out=place)
        np.subtract(place, np.minimum(less[: len(part)], place), out=place)
    return noisy


@lru_cache(maxsize=2)
def _strips(width: int, levels: float) -> tuple[Frame, Frame]:
    """What the tile, repeated over a width, adds and what it takes away, in levels: each (1024, width, 3)."""
    added = np.floor(noise_tile() * (levels / UNITS) + 0.5)
    across = np.repeat(np.take(added, np.arange(width) % TILE, axis=1)[..., None], 3, axis=2)
    return across.clip(0, 255).astype(np.uint8), (-across).clip(0, 255).astype(np.uint8)
