"""Gradient noise and its sums, evaluated at any points, the same on every machine.

Formulas: Perlin, "Improving noise" (2002); ridged sums after Musgrave in "Texturing and Modeling" (2003), chapter 16.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PERIOD = 256


@cache
def _permutation(seed: int) -> Array:
    table = np.random.default_rng(seed).permutation(PERIOD).astype(np.int32)
    return np.concatenate([table, table])


@cache
def _directions(seed: int, dims: int) -> tuple[Array, ...]:
    vectors = np.random.default_rng(seed + 7919).normal(size=(PERIOD, dims))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return tuple(np.ascontiguousarray(axis) for axis in vectors.T.astype(np.float32))


def _fade(t: Array) -> Array:
    values: Array = t * t * t * (t * (t * 6 - 15) + 10)
    return values


def _split(values: Array) -> tuple[Array, Array]:
    floor = np.floor(values)
    return floor.astype(np.int32) & (PERIOD - 1), (values - floor).astype(np.float32)


def perlin2(x: Array, y: Array, seed: int = 0) -> Array:
    """Return gradient noise of about -0.7..0.7 with cells of size 1; x and y of one shape."""
    perm, (gx, gy) = _permutation(seed), _directions(seed, 2)
    ix, fx = _split(x)
    iy, fy = _split(y)
    row0, row1 = perm[ix], perm[ix + 1]
    u, v = _fade(fx), _fade(fy)

    def corner(row: Array, dx: int, dy: int) -> Array:
        index = perm[row + ((iy + dy) & (PERIOD - 1))]
        values: Array = gx[index] * (fx - dx) + gy[index] * (fy - dy)
        return values

    low, high = corner(row0, 0, 0), corner(row0, 0, 1)
    low += u * (corner(row1, 1, 0) - low)
    high += u * (corner(row1, 1, 1) - high)
    noise: Array = low + v * (high - low)
    return noise


def perlin3(points: Array, seed: int = 0) -> Array:
    """Return gradient noise at points (..., 3), cells of size 1."""
    perm, (gx, gy, gz) = _permutation(seed), _directions(seed, 3)
    ix, fx = _split(points[..., 0])
    iy, fy = _split(points[..., 1])
    iz, fz = _split(points[..., 2])
    u, v, w = _fade(fx), _fade(fy), _fade(fz)

    def corner(dx: int, dy: int, dz: int) -> Array:
        index = perm[perm[perm[ix + dx] + ((iy + dy) & (PERIOD - 1))] + ((iz + dz) & (PERIOD - 1))]
        values: Array = gx[index] * (fx - dx) + gy[index] * (fy - dy) + gz[index] * (fz - dz)
        return values

    def edge(dy: int, dz: int) -> Array:
        start = corner(0, dy, dz)
        values: Array = start + u * (corner(1, dy, dz) - start)
        return values

    near, far = edge(0, 0), edge(0, 1)
    near += v * (edge(1, 0) - near)
    far += v * (edge(1, 1) - far)
    noise: Array = near + w * (far - near)
    return noise


def fbm2(x: Array, y: Array, octaves: int = 5, seed: int = 0, gain: float = 0.5) -> Array:
    """Sum octaves of gradient noise, each at twice the frequency and ``gain`` times the height."""
    total, amplitude = np.zeros(np.broadcast(x, y).shape, np.float32), 1.0
    for octave in range(octaves):
        scale, shift = 2.0**octave, 17.3 * octave
        total += amplitude * perlin2(x * scale + shift, y * scale - shift, seed + octave)
        amplitude *= gain
    return total


def fbm3(points: Array, octaves: int = 4, seed: int = 0, gain: float = 0.5) -> Array:
    """Sum octaves of gradient noise at points (..., 3)."""
    total, amplitude = np.zeros(points.shape[:-1], np.float32), 1.0
    for octave in range(octaves):
        total += amplitude * perlin3(points * np.float32(2.0**octave) + np.float32(17.3 * octave), seed + octave)
        amplitude *= gain
    return total


def ridged2(x: Array, y: Array, octaves: int = 6, seed: int = 0, gain: float = 0.5) -> Array:
    """Sum octaves of 1 - |noise|: sharp crests; each octave is weighted by the one below it. About 0..2."""
    total, amplitude = np.zeros(np.broadcast(x, y).shape, np.float32), 1.0
    weight: Array = np.ones_like(total)
    for octave in range(octaves):
        scale, shift = 2.0**octave, 31.7 * octave
        crest = (1 - 1.6 * np.abs(perlin2(x * scale + shift, y * scale + shift, seed + octave))).clip(0, 1) ** 2
        total += amplitude * crest * weight
        weight, amplitude = (crest * 1.6).clip(0, 1), amplitude * gain
    return total


def grid(height: int, width: int) -> tuple[Array, Array]:
    """Return x and y of pixel centres, both (H, W), in units of the height: y 0..1 down, x 0..W/H."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (x + 0.5) / height, (y + 0.5) / height


def smoothstep(low: float | Array, high: float | Array, values: Array) -> Array:
    """Return 0 below ``low``, 1 above ``high`` and a smooth ramp between."""
    t: Array = np.clip((values - low) / (high - low), 0, 1)
    ramp: Array = t * t * (3 - 2 * t)
    return ramp


def mix(first: Array | float, second: Array | float, amount: Array | float) -> Array:
    """Return ``first`` where the amount is 0, ``second`` where it is 1."""
    mixed: Array = np.asarray(first + (second - first) * amount, np.float32)
    return mixed


def blend(first: Array, second: Array, amount: Array) -> Array:
    """Mix colours (..., 3) or (3,) by an amount of shape (...)."""
    return mix(first, second, amount[..., None])


def dots(first: Array, second: Array) -> Array:
    """Return the scalar products (N,) of vectors (N, 3)."""
    products: Array = np.einsum("ij,ij->i", first, second)
    return products


def lengths(vectors: Array) -> Array:
    """Return the lengths (N,) of vectors (N, 3)."""
    return np.sqrt(dots(vectors, vectors))
