"""Thick paint: ribbons with bristle marks that follow a flow field, and light on their relief."""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array
from samples.pixels import blur

CHUNK = 128  # strokes splatted at a time, to bound memory


@dataclass
class Canvas:
    """Wet paint: colour (H, W, 3) in linear light and height of the paint (H, W) in pixels."""

    colour: Array
    height: Array


@dataclass(frozen=True)
class Brush:
    """One layer of strokes: width and length in pixels; ``load`` is the thickness of the paint."""

    width: float
    length: float
    load: float = 1.0
    raggedness: float = 0.5


def sample(field: Array, points: Array) -> Array:
    """Read a field (H, W) or (H, W, C) at points (..., 2) given as x, y in pixels, bilinearly."""
    flat = points.reshape(1, -1, 2).astype(np.float32)
    if flat.shape[1] > 30_000:  # cv2.remap takes rows of at most 32767
        rows = [sample(field, part[None]) for part in np.array_split(flat[0], flat.shape[1] // 30_000 + 1)]
        values = np.concatenate(rows, axis=1)
    else:
        values = cv2.remap(
            field, flat[..., 0].copy(), flat[..., 1].copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    shape = points.shape[:-1] + field.shape[2:]
    return values.reshape(shape)


def follow(flow: Array, starts: Array, length: Array, steps: int) -> Array:
    """Trace stroke paths through a direction field.

    Args:
        flow: unit vectors (H, W, 2), x and y.
        starts: middle points (N, 2) in pixels.
        length: length of each stroke (N,) in pixels.
        steps: points a path.

    Returns:
        Paths (N, steps, 2).
    """
    step = (length / steps)[:, None]
    halves = []
    for sign in (-1.0, 1.0):
        points, path = starts.astype(np.float32), []
        for _ in range(steps // 2):
            middle = points + 0.5 * sign * step * sample(flow, points)
            points = (points + sign * step * sample(flow, middle)).astype(np.float32)
            path.append(points)
        halves.append(path)
    return np.stack([*halves[0][::-1], *halves[1]], axis=1)


def paint(canvas: Canvas, paths: Array, colours: Array, brush: Brush, rng: np.random.Generator) -> None:
    """Lay strokes over the canvas in order: paths (N, S, 2), colours (N, 3). Changes the canvas."""
    below = blur(canvas.height, brush.width / 6 + 1) * 0.55
    for first in range(0, len(paths), CHUNK):
        part = slice(first, first + CHUNK)
        _paint_chunk(canvas, below, paths=paths[part], colours=colours[part], brush=brush, rng=rng)


def _paint_chunk(
    canvas: Canvas, below: Array, *, paths: Array, colours: Array, brush: Brush, rng: np.random.Generator
) -> None:
    count = len(paths)
    along, across = int(brush.length * 1.6) + 4, int(brush.width * 1.6) + 3
    x, y, side_x, side_y = _resample(paths, along)
    s = np.linspace(0, 1, along, dtype=np.float32)[None, :, None]
    t = np.linspace(-1, 1, across, dtype=np.float32)[None, None, :]

    bristles = _bristles(count, across, rng)[:, None, :]
    wander = _bristles(count, along, rng, smooth=8.0)[:, :, None]
    half = 0.5 * brush.width * (0.75 + 0.25 * np.sqrt(np.clip(np.minimum(s * 6, (1 - s) * 4), 0, 1)))
    px = x[:, :, None] + side_x[:, :, None] * t * half
    py = y[:, :, None] + side_y[:, :, None] * t * half

    # Bristles land and lift one by one: each has its own ends, further in at the sides of the brush.
    ends = 0.05 + 0.10 * t * t + brush.raggedness * 0.16 * (bristles + 1)
    starts = 0.02 + 0.08 * t * t + brush.raggedness * 0.04 * (bristles + 1)
    dry = bristles + 0.7 * wander + 2.6 * (s - 0.5) > 2.3
    kept = (s > starts) & (s < 1 - ends) & ~dry & (np.abs(t) < 0.98)

    ridge = 0.55 + 0.45 * np.abs(t) ** 3 * np.sign(1 - np.abs(t)).clip(0, 1)  # paint is pushed to the sides
    dome = np.sqrt(np.clip(1 - t**6, 0, 1)) * ridge * (1 + 0.5 * np.clip((s - 0.75) * 4, 0, 1))
    thickness = brush.load * brush.width**0.7 * (dome + 0.16 * bristles + 0.1 * wander).clip(0.05, None)

    shade = 1 + 0.13 * bristles + 0.06 * wander
    rows, columns = (py + 0.5).astype(np.int32), (px + 0.5).astype(np.int32)
    height, width = canvas.height.shape
    kept = kept & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = (rows * width + columns)[kept]
    tints = _streaks(colours, bristles, rng)
    which = np.broadcast_to(np.arange(count)[:, None, None], kept.shape)[kept]
    lane = np.broadcast_to(np.arange(across)[None, None, :], kept.shape)[kept]
    colour = tints[which, lane] * np.broadcast_to(shade, kept.shape)[kept][:, None]
    canvas.colour.reshape(-1, 3)[index] = colour
    canvas.height.reshape(-1)[index] = below.reshape(-1)[index] + np.broadcast_to(thickness, kept.shape)[kept]


def _resample(paths: Array, along: int) -> tuple[Array, Array, Array, Array]:
    """Interpolate paths (N, S, 2) to x, y and the unit side vector, each (N, along)."""
    fine = cv2.resize(paths.astype(np.float32), (along, len(paths)), interpolation=cv2.INTER_LINEAR)
    if fine.shape[:2] != (len(paths), along):
        raise AssertionError(fine.shape)
    tangent = np.gradient(fine, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-6
    return fine[..., 0], fine[..., 1], -tangent[..., 1], tangent[..., 0]


def _bristles(count: int, lanes: int, rng: np.random.Generator, smooth: float = 0.8) -> Array:
    """Return smooth random profiles (count, lanes) of zero mean and unit deviation, cut at 2."""
    raw = rng.normal(size=(count, lanes)).astype(np.float32)
    soft = cv2.GaussianBlur(raw, (0, 0), sigmaX=smooth, sigmaY=1e-3)
    profile: Array = (soft / (soft.std() + 1e-6)).clip(-2, 2)
    return profile


def _streaks(colours: Array, bristles: Array, rng: np.random.Generator) -> Array:
    """Give each bristle its own mixture of the stroke's colour and that of some other stroke: (N, lanes, 3)."""
    other = colours[rng.permutation(len(colours))]
    amount = 0.22 * np.clip(bristles[:, 0] - 0.4, 0, 1)[..., None]
    streaks: Array = colours[:, None] * (1 - amount) + other[:, None] * amount
    return streaks


def light_relief(canvas: Canvas, strength: float = 0.5, gloss: float = 0.35) -> Array:
    """Light the paint from the upper left and return linear light (H, W, 3)."""
    height = blur(canvas.height, 0.8)
    dy, dx = np.gradient(height)
    normal = np.stack([-dx * strength, -dy * strength, np.ones_like(dx)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.array([-0.52, -0.58, 0.63], np.float32)
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    diffuse = np.clip(normal @ light, 0, None) / light[2]
    shine = np.clip(normal @ half, 0, 1) ** 40
    hollow = np.clip((blur(height, 5) - height) / 6, 0, 0.6)
    shaded = canvas.colour * (0.34 + 0.66 * diffuse - 0.35 * hollow)[..., None]
    lit: Array = shaded + gloss * np.clip(shine - 0.25, 0, None)[..., None] * np.array([1.0, 0.97, 0.9], np.float32)
    return lit
