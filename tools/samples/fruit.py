"""Fruit for the still life: apples, pears, oranges, lemons, grapes and walnuts."""

import numpy as np

from samples.noise import Array, blend, fbm2, fbm3, lengths, perlin3, smoothstep
from samples.pixels import srgb
from samples.things import Ball, Group, Material, Solid, Thing, turned

Place = tuple[float, float, float]


def pieces() -> list[Thing | Group]:
    """Return all fruit in its place: in the bowl and on the cloth."""
    return [
        _apple((0.42, 1.12, -0.55), 0.66, turned(0.35, 0.4, 0.25), red=1.0),
        _apple((1.5, 1.18, -0.78), 0.62, turned(-0.5, 2.0, -0.3), red=0.75),
        _apple((0.72, 1.3, 0.65), 0.66, turned(0.1, 1.0, 0.2), red=0.2),
        _apple((-3.05, 0.6, -0.55), 0.62, turned(0.15, 2.5, -0.2), red=0.1),
        _orange((2.15, 1.2, 0.25), 0.64, 1),
        _orange((-0.15, 0.67, -2.05), 0.61, 2),
        _pear((1.3, 1.42, 0.05), 0.62, turned(0.15, 0.3, -0.30)),
        _lemon((-1.15, 0.50, -1.35), 0.44, turned(0.2, 0.7, 1.25)),
        _lemon((-2.05, 0.50, -1.75), 0.45, turned(-0.1, -0.5, 1.45)),
        _cut_orange((3.2, 0.60, -2.35)),
        _grapes(),
        *(
            _walnut(place, number)
            for number, place in enumerate([(0.85, 0.29, -2.35), (1.42, 0.29, -2.0), (-2.85, 0.29, -2.25)])
        ),
    ]


def _apple(centre: Place, size: float, turn: Array, red: float) -> Group:
    """A spindle torus with a narrower foot, and a stalk in the hollow."""

    def distance(p: Array) -> Array:
        y = p[:, 1] / size
        r = np.hypot(p[:, 0], p[:, 2]) / size / (1 - 0.13 * np.clip(y, -1, 0.6)) * (1 - 0.09 * y)
        bulge = np.hypot(r - 0.36, y * 1.08) - 0.66
        return (bulge * size * 0.75).astype(np.float32)

    def colour(p: Array) -> Array:
        angle, y = np.arctan2(p[:, 2], p[:, 0]), p[:, 1] / size
        streak = fbm2(angle * 9, y * 1.2, 4, seed=61)
        blush = (0.55 + 0.5 * np.sin(angle + 0.6) + 0.55 * streak) * 0.7 + red - 0.55 - 0.25 * (y < -0.4)
        ground = blend(srgb("8fa83a"), srgb("d9c352"), (0.5 + fbm3(p * 3, 3, seed=62)).clip(0, 1))
        skin = blend(
            ground, blend(srgb("c8231f"), srgb("74101a"), (0.5 + 1.2 * streak).clip(0, 1)), smoothstep(0, 0.6, blush)
        )
        skin = blend(skin, srgb("e9d9a0"), 0.7 * smoothstep(0.36, 0.46, perlin3(p * 17, 63)))
        hollow = smoothstep(0.30, 0.10, np.hypot(p[:, 0], p[:, 2]) / size) * (y > 0)
        return blend(skin, srgb("6d6a2a"), 0.8 * hollow)

    body = Solid(centre, 1.12 * size, distance, Material(colour, gloss=0.75, rough=0.05), turn)
    return Group(centre, 1.6 * size, [body, _stalk(centre, turn, size, 0.30)])


def _stalk(centre: Place, turn: Array, size: float, start: float) -> Solid:
    def distance(p: Array) -> Array:
        along = np.clip(p[:, 1], start * size, (start + 0.55) * size)
        bend = 0.10 * size * ((along / size - start) / 0.55) ** 2
        thick = 0.035 * size * (1 + 0.9 * smoothstep(0.35, 0.55, along / size - start))
        values: Array = (np.sqrt((p[:, 0] - bend) ** 2 + p[:, 2] ** 2 + (p[:, 1] - along) ** 2) - thick).astype(
            np.float32
        ) * 0.9
        return values

    def colour(p: Array) -> Array:
        return srgb("4a3018") * (1 + 0.8 * fbm3(p * 14, 2, seed=64))[:, None]

    return Solid(centre, 1.3 * size, distance, Material(colour), turn)


