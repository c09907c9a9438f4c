"""A bunch of flowers for the still life: every petal, leaf and seed head is an ellipsoid."""

from itertools import pairwise

import numpy as np

from samples.noise import Array, blend, fbm2, fbm3, lengths, smoothstep
from samples.pixels import srgb
from samples.things import Ball, Group, Material, Solid

MOUTH = np.array([-1.75, 2.9, 1.0])  # of the vase
# Where the flowers are, which way they look, their size and kind.
HEADS = (
    ((-1.70, 5.15, 0.25), (0.1, 0.25, -1.0), 0.86, "sun"),
    ((-2.95, 4.50, 0.35), (-0.5, 0.15, -0.9), 0.74, "sun"),
    ((-0.55, 4.35, 0.20), (0.45, 0.0, -0.9), 0.70, "sun"),
    ((-1.85, 3.75, -0.25), (-0.1, -0.1, -1.0), 0.56, "daisy"),
    ((-2.60, 5.75, 0.85), (-0.3, 0.7, -0.7), 0.52, "daisy"),
    ((-0.70, 5.55, 0.80), (0.5, 0.6, -0.7), 0.56, "aster"),
    ((-3.15, 3.50, 0.20), (-0.7, -0.1, -0.8), 0.46, "aster"),
    ((-0.62, 3.35, 0.10), (0.5, -0.2, -0.9), 0.44, "daisy"),
)
KINDS = {
    "sun": (("e8a30e", "f9cf3a"), ("2c1608", "6a3c14"), 19, 0.17, 0.40),
    "daisy": (("e9e6da", "fbfaf4"), ("c9880f", "f0c030"), 15, 0.15, 0.28),
    "aster": (("6a2f8f", "a76ac8"), ("c98a1a", "e8c040"), 17, 0.13, 0.26),
}


def pieces() -> list[Group]:
    """Return the heads, the leaves and the stems."""
    rng = np.random.default_rng(91)
    groups = [_head(np.array(place), np.array(way), size, kind, rng) for place, way, size, kind in HEADS]
    groups.append(Group((-1.8, 4.2, 0.8), 2.4, [_leaf(rng, number) for number in range(34)]))
    stems = [_stem(np.array(place)) for place, _, _, _ in HEADS]
    groups.append(Group((-1.8, 4.0, 0.7), 2.6, stems))
    return groups


def _frame(way: Array) -> Array:
    """Return a rotation (3, 3) whose third column points along ``way``."""
    ahead = way / np.linalg.norm(way)
    side = np.cross((0.0, 1.0, 0.0), ahead)
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(ahead, side), ahead], axis=1)


