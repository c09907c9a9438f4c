"""A harbour town as flat faces: houses in rows up a hill, a church, a lighthouse, the quay and a jetty."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from samples.noise import Array
from samples.pixels import srgb
from samples.raster import Faces
from samples.surfaces import AWNING, BANDS, CLOCK, FACADE, GABLE, PAVING, PLAIN, PLANKS, STONE, TILES

QUAY = 84.0  # z of the quay wall, metres
WALLS = ("d9a650", "c9744a", "e3cfa0", "dba58a", "b85c42", "e8dcc6", "9fb4b8", "d0b07a", "c98f86", "e6c27c", "b9c0a0")
ROOFS = ("a4502f", "b5623a", "8e4630", "b06e4a", "97533c")
Height = Callable[[float, float], float]


def build(ground: Height, rng: np.random.Generator) -> Faces:
    """Return the faces of the town; ``ground`` gives the height of the land at x, z."""
    faces = Faces()
    quay(faces)
    for row in range(10):
        _row(faces, ground, row, rng)
    church(faces, -13.0, 166.0, ground(-13, 166) - 0.5)
    lighthouse(faces, 28.5, 63.0, 1.7)
    jetty(faces)
    return faces


def _row(faces: Faces, ground: Height, row: int, rng: np.random.Generator) -> None:
    """Build one street of houses along the hill."""
    z = QUAY + 8 + 10.0 * row
    x = -58.0 - 5 * row + rng.uniform(0, 4)
    while x < 37 - 0.5 * row:
        width, deep = rng.uniform(5.2, 9.0), rng.uniform(7.5, 9.5)
        floors = rng.integers(3, 5) if row == 0 else rng.integers(2, 4)
        centre, place = x + width / 2, z + rng.uniform(-1.2, 1.2) * (row > 0)
        x += width + (rng.uniform(2.5, 5) if rng.uniform() < (0.12 if row == 0 else 0.28) else rng.uniform(-0.1, 0.3))
        if row > 5 and abs(centre + 13) < 9:
            continue  # the church stands there
        base = 1.8 if row == 0 else ground(centre, place - deep / 2)
        house(
            faces,
            (centre, base, place),
            (width, float(floors) * 3.0 + rng.uniform(-0.2, 0.4), deep),
            yaw=rng.normal(0, 0.015 if row == 0 else 0.10),
            wall=_vary(srgb(WALLS[rng.integers(len(WALLS))]), rng),
            roof=_vary(srgb(ROOFS[rng.integers(len(ROOFS))]), rng),
            front_gable=bool(rng.uniform() < 0.27),
        )
        if row == 0:
            _shop_front(faces, centre, width, place - deep / 2, rng)


def _vary(colour: Array, rng: np.random.Generator) -> Array:
    return np.asarray(colour * np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.03, 3)), np.float32)


def _turned(points: Array, place: Sequence[float], yaw: float) -> Array:
    """Turn points (K, 3) about the y axis and move them to a place."""
    c, s = np.cos(yaw), np.sin(yaw)
    x, y, z = np.asarray(points, np.float64).T
    return np.stack([place[0] + c * x + s * z, place[1] + y, place[2] - s * x + c * z], axis=1)


def box(
    faces: Faces,
    place: Sequence[float],
    size: Sequence[float],
    material: int,
    colour: Array,
    *,
    yaw: float = 0.0,
    top: int | None = None,
) -> None:
    """Add a box standing on ``place`` (middle of its foot); size is width, height, depth; top has its own material."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    foot = ((-w, -d), (w, -d), (w, d), (-w, d))
    for (x0, z0), (x1, z1) in zip(foot, (*foot[1:], foot[0]), strict=True):
        wall = [(x0, 0, z0), (x1, 0, z1), (x1, h, z1), (x0, h, z0)]
        faces.add(_turned(np.array(wall), place, yaw), material, colour)
    lid = [(x, h, z) for x, z in foot]
    faces.add(_turned(np.array(lid), place, yaw), material if top is None else top, colour)


