"""Boats as flat faces, with their masts, sails and rigging."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from samples.camera import Points
from samples.noise import Array
from samples.pixels import srgb
from samples.raster import Faces
from samples.surfaces import HULL, PLAIN, PLANKS, SAIL
from samples.town import box


class Boat:
    """Builds a boat in its own frame (x forward, y up, z to one side) and puts its faces in place."""

    def __init__(
        self, faces: Faces, place: Sequence[float], yaw: float, *, length: float, beam: float, side: float
    ) -> None:
        self.faces, self.place, self.yaw = faces, place, yaw
        self.length, self.beam, self.side = length, beam, side
        self.ropes: list[Points] = []

    def put(self, points: Array) -> Array:
        """Move points (..., 3) of the boat's frame into the world."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.stack([self.place[0] + c * x - s * z, self.place[1] + y, self.place[2] + s * x + c * z], axis=-1)

    def add(self, corners: Sequence[Sequence[float] | Array], material: int, colour: Array) -> None:
        """Add a face given in the boat's frame."""
        self.faces.add(self.put(np.array(corners)), material, colour)

    def box(self, x: float, y: float, size: Sequence[float], material: int, colour: Array, *, z: float = 0.0) -> None:
        """Add an upright box at x, y, z of the boat's frame."""
        box(self.faces, self.put(np.array((x, y, z))).tolist(), size, material, colour, yaw=-self.yaw)

    def rope(self, start: Sequence[float], end: Sequence[float], sag: float = 0.0, thick: float = 0.014) -> None:
        """Stretch a rope as a row of points."""
        t = np.linspace(0, 1, 700)[:, None]
        points = np.array(start) * (1 - t) + np.array(end) * t
        points[:, 1] -= 4 * sag * (t * (1 - t))[:, 0]
        colour = np.broadcast_to(srgb("4a4238"), points.shape)
        self.ropes.append(Points(self.put(points).astype(np.float32), colour, np.full(len(points), thick, np.float32)))

    def half_beam(self, s: float) -> float:
        """Half the width at s from -1 (stern) to 1 (bow)."""
        fullness = 1 - max(s, 0.0) ** 2.3 if s > 0 else 1 - 0.32 * s * s
        return float(self.beam / 2 * max(fullness, 0.015))

    def rail(self, s: float) -> float:
        """Height of the side at s."""
        return self.side * (1 + 0.45 * max(s, 0.0) ** 2 + 0.10 * s * s)

    def hull(self, colours: Sequence[str], open_inside: bool) -> None:
        """Plank the sides in bands of colour from the water up; deck it, or leave it open."""
        stations = np.linspace(-1, 1, 17)
        levels = np.linspace(0, 1, len(colours) + 1)
        for s0, s1 in pairwise(stations):
            for hand in (-1, 1):
                for low, high, colour in zip(levels[:-1], levels[1:], colours, strict=True):
                    a, b, c, d = (self._skin(s, t, hand) for s, t in ((s0, low), (s1, low), (s1, high), (s0, high)))
                    self.add((a, b, c, d) if hand < 0 else (b, a, d, c), HULL, srgb(colour))
                    if open_inside:
                        self.add((b, a, d, c) if hand < 0 else (a, b, c, d), PLANKS, srgb("8a6238"))
            height = 0.3 if open_inside else 0.86
            self._floor(s0, s1, height)
        stern = [self._skin(-1, t, hand) for t, hand in ((0, 1), (0, -1), (1, -1), (1, 1))]
        self.add(stern, HULL, srgb(colours[-2]))

    def _skin(self, s: float, t: float, hand: int) -> tuple[float, float, float]:
        bulge = 0.62 + 0.38 * t**0.6
        rake = 0.06 * self.length * t * max(s, 0.0) ** 2
        return (s * self.length / 2 + rake, -0.25 + (self.rail(s) + 0.25) * t, hand * self.half_beam(s) * bulge)

    def _floor(self, s0: float, s1: float, level: float) -> None:
        rear, front = self._skin(s0, level, 1), self._skin(s1, level, 1)
        corners = [(rear[0], rear[1], -rear[2]), (front[0], front[1], -front[2]), front, rear]
        self.add(corners, PLANKS, srgb("a88a5c"))

    def mast(self, x: float, top: float, thick: float = 0.14) -> None:
        """Step a mast with its stays."""
        self.box(x, 0.3, (thick, top - 0.3, thick), PLANKS, srgb("a87c48"))
        bow = self._skin(0.98, 1, 1)
        self.rope((x, top - 0.2, 0), (bow[0], bow[1], 0))
        self.rope((x, top - 0.1, 0), (-self.length / 2, self.rail(-1), 0))
        for hand in (-1, 1):
            self.rope((x, top * 0.9, 0), (x - 0.3, self.rail(0), hand * self.half_beam(0)))

    def sail(self, corners: Sequence[Sequence[float]], belly: float, colour: Array) -> None:
        """Hang a three-cornered sail (tack, clew, head) that bellies to the side."""
        tack, clew, head = (np.array(corner, np.float64) for corner in corners)
        cells = 9

        def point(i: int, j: int) -> Array:
            up, out = i / cells, j / cells
            flat = (tack * (1 - out) + clew * out) * (1 - up) + head * up
            values: Array = flat + np.array(
                [0, 0, belly * np.sin(np.pi * min(up * 0.9 + 0.12, 1)) * np.sin(np.pi * out * 0.9)]
            )
            return values

        for i in range(cells):
            for j in range(cells):
                quad = [point(i, j), point(i, j + 1), point(i + 1, j + 1), point(i + 1, j)]
                self.add(quad if i < cells - 1 else [quad[0], quad[1], quad[3]], SAIL, colour)


