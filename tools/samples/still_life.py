"""Content picture: fruit, flowers, a bottle and a copper jug on a table by a window, ray traced."""

import numpy as np

from samples import crockery, flowers, fruit
from samples.camera import Camera
from samples.noise import Array, blend, fbm2, smoothstep
from samples.pixels import bloom, shrink, srgb, tone_map, vignette
from samples.things import Group, Material, Solid, Thing, Wall
from samples.trace import Room, Window
from samples.trace import render as trace

# Units: 1 = one decimetre. The table top is y = 0, its front edge z = -3.
FRONT, CLOTH_LEFT, CLOTH_RIGHT, HEM = -3.0, -3.5, 3.9, -1.9


def render(size: tuple[int, int], supersample: int = 1, samples: int = 12) -> Array:
    """Return the picture, (H, W, 3) linear light, of size (height, width)."""
    height, width = size[0] * supersample, size[1] * supersample
    window = Window(
        centre=np.array([-9.5, 6.5, -4.5], np.float32),
        side=np.array([1.2, 0, -2.6], np.float32),
        rise=np.array([0, 2.9, 0], np.float32),
        light=np.array([15.5, 13.6, 10.8], np.float32),
    )
    camera = Camera(np.array([0.15, 4.6, -14.0], np.float32), -0.150, 1.56 * width, (height, width))
    picture = trace(Room(_scene(), window, _ambient), camera, samples, seed=3)
    picture = vignette(bloom(shrink(picture, size), 0.9, size[0] / 70, 0.10), 0.42)
    return tone_map(picture, 1.15)


def _ambient(rays: Array) -> Array:
    """Light of the room apart from the window: warm from the right, cool from above."""
    up, right = 0.5 + 0.5 * rays[:, 1:2], 0.5 + 0.5 * rays[:, 0:1]
    cool, warm = np.array([0.13, 0.16, 0.21], np.float32), np.array([0.17, 0.11, 0.065], np.float32)
    return up * cool + right * warm * 0.8 + 0.02


def _scene() -> list[Thing | Group]:
    return [
        Wall(4.6, Material(_wall_colour, bump=_wall_height, bump_depth=0.6)),
        Solid(
            (0, 0, 0),
            14.0,
            _table,
            Material(_wood, gloss=0.5, rough=0.10, bump=_grain, bump_depth=0.35),
            steps=70,
            top=0.01,
        ),
        Solid((0, 0, 0), 6.6, _cloth, Material(_gingham, bump=_weave, bump_depth=0.25), steps=90, top=0.5),
        *crockery.pieces(),
        *fruit.pieces(),
        *flowers.pieces(),
    ]


def _slab(p: Array, rim: float, under: float = -0.42) -> Array:
    """Distance (N,) to the table top, a board with rounded edges grown by ``rim``, down to ``under``."""
    over = np.maximum(p[:, 2] - 4.5, FRONT + 0.12 - p[:, 2]), np.maximum(p[:, 1] + 0.12, under - p[:, 1])
    outside = np.hypot(np.maximum(over[0], 0), np.maximum(over[1], 0))
    inside = np.minimum(np.maximum(over[0], over[1]), 0)
    return (outside + inside - 0.12 - rim).astype(np.float32)


def _table(p: Array) -> Array:
    return _slab(p, 0.0)