def house(
    faces: Faces,
    place: Sequence[float],
    size: Sequence[float],
    *,
    yaw: float,
    wall: Array,
    roof: Array,
    front_gable: bool,
) -> None:
    """Add a house: plastered walls, a gable roof with eaves, and a chimney or two."""
    if front_gable:
        size, yaw = (size[2], size[1], size[0]), yaw + np.pi / 2
    w, h, d = size[0] / 2, size[1], size[2] / 2
    rise, over = 0.60 * d, 0.38
    foot = ((-w, -d), (w, -d), (w, d), (-w, d))
    for (x0, z0), (x1, z1) in zip(foot, (*foot[1:], foot[0]), strict=True):
        corners = [(x0, -4.0, z0), (x1, -4.0, z1), (x1, 0.0, z1), (x0, 0.0, z0)]
        faces.add(_turned(np.array(corners), place, yaw), STONE, srgb("93887a"))
        corners = [(x0, 0.0, z0), (x1, 0.0, z1), (x1, h, z1), (x0, h, z0)]
        faces.add(_turned(np.array(corners), place, yaw), FACADE, wall)
    for side in (-1, 1):
        gable = [(side * w, h, side * -d), (side * w, h, side * d), (side * w, h + rise, 0)]
        faces.add(_turned(np.array(gable), place, yaw), GABLE, wall)
        low = h - over * rise / d
        slope = [
            (-w - over, low, -d - over),
            (w + over, low, -d - over),
            (w + over, h + rise, 0),
            (-w - over, h + rise, 0),
        ]
        turned = np.array(slope) * ((1, 1, 1) if side < 0 else (-1, 1, -1))
        faces.add(_turned(turned, place, yaw), TILES, roof)
        faces.add(_turned(turned[::-1] - (0, 0.14, 0), place, yaw), PLANKS, srgb("6d5238"))
    for share in (-0.62, 0.5):
        stack = _turned(np.array([(share * w, h + rise * 0.55, 0.25 * d)]), place, yaw)[0]
        box(faces, stack, (0.75, rise * 0.45 + 1.0, 0.75), STONE, srgb("a8836a"), yaw=yaw)


def _shop_front(faces: Faces, x: float, width: float, z: float, rng: np.random.Generator) -> None:
    """Awnings and balconies on the houses at the water."""
    if rng.uniform() < 0.6:
        colour = srgb(("b8352c", "2f6f5a", "2f5f8f", "c98a2c")[rng.integers(4)])
        left, right = x - width * 0.42, x + width * 0.42
        sheet = [(left, 3.9, z - 1.9), (right, 3.9, z - 1.9), (right, 4.8, z - 0.02), (left, 4.8, z - 0.02)]
        faces.add(np.array(sheet), AWNING, colour)
        flap = [(left, 3.55, z - 1.9), (right, 3.55, z - 1.9), (right, 3.9, z - 1.9), (left, 3.9, z - 1.9)]
        faces.add(np.array(flap), AWNING, colour)
    for floor in (1, 2):
        if rng.uniform() < 0.35:
            at = (x + rng.choice((-0.25, 0.0, 0.25)) * width, 1.8 + 3.05 * floor + 0.7, z - 0.45)
            box(faces, at, (2.0, 0.14, 0.9), PLAIN, srgb("cfc2a6"))
            for post in np.linspace(-0.95, 0.95, 11):
                box(faces, (at[0] + post, at[1] + 0.14, z - 0.86), (0.04, 0.85, 0.04), PLAIN, srgb("26262a"))
            box(faces, (at[0], at[1] + 0.98, z - 0.86), (2.0, 0.06, 0.06), PLAIN, srgb("26262a"))


def church(faces: Faces, x: float, z: float, base: float) -> None:
    """A church with its gable to the sea and a bell tower with a green spire."""
    stone = srgb("d8c49a")
    house(
        faces,
        (x + 7, base, z + 4),
        (11.0, 10.5, 20.0),
        yaw=0.0,
        wall=srgb("e4d6b4"),
        roof=srgb("a4563a"),
        front_gable=True,
    )
    box(faces, (x, base - 3, z), (7.0, 29.0, 7.0), CLOCK, stone)
    box(faces, (x, base + 26, z), (7.8, 0.8, 7.8), PLAIN, srgb("e6dabc"))
    _drum(faces, (x, base + 26.8, z), (2.7, 2.7, 3.4), STONE, srgb("e0d0aa"), sides=8)
    _drum(faces, (x, base + 30.2, z), (3.2, 0.02, 8.5), TILES, srgb("4f8a78"), sides=8)
    box(faces, (x, base + 38.4, z), (0.14, 2.6, 0.14), PLAIN, srgb("c9a24a"))
    box(faces, (x, base + 40.0, z), (1.1, 0.14, 0.14), PLAIN, srgb("c9a24a"))


def _drum(
    faces: Faces, place: Sequence[float], shape: Sequence[float], material: int, colour: Array, *, sides: int = 14
) -> None:
    """Add an upright prism or cone; shape is lower radius, upper radius and height."""
    low, high, tall = shape
    turns = np.arange(sides + 1) * 2 * np.pi / sides + np.pi / sides - np.pi / 2
    for a, b in pairwise(turns):
        wall = [(low * np.cos(t), 0.0, low * np.sin(t)) for t in (a, b)]
        wall += [(high * np.cos(t), tall, high * np.sin(t)) for t in (b, a)]
        faces.add(np.array(wall) + place, material, colour)


