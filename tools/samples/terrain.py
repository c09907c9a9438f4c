"""Mountains as a height map: erosion by running water, cast shadows, and rays marched over the ground.

Maps are (H, W) float32 in metres; row is z (away from the camera), column is x.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array
from samples.strokes import sample


@dataclass(frozen=True)
class Ground:
    """A height map and where it lies: ``origin`` is x, z of the first cell, ``cell`` its sides in metres."""

    height: Array
    origin: tuple[float, float]
    cell: tuple[float, float]

    def at(self, field: Array, x: Array, z: Array) -> Array:
        """Read a map of this ground at places in metres; fields (H, W) or (H, W, C)."""
        place = np.stack([(x - self.origin[0]) / self.cell[0], (z - self.origin[1]) / self.cell[1]], axis=-1)
        return sample(field, place)


def erode(height: Array, cell: float, drops: int, rng: np.random.Generator, lifetime: int = 45) -> Array:
    """Let rain drops run down, take soil where they are fast and leave it where they slow down.

    Method: Beyer, "Implementation of a method for hydraulic erosion" (2015), with batches of drops that do not
    see each other's work.
    """
    ground: Array = height.astype(np.float32) / cell
    for _ in range(max(1, drops // 8000)):
        _run_batch(ground, 8000, lifetime, rng)
        ground = ground + 0.04 * (cv2.GaussianBlur(ground, (0, 0), 0.8) - ground)
    return ground * cell


def _run_batch(ground: Array, count: int, lifetime: int, rng: np.random.Generator) -> None:
    rows, columns = ground.shape
    slope_z, slope_x = np.gradient(ground)
    slopes = np.stack([slope_x, slope_z, ground], axis=-1).astype(np.float32)
    place = rng.uniform((2, 2), (columns - 3, rows - 3), (count, 2)).astype(np.float32)
    heading: Array = np.zeros((count, 2), np.float32)
    speed, water, soil = np.ones(count, np.float32), np.ones(count, np.float32), np.zeros(count, np.float32)
    for _ in range(lifetime):
        here = sample(slopes, place)
        heading = 0.25 * heading - 0.75 * here[:, :2]
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-6
        onward = (place + heading).clip(1, (columns - 3, rows - 3)).astype(np.float32)
        drop = here[:, 2] - sample(slopes, onward)[:, 2]
        room = np.maximum(drop, 0.01) * speed * water * 2.5
        surplus = soil - room
        dig = -np.minimum(-0.3 * surplus, np.maximum(drop, 0))
        change = np.where(drop < 0, np.minimum(-drop, soil), np.where(surplus > 0, 0.3 * surplus, dig))
        change = change.clip(-0.06, 0.03)  # many drops may meet in one cell
        soil = np.maximum(soil - change, 0)
        _deposit(ground, place, change)
        speed = np.sqrt(np.maximum(speed * speed + 1.5 * drop, 0.01)).clip(0, 3)
        water, place = water * 0.97, onward


def _deposit(ground: Array, place: Array, change: Array) -> None:
    """Spread a change of height over the four cells around each place. Changes the ground."""
    column, row = place[:, 0].astype(np.int32), place[:, 1].astype(np.int32)
    fx, fz = place[:, 0] - column, place[:, 1] - row
    for dz, dx, weight in ((0, 0, (1 - fx) * (1 - fz)), (0, 1, fx * (1 - fz)), (1, 0, (1 - fx) * fz), (1, 1, fx * fz)):
        np.add.at(ground, (row + dz, column + dx), change * weight)


def cast_shadows(ground: Ground, sun: Array, softness: float = 18.0) -> Array:
    """Return the share of sunlight (H, W) that reaches each cell; the sun must stand to the left (x < 0).

    The edge of the shadow is swept from column to column: it sinks by the slope of the light.
    """
    height = ground.height
    drop = sun[1] / -sun[0] * ground.cell[0]
    shift = sun[2] / -sun[0] * ground.cell[0] / ground.cell[1]
    rows = np.arange(height.shape[0], dtype=np.float32)
    edge, light = height[:, 0].copy(), np.ones_like(height)
    for column in range(1, height.shape[1]):
        edge = np.interp(rows + shift, rows, edge) - drop
        light[:, column] = 1 - np.clip((edge - height[:, column]) / softness, 0, 1)
        edge = np.maximum(edge, height[:, column])
    return light


def march(ground: Ground, origin: Array, rays: Array, far: float, steps: int = 260) -> Array:
    """Return the distance (N,) along unit rays (N, 3) from origin (3,) or (N, 3) to the ground, or infinity.

    A step is a part of the height above the ground, and never less than what a pixel covers at that distance.
    """
    count = len(rays)
    start = np.broadcast_to(origin, (count, 3)).astype(np.float32)
    hit = np.full(count, np.inf, np.float32)
    alive, t = np.arange(count), np.full(count, 1.0, np.float32)
    before = t.copy()
    top = float(ground.height.max())
    for _ in range(steps):
        place = start[alive] + rays[alive] * t[:, None]
        above = place[:, 1] - ground.at(ground.height, place[:, 0], place[:, 2])
        under = above < 0
        if under.any():
            hit[alive[under]] = _refine(ground, start[alive[under]], rays[alive[under]], before[under], t[under])
        before, t = t, t + np.maximum(0.45 * above, 0.6 + 0.0016 * t)
        going = ~under & (t < far) & ~((place[:, 1] > top) & (rays[alive, 1] > 0))
        alive, t, before = alive[going], t[going], before[going]
        if not len(alive):
            break
    return hit


def _refine(ground: Ground, start: Array, rays: Array, low: Array, high: Array) -> Array:
    """Halve the interval between a point above and a point below the ground."""
    for _ in range(6):
        middle = (low + high) / 2
        place = start + rays * middle[:, None]
        under = place[:, 1] < ground.at(ground.height, place[:, 0], place[:, 2])
        low, high = np.where(under, low, middle), np.where(under, middle, high)
    return high