def _orange(centre: Place, size: float, seed: int) -> Ball:
    def colour(p: Array) -> Array:
        skin = blend(srgb("e8780f"), srgb("f6a01c"), (0.5 + 0.8 * fbm3(p * 1.5 + 9 * seed, 3, seed=65)).clip(0, 1))
        pores = smoothstep(0.15, 0.5, perlin3(p * 16, 66))
        navel = smoothstep(0.14, 0.06, np.hypot(p[:, 0], p[:, 2])) * (p[:, 1] > 0)
        return blend(blend(skin, srgb("b85408"), 0.35 * pores), srgb("53602a"), navel)

    def peel(p: Array) -> Array:
        navel = smoothstep(0.3, 0.0, np.hypot(p[:, 0], p[:, 2])) * (p[:, 1] > 0)
        return -0.035 * smoothstep(0.1, 0.5, perlin3(p * 16, 66)) - 0.10 * navel + 0.03 * fbm3(p * 3, 2, seed=67)

    material = Material(colour, gloss=0.65, rough=0.14, bump=peel, bump_depth=0.8)
    return Ball(centre, (size, 0.95 * size, size), material, turned(-0.9 + 0.5 * seed, 0.4 * seed, 0.5))


def _pear(centre: Place, size: float, turn: Array) -> Group:
    def distance(p: Array) -> Array:
        low, high = lengths(p) - size, lengths(p - (0, 1.12 * size, 0)) - 0.46 * size
        near = np.clip(0.5 + 0.5 * (high - low) / (0.75 * size), 0, 1)
        return ((high + (low - high) * near - 0.75 * size * near * (1 - near)) * 0.9).astype(np.float32)

    def colour(p: Array) -> Array:
        skin = blend(srgb("8d9a2f"), srgb("d8bf45"), (0.5 + 0.9 * fbm3(p * 1.6, 4, seed=68) + 0.3 * p[:, 0]).clip(0, 1))
        skin = blend(
            skin, srgb("b5502a"), 0.6 * smoothstep(0.0, 0.7, p[:, 0] - 0.3 * p[:, 2] + 0.6 * fbm3(p * 2, 3, seed=69))
        )
        return blend(skin, srgb("6a4a1c"), 0.7 * smoothstep(0.30, 0.42, perlin3(p * 21, 70)))

    body = Solid(
        (centre[0], centre[1] + 0.35, centre[2]), 1.75 * size, distance, Material(colour, gloss=0.5, rough=0.10), turn
    )
    stalk = _stalk(body.centre, turn, 1.3 * size, 1.15)
    return Group(body.centre, 2.6 * size, [body, Solid(stalk.centre, 2.4 * size, stalk.distance, stalk.material, turn)])


def _lemon(centre: Place, size: float, turn: Array) -> Solid:
    def distance(p: Array) -> Array:
        along = p[:, 1] / size
        radius = size * (
            np.sqrt(np.clip(1 - (along / 1.22) ** 2, 0, 1)) + 0.16 * np.exp(-(((np.abs(along) - 1.24) / 0.16) ** 2))
        )
        side = np.hypot(p[:, 0], p[:, 2]) - radius
        return (np.maximum(side, np.abs(p[:, 1]) - 1.38 * size) * 0.55).astype(np.float32)

    def colour(p: Array) -> Array:
        skin = blend(srgb("e8c21a"), srgb("f7e04a"), (0.5 + 0.8 * fbm3(p * 2.5, 3, seed=71)).clip(0, 1))
        tip = smoothstep(1.15, 1.38, np.abs(p[:, 1]) / size)
        return blend(skin, srgb("8f8a2a"), 0.7 * tip)

    def peel(p: Array) -> Array:
        return -0.03 * smoothstep(0.1, 0.5, perlin3(p * 26, 72)) + 0.03 * fbm3(p * 5, 2, seed=73)

    return Solid(
        centre, 1.5 * size, distance, Material(colour, gloss=0.6, rough=0.12, bump=peel, bump_depth=0.6), turn, steps=80
    )