def sloop(faces: Faces, place: Sequence[float], yaw: float) -> list[Points]:
    """A sailing boat under way: main sail, jib and a small cabin."""
    boat = Boat(faces, place, yaw, length=9.5, beam=2.9, side=1.05)
    boat.hull(("5a1f1c", "1f3f5f", "1f3f5f", "24486b", "e6dcc2"), open_inside=False)
    boat.box(-0.6, 1.0, (3.0, 0.75, 1.6), PLANKS, srgb("c9a46a"))
    for z in (-0.81, 0.81):
        for x in (-1.4, -0.6, 0.2):
            boat.box(x, 1.3, (0.45, 0.22, 0.02), PLAIN, srgb("1f2a30"), z=z)
    boat.mast(0.9, 12.6)
    boat.box(-1.5, 1.95, (4.8, 0.12, 0.12), PLANKS, srgb("a87c48"))
    boat.sail(((0.75, 2.2, 0), (-3.7, 2.15, 0), (0.8, 12.0, 0)), -0.75, srgb("efe3c8"))
    boat.sail(((4.6, 1.8, 0), (1.3, 1.9, 0), (1.0, 11.0, 0)), -0.7, srgb("f2e8d2"))
    boat.rope((-3.8, 2.0, 0), (-4.4, 1.2, 0))
    return boat.ropes


def fishing_boat(faces: Faces, place: Sequence[float], yaw: float, colours: Sequence[str]) -> list[Points]:
    """A stout boat with a wheelhouse, a mast with a derrick, and gear on deck."""
    boat = Boat(faces, place, yaw, length=8.2, beam=3.0, side=1.25)
    boat.hull(("6b241e", colours[0], colours[0], colours[0], colours[1]), open_inside=False)
    boat.box(-1.7, 1.1, (2.2, 2.0, 1.8), PLANKS, srgb("e8e2d2"))
    boat.box(-1.7, 3.1, (2.6, 0.14, 2.1), PLAIN, srgb(colours[0]))
    for z in (-0.91, 0.91):
        for x in (-2.3, -1.2):
            boat.box(x, 2.2, (0.7, 0.6, 0.02), PLAIN, srgb("27343c"), z=z)
    boat.box(-0.59, 2.2, (0.02, 0.6, 1.3), PLAIN, srgb("27343c"))
    boat.mast(0.6, 6.4, 0.12)
    boat.rope((0.6, 3.0, 0), (3.4, 4.6, 0), thick=0.04)
    for x, z, colour in ((1.6, 0.4, "c9862c"), (2.0, -0.5, "3f6f8f"), (1.2, -0.6, "a8442c")):
        boat.box(x, 1.1, (0.6, 0.45, 0.5), PLANKS, srgb(colour), z=z)
    return boat.ropes


def rowing_boat(faces: Faces, place: Sequence[float], yaw: float, colours: Sequence[str]) -> list[Points]:
    """A small open boat with thwarts and oars."""
    boat = Boat(faces, place, yaw, length=4.3, beam=1.55, side=0.52)
    boat.hull((colours[0], colours[0], colours[0], colours[1]), open_inside=True)
    for s in (-0.62, 0.0, 0.5):
        boat.box(s * 2.15, 0.34, (0.26, 0.05, 2 * 0.9 * boat.half_beam(s)), PLANKS, srgb("b98a52"))
    for z in (-0.3, 0.22):
        boat.box(-0.1, 0.43, (2.9, 0.05, 0.06), PLANKS, srgb("caa468"), z=z)
        boat.box(1.2, 0.42, (0.6, 0.03, 0.16), PLANKS, srgb("caa468"), z=z)
    boat.rope((2.3, 0.75, 0), (5.5, -0.1, 1.2), sag=0.3, thick=0.02)
    return boat.ropes