def _head(place: Array, way: Array, size: float, kind: str, rng: np.random.Generator) -> Group:
    petal_colours, heart_colours, count, width, heart = KINDS[kind]
    frame, petals = _frame(way), []
    for ring, reach in ((0, 1.0), (1, 0.82)):
        for number in range(count):
            turn = 2 * np.pi * (number + 0.5 * ring + rng.uniform(-0.15, 0.15)) / count
            lift = rng.uniform(-0.10, 0.28) + 0.22 * ring
            out = np.array([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
            across = np.array([-np.sin(turn), np.cos(turn), rng.uniform(-0.4, 0.4)])
            across /= np.linalg.norm(across)
            axes = frame @ np.stack([across, out, np.cross(across, out)], axis=1)
            length = 0.34 * size * reach * rng.uniform(0.9, 1.12)
            centre = place + frame @ (out * (heart * 0.75 * size + length))
            radii = (width * size, length * 1.25, 0.028 * size)
            petals.append(
                Ball(tuple(centre), radii, _petal(*petal_colours, float(rng.uniform())), axes.astype(np.float32))
            )
    middle = Ball(
        tuple(place + frame @ (0, 0, 0.04)),
        (heart * size, heart * size, 0.2 * size),
        _seeds(*heart_colours),
        frame.astype(np.float32),
    )
    return Group(tuple(place), 1.35 * size, [*petals, middle])


def _petal(dark: str, pale: str, age: float) -> Material:
    def colour(p: Array) -> Array:
        veins = 0.5 + 0.5 * np.sin(p[:, 0] * 17 + 2 * age)
        tone = (0.55 + 0.3 * p[:, 1] + 0.25 * veins - 0.35 * age).clip(0, 1)
        return blend(srgb(dark) * (0.75 + 0.25 * age), srgb(pale), tone)

    return Material(colour, gloss=0.12, rough=0.3)


def _seeds(dark: str, pale: str) -> Material:
    """Seeds in the spirals of a sunflower, darker towards the middle."""

    def pattern(p: Array) -> Array:
        r, angle = np.hypot(p[:, 0], p[:, 1]), np.arctan2(p[:, 1], p[:, 0])
        winding = 13 * np.log(r + 0.08)
        values: Array = np.sin(13 * angle + winding) * np.sin(13 * angle - winding) * smoothstep(0.02, 0.2, r)
        return values

    def colour(p: Array) -> Array:
        r = np.hypot(p[:, 0], p[:, 1])
        return blend(srgb(dark), srgb(pale), (0.4 + 0.45 * pattern(p) + 0.7 * (r - 0.55)).clip(0, 1))

    def bump(p: Array) -> Array:
        return 0.06 * pattern(p)

    return Material(colour, bump=bump, bump_depth=0.8)


def _leaf(rng: np.random.Generator, number: int) -> Ball:
    turn, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 2.1)
    away = rng.uniform(0.45, 0.9) + 0.30 * np.sin(up * 1.5)
    way = np.array([np.cos(turn), rng.uniform(-0.5, 0.6), 0.75 * np.sin(turn)])
    way /= np.linalg.norm(way)
    centre = MOUTH + (0, 0.25 + up, -0.1) + way * away
    across = np.cross(way, rng.normal(size=3))
    across /= np.linalg.norm(across)
    axes = np.stack([across, way, np.cross(across, way)], axis=1)
    length = rng.uniform(0.36, 0.62)

    def colour(p: Array) -> Array:
        rib = smoothstep(0.07, 0.02, np.abs(p[:, 0])) + 0.6 * smoothstep(
            0.8, 1.0, np.sin(9 * (p[:, 1] - 0.9 * np.abs(p[:, 0])))
        )
        green = blend(srgb("274f24"), srgb("6d8f3a"), (0.4 + 0.5 * fbm3(p * 1.5 + number, 3, seed=92)).clip(0, 1))
        return blend(green, srgb("a5b866"), 0.5 * rib.clip(0, 1))

    return Ball(
        tuple(centre), (0.40 * length, length, 0.022), Material(colour, gloss=0.35, rough=0.2), axes.astype(np.float32)
    )


def _stem(place: Array) -> Solid:
    """A bent stalk from the mouth of the vase to a head."""
    start, end = MOUTH - (0, 0.6, 0), place + np.array([0, 0, 0.1])
    middle = (start + end) / 2 + (0.25 * (end - start) * (-1, 0, -1)) * 0.6

    def distance(p: Array) -> Array:
        best = np.full(len(p), 9.0)
        knots = [start, (start + middle) / 2 + 0.25 * (middle - (start + end) / 2), middle, end]
        for a, b in pairwise(knots):
            t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
            best = np.minimum(best, lengths(p - a - t[:, None] * (b - a)))
        return (best - 0.05).astype(np.float32)

    def colour(p: Array) -> Array:
        return blend(srgb("3c5a22"), srgb("7f9a48"), (0.5 + fbm2(p[:, 0] * 6, p[:, 1] * 2, 2, seed=94)).clip(0, 1))

    centre = tuple((start + end) / 2)
    shifted = np.array(centre)

    def local_distance(p: Array) -> Array:
        return distance(p + shifted)

    return Solid(centre, float(np.linalg.norm(end - start)) / 2 + 0.35, local_distance, Material(colour), steps=40)