def _cut_orange(centre: Place) -> Solid:
    """Half an orange, its cut face to the viewer: flesh in segments, white pith, peel."""
    size = 0.62

    def distance(p: Array) -> Array:
        return (np.maximum(lengths(p) - size, p[:, 1] - 0.02)).astype(np.float32)

    def colour(p: Array) -> Array:
        r, angle = np.hypot(p[:, 0], p[:, 2]) / size, np.arctan2(p[:, 2], p[:, 0])
        part = np.abs((angle * 10 / (2 * np.pi) + 0.08 * np.sin(3 * angle)) % 1 - 0.5)
        skin_between = smoothstep(0.5 - 0.035 / np.maximum(r, 0.08), 0.5, part)
        cells = 0.5 + fbm2(angle * 14, r * 5, 3, seed=74)
        flesh = blend(srgb("f08a10"), srgb("ffb838"), cells.clip(0, 1))
        flesh = blend(flesh, srgb("f8e3b0"), np.maximum(0.85 * skin_between, smoothstep(0.12, 0.06, r)))
        face = blend(flesh, srgb("f6e8c4"), smoothstep(0.84, 0.87, r + 0.01 * np.cos(20 * angle)))
        face = blend(face, srgb("e8820f"), smoothstep(0.95, 0.97, r))
        return np.where((p[:, 1] > -0.01)[:, None], face, srgb("e8820f"))

    def pulp(p: Array) -> Array:
        angle = np.arctan2(p[:, 2], p[:, 0])
        return 0.03 * fbm2(angle * 14, np.hypot(p[:, 0], p[:, 2]) * 8, 2, seed=74)

    return Solid(
        centre,
        0.7,
        distance,
        Material(colour, gloss=0.7, rough=0.15, bump=pulp, bump_depth=0.7),
        turned(-1.05, 0, 0.35),
    )


def _grapes() -> Group:
    """A bunch that hangs over the rim of the bowl, and a few loose grapes."""
    rng = np.random.default_rng(77)

    def colour(p: Array) -> Array:
        bloom = smoothstep(-0.15, 0.4, fbm3(p * 1.6, 3, seed=78) + 0.15 * p[:, 1])
        return blend(srgb("2a0f2c"), srgb("7a6f9a"), 0.55 * bloom)

    skin = Material(colour, gloss=0.8, rough=0.07)
    grapes = []
    for number in range(46):
        along = number / 46
        path = np.array(
            [2.55 + 0.75 * along, 1.28 + 0.20 * np.sin(2.6 * along) - 1.02 * along**1.3, -0.75 - 0.62 * along]
        )
        spread = rng.normal(0, 1, 3) * (0.30 * (1 - 0.65 * along) + 0.06)
        centre = path + spread
        centre[1] = max(centre[1], 0.27)
        grapes.append(_grape(tuple(centre), 0.20 + 0.04 * rng.uniform(), skin, rng))
    for place in ((2.35, 0.26, -2.1), (1.95, 0.26, -2.55), (0.35, 0.26, -2.75)):
        grapes.append(_grape(place, 0.21, skin, rng))
    return Group((2.3, 0.8, -1.5), 2.3, grapes)


def _grape(centre: Place, size: float, skin: Material, rng: np.random.Generator) -> Ball:
    return Ball(centre, (size, 1.12 * size, size), skin, turned(*rng.uniform(-1, 1, 3)))


def _walnut(centre: Place, seed: int) -> Ball:
    def wrinkles(p: Array) -> Array:
        seam = smoothstep(0.10, 0.0, np.abs(p[:, 0]))
        return 0.22 * np.abs(fbm3(p * 2.6 + 5 * seed, 3, seed=81)) - 0.12 * seam

    def colour(p: Array) -> Array:
        return blend(
            srgb("6d4424"), srgb("c79a62"), (3.2 * np.abs(fbm3(p * 2.6 + 5 * seed, 3, seed=81)) + 0.15).clip(0, 1)
        )

    material = Material(colour, gloss=0.15, rough=0.3, bump=wrinkles, bump_depth=1.0)
    return Ball(centre, (0.23, 0.27, 0.23), material, turned(0.9 + seed, 0.5 * seed, 1.0))