def _cloth(p: Array) -> Array:
    """A cloth over the board: flat where things stand, in folds where it hangs."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    hangs = smoothstep(0.0, -0.9, y)
    loose = np.clip((FRONT + 1.1 - z) / 1.1, 0, 1) * 0.25 + hangs
    waves = np.sin(3.1 * x + 1.3 * np.sin(1.1 * x + 0.8)) * 0.5 + 0.35 * np.sin(5.7 * x + 2 + 0.6 * y) + 0.5
    edge = smoothstep(1.3, 0.0, np.minimum(x - CLOTH_LEFT, CLOTH_RIGHT - x)) * smoothstep(-0.3, 0.05, y)
    ripples = 0.05 * edge * (1 + np.sin(4.3 * z + 2.0 * np.sin(1.7 * x)) + 0.5 * np.sin(2.3 * x + 3.1 * z))
    creases = 0.012 * (1 + np.sin(2.2 * x + 1.4 * z + 1.5 * np.sin(0.9 * z)))
    drop = (
        np.abs(_slab(p, 0.03, -9.0) - 0.20 * loose * waves * hangs - 0.05 * loose * waves - ripples - creases) - 0.022
    )
    hem = HEM + 0.08 * np.sin(3.1 * x + 1.3 * np.sin(1.1 * x + 0.8)) - y
    left = CLOTH_LEFT + 0.18 * np.sin(1.3 * z) + 0.1 * np.sin(2.9 * z + y) - x
    right = x - CLOTH_RIGHT - 0.16 * np.sin(1.6 * z + 1) - 0.1 * np.sin(3.1 * z + y)
    cut = np.maximum(np.maximum(left, right), np.maximum(hem, z - 3.4))
    return (np.maximum(drop, cut) * 0.72).astype(np.float32)


def _gingham(p: Array) -> Array:
    """Checks woven of white and blue threads; the second coordinate goes on over the edge."""
    u = p[:, 0] + 0.06 * np.sin(1.7 * p[:, 2])
    v = np.where(p[:, 1] < -0.05, FRONT + p[:, 1], p[:, 2]) + 0.05 * np.sin(1.3 * p[:, 0])
    stripe_u = smoothstep(-0.06, 0.06, np.sin(u * np.pi / 0.33))
    stripe_v = smoothstep(-0.06, 0.06, np.sin(v * np.pi / 0.33))
    thread = 0.06 * np.sin(u * 190) * np.sin(v * 190) + 0.10 * fbm2(u * 30, v * 30, 2, seed=5)
    colour = blend(srgb("efe9dc"), srgb("24407f"), (0.5 * (stripe_u + stripe_v) + thread).clip(0, 1))
    band = smoothstep(HEM + 0.22, HEM + 0.2, p[:, 1]) * smoothstep(HEM + 0.1, HEM + 0.12, p[:, 1])
    return blend(colour, srgb("b0322c"), band)


def _weave(p: Array) -> Array:
    values: Array = 0.02 * np.sin(p[:, 0] * 120) * np.sin((p[:, 2] + p[:, 1]) * 120) + 0.05 * fbm2(
        p[:, 0] * 3, p[:, 2] * 3, 3, seed=6
    )
    return values


def _wood(p: Array) -> Array:
    """Boards along x with growth rings, pores and dark joints."""
    x, depth = p[:, 0], p[:, 2] + 0.7 * np.minimum(p[:, 1], 0)
    board = np.floor(depth / 1.15)
    across = depth + 0.35 * fbm2(x * 0.35 + 7 * board, depth * 1.2 + 3 * board, 3, seed=11)
    rings = 0.5 + 0.5 * np.sin(across * 26 + 3.0 * fbm2(x * 0.5 + 5 * board, depth * 2, 3, seed=13))
    pores = smoothstep(0.12, 0.42, fbm2(x * 4, depth * 55, 3, seed=15))
    colour = blend(
        srgb("7a4420"), srgb("b97b41"), (0.65 * rings + 0.7 * fbm2(x * 1.1, depth * 9, 3, seed=17) + 0.2).clip(0, 1)
    )
    colour = blend(colour, srgb("3c200f"), 0.6 * pores) * (0.86 + 0.22 * np.sin(board * 12.9))[:, None]
    joint = smoothstep(0.035, 0.01, 0.5 - np.abs((depth / 1.15) % 1 - 0.5))
    return blend(colour, srgb("1c0f08"), 0.8 * joint)


def _grain(p: Array) -> Array:
    depth = p[:, 2] + 0.7 * np.minimum(p[:, 1], 0)
    joint = smoothstep(0.05, 0.0, 0.5 - np.abs((depth / 1.15) % 1 - 0.5))
    return 0.02 * fbm2(p[:, 0] * 3, depth * 40, 2, seed=15) - 0.08 * joint


def _drape(x: Array, y: Array) -> tuple[Array, Array]:
    """A curtain at the right: how much of it is there, and the height of its folds."""
    edge = 1.75 + 0.10 * y + 0.25 * np.sin(0.6 * y + 1) + 0.08 * np.sin(2.1 * y)
    lean = x + 0.14 * y + 0.10 * np.sin(0.8 * y + x)
    folds = 0.5 * np.sin(3.0 * lean + 0.9 * np.sin(1.3 * lean)) + 0.22 * np.sin(7.1 * lean + 1.2 * np.sin(0.9 * y))
    return smoothstep(-0.04, 0.04, x - edge), folds


def _wall_height(p: Array) -> Array:
    there, folds = _drape(p[:, 0], p[:, 1])
    plaster = 0.10 * fbm2(p[:, 0] * 2.2, p[:, 1] * 2.2, 5, seed=21, gain=0.6)
    return there * (0.5 * folds + 0.3) + (1 - there) * plaster


def _wall_colour(p: Array) -> Array:
    x, y = p[:, 0], p[:, 1]
    stain = fbm2(x * 0.5, y * 0.5, 5, seed=23, gain=0.6)
    plaster = blend(srgb("6d6a58"), srgb("a39a7c"), (0.45 + 0.9 * stain).clip(0, 1))
    plaster = blend(plaster, srgb("7c5a40"), smoothstep(0.18, 0.3, fbm2(x * 0.7 + 4, y * 0.7, 5, seed=25)) * 0.7)
    there, folds = _drape(x, y)
    damask = np.sin(4 * (x + 0.14 * y)) * np.sin(3.2 * y) + 0.8 * np.cos(8 * (x + 0.14 * y)) * np.cos(6.4 * y)
    velvet = blend(srgb("5c1420"), srgb("8f2a2c"), smoothstep(-0.2, 0.4, damask))
    velvet = blend(velvet, srgb("b98a45"), 0.55 * smoothstep(0.95, 1.15, damask))
    return blend(plaster, velvet * (0.75 + 0.3 * folds)[:, None], there)