def lighthouse(faces: Faces, x: float, z: float, base: float) -> None:
    """A banded light at the head of a stone pier."""
    box(faces, (x + 1, -1.5, (z + QUAY) / 2 - 1), (9.0, 3.2, QUAY - z + 8), STONE, srgb("a39a86"), top=PAVING)
    box(faces, (x, base, z), (5.4, 0.9, 5.4), STONE, srgb("b5aa94"))
    _drum(faces, (x, base + 0.9, z), (1.95, 1.35, 10.4), BANDS, srgb("e8e4da"), sides=20)
    _drum(faces, (x, base + 11.3, z), (2.0, 2.0, 0.3), PLAIN, srgb("33363a"), sides=20)
    for turn in np.arange(20) * np.pi / 10:
        box(
            faces,
            (x + 1.9 * np.cos(turn), base + 11.6, z + 1.9 * np.sin(turn)),
            (0.06, 0.8, 0.06),
            PLAIN,
            srgb("2a2a2c"),
        )
    _drum(faces, (x, base + 11.6, z), (0.95, 0.95, 1.9), PLAIN, srgb("a9c4cc"), sides=12)
    for turn in np.arange(12) * np.pi / 6:
        box(
            faces,
            (x + 0.97 * np.cos(turn), base + 11.6, z + 0.97 * np.sin(turn)),
            (0.09, 1.9, 0.09),
            PLAIN,
            srgb("26282a"),
        )
    _drum(faces, (x, base + 13.5, z), (1.35, 0.05, 1.4), PLAIN, srgb("a3281f"), sides=16)


def quay(faces: Faces) -> None:
    """The wall at the water in stretches, its pavement, bollards and lamps."""
    for left in np.arange(-72, 36, 12.0):
        wall = [(left, -1.5, QUAY), (left + 12, -1.5, QUAY), (left + 12, 1.8, QUAY), (left, 1.8, QUAY)]
        faces.add(np.array(wall), STONE, srgb("a0957f"))
        top = [(left, 1.8, QUAY), (left + 12, 1.8, QUAY), (left + 12, 1.8, QUAY + 14), (left, 1.8, QUAY + 14)]
        faces.add(np.array(top), PAVING, srgb("a89c88"))
        box(faces, (left + 3, 1.8, QUAY + 0.6), (0.45, 0.6, 0.45), PLAIN, srgb("2c2b2a"))
        box(faces, (left + 8, 1.8, QUAY + 1.2), (0.12, 4.4, 0.12), PLAIN, srgb("24282a"))
        box(faces, (left + 8, 6.2, QUAY + 1.2), (0.42, 0.6, 0.42), PLAIN, srgb("e8d9a0"))
        box(faces, (left + 10.5, -1.0, QUAY - 0.15), (0.35, 2.6, 0.3), PLANKS, srgb("3a2c20"))


def jetty(faces: Faces) -> None:
    """A landing stage in the left foreground with barrels, crates and mooring posts."""
    for number in range(30):
        z = 13.0 + 0.46 * number
        box(faces, (-10.2, 1.05, z), (6.4, 0.11, 0.42), PLANKS, srgb("8a765c") * (0.8 + 0.35 * ((number * 0.618) % 1)))
    for z in np.arange(13.5, 27, 2.6):
        for x in (-13.2, -7.1):
            _drum(faces, (x, -1.2, z), (0.17, 0.15, 3.3), PLANKS, srgb("4f4030"), sides=8)
    box(faces, (-7.1, 0.75, 19.6), (0.16, 0.28, 13.6), PLANKS, srgb("5f4c38"))
    for x, z, stack in ((-11.4, 19.5, 1), (-10.3, 20.6, 1), (-11.9, 21.2, 2), (-9.4, 24.8, 1)):
        for level in range(stack):
            low = (x, 1.16 + 0.95 * level, z)
            _drum(faces, low, (0.34, 0.42, 0.47), PLANKS, srgb("7c5530"), sides=12)
            _drum(faces, (x, low[1] + 0.47, z), (0.42, 0.34, 0.47), PLANKS, srgb("7c5530"), sides=12)
            box(faces, (x, low[1] + 0.9, z), (0.46, 0.03, 0.46), PLANKS, srgb("6b4a2c"))
    for x, z, side in ((-11.2, 17.2, 0.9), (-10.1, 16.6, 0.75), (-8.6, 23.2, 0.8)):
        box(faces, (x, 1.16, z), (side, side * 0.8, side), PLANKS, srgb("a8824e"), yaw=0.3 * x)
