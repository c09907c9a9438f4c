"""Flat faces drawn with depth: which face is seen in each pixel, for the eye, the mirror and the sun.

A buffer holds for each pixel the number of the face seen there (-1 for none) and its nearness ``w``: 1 / distance
along the axis for a camera, minus the distance for parallel rays. Both are linear across a flat face.
"""

from dataclasses import dataclass, field

import numpy as np

from samples.camera import Camera
from samples.noise import Array


@dataclass
class Faces:
    """Convex flat faces with what is needed to shade them; one entry a face in every list."""

    corners: list[Array] = field(default_factory=list)
    origin: list[Array] = field(default_factory=list)
    across: list[Array] = field(default_factory=list)
    up: list[Array] = field(default_factory=list)
    normal: list[Array] = field(default_factory=list)
    material: list[int] = field(default_factory=list)
    colour: list[Array] = field(default_factory=list)
    extent: list[tuple[float, float]] = field(default_factory=list)

    def add(self, corners: Array, material: int, colour: Array) -> None:
        """Add a face: corners (K, 3) from the lower left round by the lower right, as seen from outside.

        u runs along the first edge, v upward from it. x to the right, y up and z away form a left-handed frame.
        """
        points = np.asarray(corners, np.float64)
        along = points[1] - points[0]
        normal = np.cross(points[-1] - points[0], along)
        if np.linalg.norm(normal) < 1e-9:
            return
        along, normal = along / np.linalg.norm(along), normal / np.linalg.norm(normal)
        up = np.cross(along, normal)
        self.corners.append(points)
        self.origin.append(points[0])
        self.across.append(along)
        self.up.append(up)
        self.normal.append(normal)
        self.material.append(material)
        self.colour.append(np.asarray(colour, np.float32))
        relative = points - points[0]
        self.extent.append((float((relative @ along).max()), float((relative @ up).max())))

    def table(self, name: str) -> Array:
        """Return one list as an array, to be indexed by face numbers."""
        return np.asarray(getattr(self, name), np.float32)


@dataclass
class Buffer:
    """Face number (H, W) and nearness w (H, W) of what is seen."""

    face: Array
    w: Array

    @staticmethod
    def empty(size: tuple[int, int], far: float = 0.0) -> "Buffer":
        """Nothing seen yet; ``far`` is the nearness of nothing."""
        return Buffer(np.full(size, -1, np.int32), np.full(size, far, np.float32))


def draw(buffer: Buffer, faces: Faces, camera: Camera, mirrored: bool = False) -> None:
    """Draw faces as a camera sees them, or as it sees their image in the water (y = 0). Changes the buffer."""
    flip = np.array([1, -1, 1]) if mirrored else np.ones(3)
    for number, corners in enumerate(faces.corners):
        column, row, axis = camera.project(corners * flip)
        if axis.min() > 0.3:
            _fill(buffer, number, np.stack([column, row], axis=1), 1 / axis)


@dataclass(frozen=True)
class Sunview:
    """Parallel rays along ``sun`` (3,) over a square of the given side (metres) about ``centre`` (3,)."""

    sun: Array
    centre: Array
    side: float
    pixels: int

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return columns and rows (N, 2) in the shadow map and the distance against the sun (N,)."""
        right = np.cross((0.0, 1.0, 0.0), self.sun)
        right /= np.linalg.norm(right)
        up = np.cross(self.sun, right)
        moved = points - self.centre
        place = np.stack([moved @ right, moved @ up], axis=1) / self.side * self.pixels + self.pixels / 2
        return place, -(moved @ self.sun)

    def draw(self, faces: Faces) -> Buffer:
        """Return what the sun sees of the faces."""
        buffer = Buffer.empty((self.pixels, self.pixels), far=-np.inf)
        for number, corners in enumerate(faces.corners):
            place, distance = self.project(corners)
            _fill(buffer, number, place, -distance)
        return buffer

    def add_points(self, buffer: Buffer, points: Array) -> None:
        """Let points (N, 3), such as leaves, cast shadows too. Changes the buffer."""
        place, distance = self.project(points)
        at = place.astype(np.int32)
        inside = ((at >= 0) & (at < self.pixels)).all(1)
        np.maximum.at(buffer.w, (at[inside, 1], at[inside, 0]), -distance[inside].astype(np.float32))

    def lit(self, buffer: Buffer, points: Array, bias: float = 0.18) -> Array:
        """Return the share of sun (N,) at points, averaged over a few cells of the map."""
        place, distance = self.project(points)
        total = np.zeros(len(points), np.float32)
        offsets = ((0, 0), (1.3, 0.4), (-0.4, 1.3), (-1.3, -0.4), (0.4, -1.3))
        for dx, dy in offsets:
            at = (place + np.array([dx, dy])).astype(np.int32).clip(0, self.pixels - 1)
            total += buffer.w[at[:, 1], at[:, 0]] < -distance + bias
        return total / len(offsets)


def _fill(buffer: Buffer, number: int, place: Array, w: Array) -> None:
    """Fill one convex polygon given by corners (K, 2) in pixels and their nearness (K,)."""
    height, width = buffer.face.shape
    left, top = np.maximum(np.floor(place.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(place.max(0)).astype(int) + 1, (width, height))
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right) + 0.5, (np.arange(top, bottom) + 0.5)[:, None]
    inside = np.ones((bottom - top, right - left), bool)
    ahead = np.roll(place, -1, axis=0)
    area = float((place[:, 0] * ahead[:, 1] - ahead[:, 0] * place[:, 1]).sum())
    for (x0, y0), (x1, y1) in zip(place, ahead, strict=True):
        inside &= ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) * area >= 0
    if not inside.any() or abs(area) < 1e-9:
        return
    centre = place.mean(0)
    plane = np.linalg.lstsq(np.column_stack([place - centre, np.ones(len(place))]), w, rcond=None)[0]
    nearness = plane[0] * (x - centre[0]) + plane[1] * (y - centre[1]) + plane[2]
    window = (slice(top, bottom), slice(left, right))
    seen = inside & (nearness > buffer.w[window])
    buffer.w[window][seen], buffer.face[window][seen] = nearness[seen], number
