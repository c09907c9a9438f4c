"""A pinhole camera, and clouds of coloured points drawn with depth."""

from dataclasses import dataclass

import numpy as np

from samples.noise import Array


@dataclass(frozen=True)
class Camera:
    """Looks along +z; ``tilt`` in radians is upward; ``focal`` and ``size`` (height, width) in pixels."""

    position: Array
    tilt: float
    focal: float
    size: tuple[int, int]

    def rays(self, jitter: Array | None = None) -> Array:
        """Return a unit ray (H*W, 3) for every pixel; jitter (H*W, 2) shifts it by parts of a pixel."""
        height, width = self.size
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        offset = np.full((height * width, 2), 0.5, np.float32) if jitter is None else jitter
        u = (x.ravel() + offset[:, 0] - width / 2) / self.focal
        v = (height / 2 - y.ravel() - offset[:, 1]) / self.focal
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        rays = np.stack([u, v * c + s, c - v * s], axis=1)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return rays.astype(np.float32)

    def axis(self) -> Array:
        """Return the part (H*W,) of each ray that points along the camera's axis."""
        rays = self.rays()
        along: Array = np.cos(self.tilt) * rays[:, 2] + np.sin(self.tilt) * rays[:, 1]
        return along

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """Return column, row (in pixels) and distance along the axis of points (N, 3)."""
        moved = points - self.position
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        axis = c * moved[:, 2] + s * moved[:, 1]
        up = c * moved[:, 1] - s * moved[:, 2]
        safe = np.where(axis > 0.05, axis, np.inf)
        return self.size[1] / 2 + self.focal * moved[:, 0] / safe, self.size[0] / 2 - self.focal * up / safe, axis


@dataclass
class Points:
    """Dots in space: place (N, 3) and radius (N,) in metres, colour (N, 3) as lit."""

    place: Array
    colour: Array
    radius: Array

    @staticmethod
    def join(parts: "list[Points]") -> "Points":
        """Put several clouds of points together."""
        return Points(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("place", "colour", "radius")))


def splat(camera: Camera, points: Points, light: Array, depth: Array) -> None:
    """Draw points over light (H, W, 3) where they are nearer than depth (H, W), measured along the axis.

    Changes both pictures. Points are drawn as squares, the farthest first.
    """
    height, width = camera.size
    column, row, axis = camera.project(points.place)
    pixels = points.radius * camera.focal / np.maximum(axis, 0.05)
    seen = (axis > 0.2) & (column > -8) & (column < width + 8) & (row > -8) & (row < height + 8)
    order = np.flatnonzero(seen)
    order = order[np.argsort(-axis[order])]
    column, row, axis, pixels = column[order], row[order], axis[order].astype(np.float32), pixels[order]
    colour, reach = points.colour[order].astype(np.float32), int(np.clip(np.ceil(pixels.max(initial=0) - 0.5), 0, 6))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            wide = np.flatnonzero(pixels >= np.hypot(dx, dy) - 0.5)
            r, c = np.round(row[wide] + dy - 0.5).astype(np.int32), np.round(column[wide] + dx - 0.5).astype(np.int32)
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            r, c, wide = r[inside], c[inside], wide[inside]
            nearer = axis[wide] < depth[r, c]
            r, c, wide = r[nearer], c[nearer], wide[nearer]
            light[r, c], depth[r, c] = colour[wide], axis[wide]
