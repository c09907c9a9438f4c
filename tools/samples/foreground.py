"""The slope in front of the valley: pines, stones, grass and flowers as points."""

import numpy as np

from samples.camera import Points
from samples.land import AMBIENT, SKY, SUN
from samples.noise import Array, blend, fbm2, smoothstep
from samples.pixels import srgb
from samples.plants import boulder, grass, grow_pine, plant
from samples.terrain import Ground

PINE = ("12291a", "48622d")


def foreground(ground: Ground, rng: np.random.Generator) -> Points:
    """Return all that grows and lies on the slope, lit."""
    feet, tall = _pine_places(ground, rng)
    return Points.join([_pines(feet, tall, rng), _stones(ground, rng), _meadow(ground, feet, tall, rng)])


def _on_ground(ground: Ground, x: Array, z: Array) -> Array:
    return np.stack([x, ground.at(ground.height, x, z), z], axis=-1).astype(np.float32)


def _pine_places(ground: Ground, rng: np.random.Generator) -> tuple[Array, Array]:
    """Feet (N, 3) and heights (N,) of the pines: a few close by, groves at both sides down to the lake."""
    z = np.concatenate([rng.uniform(50, 150, 7), rng.uniform(130, 620, 90), rng.uniform(500, 1350, 260)])
    side = np.where(rng.uniform(0, 1, len(z)) < 0.56, -1, 1)
    spread = 0.34 * rng.uniform(0, 1, len(z)) ** 0.8
    x = side * z * (np.where(z < 500, 0.24, 0.20) + spread) * np.where(z < 150, 1.15, 1)
    feet = _on_ground(ground, x, z)
    dry = feet[:, 1] > 2
    return feet[dry], rng.uniform(15, 27, len(feet))[dry]


def _pines(feet: Array, tall: Array, rng: np.random.Generator) -> Points:
    far_models = [grow_pine(rng, 5200) for _ in range(4)]
    near_models = [grow_pine(rng, 40_000, stem=4000) for _ in range(3)]
    parts = []
    for place, height in zip(feet, tall, strict=True):
        near = place[2] < 155
        tree = near_models[rng.integers(3)] if near else far_models[rng.integers(4)]
        parts.append(plant(tree, place, np.full(3, height), leaf=0.0020 if near else 0.0052, tints=PINE, rng=rng))
    return Points.join(parts)


def _stones(ground: Ground, rng: np.random.Generator) -> Points:
    parts = []
    for _ in range(26):
        z = rng.uniform(9, 90)
        place = _on_ground(ground, np.array([z * rng.uniform(-0.5, 0.5)]), np.array([z]))[0]
        size = rng.uniform(0.25, 0.9) * (1 + z / 60)
        stone = boulder(rng)
        parts.append(Points(stone.place * size + place, stone.colour, stone.radius * size))
    return Points.join(parts)


def _tree_shade(x: Array, z: Array, feet: Array, tall: Array) -> Array:
    """Share of sun (N,) that the pines leave: each casts a long, soft ellipse away from the sun."""
    away = -SUN[[0, 2]] / np.hypot(SUN[0], SUN[2])
    light: Array = np.ones(len(x), np.float32)
    for foot, height in zip(feet[feet[:, 2] < 320], tall[feet[:, 2] < 320], strict=True):
        reach = height * np.hypot(SUN[0], SUN[2]) / SUN[1]
        along = ((x - foot[0]) * away[0] + (z - foot[2]) * away[1]) / reach
        across = ((x - foot[0]) * away[1] - (z - foot[2]) * away[0]) / (0.22 * height)
        width = np.clip(1.1 - along, 0.05, 1.1)
        light *= 1 - 0.75 * smoothstep(1.0, 0.55, np.abs(across) / width) * smoothstep(-0.06, 0.0, along) * (
            along < 1.05
        )
    return light


def _meadow(ground: Ground, feet: Array, tall: Array, rng: np.random.Generator) -> Points:
    count = 320_000
    z = 5 + 270 * rng.uniform(0, 1, count).astype(np.float32) ** 2.0
    x = (z * rng.uniform(-0.62, 0.62, count)).astype(np.float32)
    patch, field = fbm2(x / 7, z / 7, 3, seed=99), fbm2(x / 38, z / 38, 3, seed=103)
    places = _on_ground(ground, x, z)
    ripe = (0.32 + 0.8 * patch + 1.1 * field + 0.22 * rng.normal(size=count)).clip(0, 1).astype(np.float32)
    green = blend(srgb("2b4a1c"), srgb("87893f"), ripe)
    heights = (0.24 + 0.28 * rng.uniform(0, 1, count) + 0.30 * patch.clip(0, 1)) * (1 + z / 130)
    light = SKY.sunlight * (0.42 * _tree_shade(x, z, feet, tall))[:, None] + AMBIENT * 0.34
    blades, colours, radius = grass(places, heights, green * light, rng)
    chosen = np.flatnonzero((rng.uniform(0, 1, count) < 0.10) & (patch - field + 0.15 * rng.normal(size=count) > 0.10))
    petals = srgb("f4f0e6", "f0c83c", "a27ad0", "e46a8a")[rng.integers(0, 4, len(chosen))] * light[chosen] * 1.15
    heads = places[chosen] + np.stack([0 * z, heights * 1.05, 0 * z], axis=1)[chosen]
    dots = Points(heads.astype(np.float32), petals.astype(np.float32), (0.05 * (1 + z / 160))[chosen])
    return Points.join([Points(blades, colours, radius), dots])
