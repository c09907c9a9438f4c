"""Things that rays can hit: ellipsoids, solids given by a distance function, and groups of them.

Rays are origins (N, 3) and unit directions (N, 3). A miss is infinity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from samples.noise import Array, dots, lengths

Field = Callable[[Array], Array]


@dataclass(frozen=True)
class Material:
    """How a surface looks: colour (N, 3) from local points (N, 3); ``gloss`` is the strength of its coat, 0..1."""

    colour: Field
    gloss: float = 0.0
    rough: float = 0.0
    metal: bool = False
    bump: Field | None = None  # height at local points, for the normals only
    bump_depth: float = 0.02


class Thing(Protocol):
    """What the tracer needs to know of a thing."""

    @property
    def material(self) -> Material:
        """The look of its surface."""

    def hit(self, origin: Array, ray: Array) -> Array:
        """Return distances (N,) to the first surface in front of the origins."""

    def local(self, place: Array) -> Array:
        """Turn places (N, 3) into the thing's own frame."""

    def normal(self, place: Array) -> Array:
        """Return outward unit normals (N, 3) at places on the surface."""


def turned(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """Return the matrix (3, 3) that turns by angles about x, then y, then z, in radians."""
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    values: Array = (about_z @ about_y @ about_x).astype(np.float32)
    return values


def _sphere_span(origin: Array, ray: Array, radius: float) -> tuple[Array, Array]:
    """Return where rays enter and leave a sphere about 0; enter > leave where they miss it."""
    b, c = dots(origin, ray), dots(origin, origin) - radius * radius
    root = b * b - c
    reach = np.sqrt(np.maximum(root, 0))
    return np.where(root < 0, np.inf, -b - reach), np.where(root < 0, -np.inf, -b + reach)


def _below(origin: Array, ray: Array, top: float, enter: Array, leave: Array) -> tuple[Array, Array]:
    """Cut the span of rays to where they are below a height."""
    rise = np.where(np.abs(ray[:, 1]) < 1e-6, 1e-6, ray[:, 1])
    cross = (top - origin[:, 1]) / rise
    return np.where(rise < 0, np.maximum(enter, cross), enter), np.where(rise > 0, np.minimum(leave, cross), leave)


@dataclass(frozen=True)
class Ball:
    """An ellipsoid with half-axes ``radii``, turned about its centre."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    material: Material
    turn: Array = field(default_factory=turned)

    def local(self, place: Array) -> Array:
        """Turn places into the frame where the ellipsoid is the unit sphere."""
        return ((place - np.array(self.centre, np.float32)) @ self.turn) / np.array(self.radii, np.float32)

    def hit(self, origin: Array, ray: Array) -> Array:
        """Solve the quadratic equation in the local frame."""
        start, way = self.local(origin), (ray @ self.turn) / np.array(self.radii, np.float32)
        a, b, c = dots(way, way), dots(start, way), dots(start, start) - 1
        root = b * b - a * c
        reach = np.sqrt(np.maximum(root, 0))
        near, far = (-b - reach) / a, (-b + reach) / a
        distance = np.where(near > 1e-3, near, np.where(far > 1e-3, far, np.inf))
        return np.where(root < 0, np.inf, distance).astype(np.float32)

    def normal(self, place: Array) -> Array:
        """Gradient of the quadric."""
        return _unit((self.local(place) / np.array(self.radii, np.float32)) @ self.turn.T)


@dataclass(frozen=True)
class Solid:
    """A shape given by a distance function of local points, inside a sphere of radius ``bound`` about 0.

    Nothing of it may lie above the local height ``top``.
    """

    centre: tuple[float, float, float]
    bound: float
    distance: Field
    material: Material
    turn: Array = field(default_factory=turned)
    steps: int = 56
    top: float = np.inf

    def local(self, place: Array) -> Array:
        """Shift and turn places into the local frame."""
        return (place - np.array(self.centre, np.float32)) @ self.turn

    def hit(self, origin: Array, ray: Array) -> Array:
        """Walk along the rays by the distance to the surface (sphere tracing, Hart 1996)."""
        found = np.full(len(ray), np.inf, np.float32)
        start, way = self.local(origin), ray @ self.turn
        enter, leave = _sphere_span(start, way, self.bound)
        if np.isfinite(self.top):
            enter, leave = _below(start, way, self.top, enter, leave)
        alive = np.flatnonzero(leave > np.maximum(enter, 0))
        t = np.maximum(enter[alive], 2e-3).astype(np.float32)
        for _ in range(self.steps):
            if not len(alive):
                break
            gap = self.distance(start[alive] + way[alive] * t[:, None])
            close = gap < 1.2e-3
            found[alive[close]] = t[close]
            t = t + np.maximum(gap, 1e-3)
            going = ~close & (t < leave[alive])
            alive, t = alive[going], t[going]
        return found

    def normal(self, place: Array) -> Array:
        """Differences of the distance over the corners of a small tetrahedron."""
        local, tiny = self.local(place), np.float32(2e-3)
        total = np.zeros_like(local)
        for corner in np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32):
            total += corner * self.distance(local + corner * tiny)[:, None]
        return _unit(total @ self.turn.T)


@dataclass(frozen=True)
class Wall:
    """The plane z = ``z``, seen from the front."""

    z: float
    material: Material

    def local(self, place: Array) -> Array:
        """The plane uses places as they are."""
        return place

    def hit(self, origin: Array, ray: Array) -> Array:
        """Cut the rays with the plane."""
        distance = (self.z - origin[:, 2]) / np.where(np.abs(ray[:, 2]) < 1e-6, 1e-6, ray[:, 2])
        return np.where(distance > 1e-3, distance, np.inf).astype(np.float32)

    def normal(self, place: Array) -> Array:
        """Straight towards the viewer."""
        return np.broadcast_to(np.array([0, 0, -1], np.float32), place.shape)


@dataclass(frozen=True)
class Group:
    """Things inside a common sphere, which spares most rays the look at each of them."""

    centre: tuple[float, float, float]
    bound: float
    things: Sequence[Thing]


def nearest(scene: Sequence[Thing | Group], origin: Array, ray: Array) -> tuple[Array, Array, list[Thing]]:
    """Return the distance (N,), the number of the thing hit (N,; -1 for none) and the list those numbers point to."""
    best, which = np.full(len(ray), np.inf, np.float32), np.full(len(ray), -1, np.int32)
    flat: list[Thing] = []
    for entry in scene:
        if not isinstance(entry, Group):
            _take(best, which, np.arange(len(ray)), entry.hit(origin, ray), len(flat))
            flat.append(entry)
            continue
        enter, leave = _sphere_span(origin - np.array(entry.centre, np.float32), ray, entry.bound)
        near = np.flatnonzero(leave > np.maximum(enter, 0))
        for thing in entry.things:
            if len(near):
                _take(best, which, near, thing.hit(origin[near], ray[near]), len(flat))
            flat.append(thing)
    return best, which, flat


def _take(best: Array, which: Array, rows: Array, distance: Array, number: int) -> None:
    closer = distance < best[rows]
    best[rows[closer]], which[rows[closer]] = distance[closer], number


def _unit(vectors: Array) -> Array:
    return (vectors / (lengths(vectors)[:, None] + 1e-12)).astype(np.float32)


def bumped(thing: Thing, place: Array, normal: Array) -> Array:
    """Tilt normals by the slope of the material's bump map."""
    bump = thing.material.bump
    if bump is None:
        return normal
    tiny = np.float32(4e-3)
    base = bump(thing.local(place))
    slope = (
        np.stack([bump(thing.local(place + tiny * axis)) - base for axis in np.eye(3, dtype=np.float32)], axis=1) / tiny
    )
    slope -= dots(slope, normal)[:, None] * normal
    return _unit(normal - thing.material.bump_depth * slope)
