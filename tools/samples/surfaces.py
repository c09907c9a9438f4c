"""How walls, roofs, stone, planks and hulls look: colours from coordinates u, v in metres on a face.

Every function takes a ``Patch`` of N pixels and returns colours (N, 3) in linear light, before lighting.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samples.noise import Array, blend, fbm2, smoothstep
from samples.pixels import srgb

PLAIN, FACADE, GABLE, TILES, STONE, PLANKS, HULL, BANDS, CLOCK, SAIL, AWNING, PAVING = range(12)


@dataclass(frozen=True)
class Patch:
    """Pixels on faces: u and v (N,), the face's width and height (N,), colour (N, 3) and number (N,)."""

    u: Array
    v: Array
    width: Array
    height: Array
    colour: Array
    face: Array


def chance(*keys: Array) -> Array:
    """Return a number in 0..1 that depends on the keys alone."""
    mixed = sum(key * factor for key, factor in zip(keys, (12.9898, 78.233, 37.719), strict=False))
    wave = np.sin(mixed) * 43758.5453
    return np.asarray(wave - np.floor(wave), np.float32)


def _plaster(p: Patch) -> Array:
    shift = (p.face % 97) * 3.7
    stain = fbm2(p.u * 0.5 + shift, p.v * 0.35, 4, seed=111)
    streak = fbm2(p.u * 2.2 + shift, p.v * 0.18, 3, seed=113)
    grain = fbm2(p.u * 7 + shift, p.v * 7, 2, seed=115)
    tone = 1 + 0.28 * stain + 0.22 * streak + 0.16 * grain
    colour = p.colour * tone[:, None]
    bare = smoothstep(0.26, 0.34, stain + 0.25 * grain) * (chance(p.face) < 0.5)
    return blend(colour, srgb("9a7a5c"), 0.7 * bare)


def _facade(p: Patch) -> Array:
    """Plastered wall with rows of shuttered windows, doors below, corner stones and a cornice."""
    colour = _plaster(p)
    count = np.maximum(np.round(p.width / 2.15), 1)
    cell, floor = p.width / count, p.height / np.maximum(np.round(p.height / 3.0), 1)
    column, row = np.floor(p.u / cell), np.floor(p.v / floor)
    x, y = p.u - (column + 0.5) * cell, p.v - row * floor
    pick = chance(p.face, column, row)
    there = (pick > 0.06) & (row < np.round(p.height / floor))
    door = (row == 0) & (chance(p.face, column) < 0.45)
    low, high, half = np.where(door, 0.0, 0.95), np.where(door, 2.35, 2.45), np.where(door, 0.62, 0.46)
    inside = there & (np.abs(x) < half) & (y > low) & (y < high)
    frame = there & (np.abs(x) < half + 0.13) & (y > low - 0.13) & (y < high + 0.16)
    colour = blend(colour, np.clip(p.colour * 1.35 + 0.10, 0, 0.85), 0.8 * frame)
    colour = colour * (1 - 0.35 * (there & (np.abs(x) < half + 0.2) & (y < low - 0.13) & (y > low - 0.5)))[:, None]
    shut = ["2f5d4a", "35618a", "7a4a2c", "8a2f2a", "5c6b70"]
    paint = srgb(*shut)[(chance(p.face * 1.7 + 3) * len(shut)).astype(int)]
    glass = _glass(x, y - low, half, high - low, pick)
    leaf = paint * (0.55 + 0.3 * (np.abs((x * 2) % 1 - 0.5) < 0.42) + 0.2 * chance(np.floor(y * 6), column))[:, None]
    closed = (pick > 0.72) & ~door
    slats = paint * (0.7 + 0.35 * np.sin(y * 62))[:, None]
    pane = np.where(door[:, None], leaf, np.where(closed[:, None], slats, glass))
    colour = np.where(inside[:, None], pane, colour)
    wing = there & ~door & ~closed & (np.abs(x) > half + 0.02) & (np.abs(x) < half + 0.46) & (y > low) & (y < high)
    wing &= (chance(p.face * 0.7) < 0.75) & (cell > 1.85)
    colour = np.where(wing[:, None], slats * 0.95, colour)
    return _trim(p, colour)


def _glass(x: Array, y: Array, half: Array, tall: Array, pick: Array) -> Array:
    """Dark panes with white bars, a bright patch of sky here and there, and the shade of the wall's thickness."""
    sky = smoothstep(0.4, 1.0, y / tall + 0.5 * pick) * (pick * 7 % 1)
    pane = blend(srgb("1a2128"), srgb("8fb0c8"), 0.7 * sky)
    pane = blend(pane, srgb("d9c8a0"), 0.5 * ((pick * 13 % 1) < 0.3) * (np.abs(x) > 0.45 * half))
    bars = (
        (np.abs(x) < 0.035)
        | (np.abs(y - 0.62 * tall) < 0.035)
        | (np.abs(x) > half - 0.06)
        | (y > tall - 0.06)
        | (y < 0.06)
    )
    pane = blend(pane, srgb("e6e0d0"), bars * 0.9)
    values: Array = pane * (1 - 0.55 * ((y > tall - 0.22) | (x < -half + 0.16)))[:, None]
    return values


def _trim(p: Patch, colour: Array) -> Array:
    """Corner stones, a plinth and the shadow under the eaves."""
    block = np.floor(p.v / 0.45)
    edge = np.minimum(p.u, p.width - p.u)
    corner = (edge < 0.32 + 0.16 * (block % 2)) & (chance(p.face * 0.3) < 0.5)
    stone = srgb("cbbd9f") * (0.8 + 0.3 * chance(block, p.face))[:, None]
    colour = np.where(corner[:, None], stone, colour)
    plinth = srgb("8f8676") * (0.8 + 0.35 * chance(np.floor(p.u / 0.7), np.floor(p.v / 0.4)))[:, None]
    colour = np.where((p.v < 0.55)[:, None] & (p.face % 3 > 0)[:, None], 0.5 * colour + 0.5 * plinth, colour)
    cornice = np.abs(p.height - p.v - 0.16) < 0.14
    colour = blend(colour, srgb("e3d8c0"), 0.7 * cornice)
    return colour * (1 - 0.45 * smoothstep(0.9, 0.3, p.height - p.v) * ~cornice)[:, None]


def _gable(p: Patch) -> Array:
    x, y = p.u - p.width / 2, p.v - (p.height - 2.6)
    ring = np.hypot(x, y)
    colour = _plaster(p)
    colour = blend(colour, srgb("e6dcc4"), ring < 0.58)
    return blend(colour, srgb("1c242b"), (ring < 0.44) & (np.abs(x) > 0.03) & (np.abs(y) > 0.03))


def _tiles(p: Patch) -> Array:
    """Rows of round clay tiles, no two quite alike, with moss."""
    row = np.floor(p.v / 0.36)
    column = np.floor(p.u / 0.27 + 0.5 * (row % 2))
    one = chance(column, row, p.face % 31)
    colour = p.colour * (0.62 + 0.62 * one)[:, None]
    wave = np.sin((p.u / 0.27 + 0.5 * (row % 2)) * 2 * np.pi)
    step = (p.v / 0.36) % 1
    colour = colour * (0.86 + 0.20 * wave)[:, None] * (0.62 + 0.42 * smoothstep(0.0, 0.28, step))[:, None]
    moss = smoothstep(0.12, 0.40, fbm2(p.u * 0.6 + p.face % 53, p.v * 0.6, 4, seed=121))
    ridge = smoothstep(0.3, 0.2, p.height - p.v)
    return blend(blend(colour, srgb("6a6a3c"), 0.55 * moss), p.colour * 0.75, 0.8 * ridge)


def _stone(p: Patch) -> Array:
    """Courses of cut stone; dark and green near the water line at v = 0."""
    row = np.floor(p.v / 0.55)
    along = p.u / 1.1 + 0.5 * (row % 2) + 0.2 * chance(row, p.face)
    one = chance(np.floor(along), row, p.face % 13)
    colour = p.colour * (0.68 + 0.5 * one)[:, None] * (1 + 0.5 * fbm2(p.u * 2.5, p.v * 2.5, 4, seed=123))[:, None]
    bed, head = np.abs((p.v / 0.55) % 1 - 0.5) * 0.55, np.abs(along % 1 - 0.5) * 1.1
    seam = np.maximum(smoothstep(0.225, 0.265, bed), smoothstep(0.50, 0.54, head))
    colour = blend(colour, srgb("3d372f"), 0.7 * seam)
    weed = smoothstep(1.0, 0.45, p.v + 0.35 * fbm2(p.u * 0.8, p.v, 3, seed=125))
    return blend(colour, srgb("2c3a22"), 0.85 * weed * (p.colour[:, 2] < 0.5))


def _planks(p: Patch) -> Array:
    board = np.floor(p.v / 0.24)
    grain = fbm2(p.u * 1.2 + 5 * board, p.v * 14, 3, seed=127)
    colour = p.colour * (0.72 + 0.5 * chance(board, p.face))[:, None] * (1 + 0.6 * grain)[:, None]
    gap = smoothstep(0.10, 0.11, np.abs((p.v / 0.24) % 1 - 0.5) * 0.24)
    return blend(colour, srgb("17110b"), 0.85 * gap)


def _hull(p: Patch) -> Array:
    strake = 0.88 + 0.14 * np.sin(p.v * 30)
    worn = smoothstep(0.15, 0.4, fbm2(p.u * 2 + p.face % 7, p.v * 3, 3, seed=129))
    return blend(p.colour * strake[:, None], srgb("9a9284"), 0.35 * worn)


def _bands(p: Patch) -> Array:
    band = np.floor(p.v / 2.6) % 2
    colour = np.where((band == 0)[:, None], srgb("d8d2c4"), srgb("a8281f"))
    rust = smoothstep(0.1, 0.4, fbm2(p.u * 3 + p.face, p.v * 0.4, 3, seed=131))
    pane = (np.abs(p.u - p.width / 2) < 0.25) & (np.abs(p.v % 5.2 - 3.4) < 0.5) & (p.face % 4 == 1)
    return np.where(pane[:, None], srgb("20262b"), blend(colour, srgb("7a6a5a"), 0.4 * rust))


def _clock(p: Patch) -> Array:
    """Wall of a bell tower: a belfry opening with louvres above a clock."""
    x, top = p.u - p.width / 2, p.height - p.v
    colour = _stone(Patch(p.u, p.v + 3, p.width, p.height, p.colour, p.face))
    arch = (np.abs(x) < 0.95) & (top > 1.2) & (top < 4.6) & (np.hypot(x, np.maximum(2.15 - top, 0)) < 0.95)
    colour = np.where(arch[:, None], srgb("1a1a1c") * (1 + 1.5 * (np.sin(p.v * 24) > 0.3))[:, None], colour)
    ring, turn = np.hypot(x, top - 6.6), np.arctan2(x, 6.6 - top)
    face = blend(srgb("ece4cc"), srgb("2a2620"), (np.cos(12 * turn) > 0.8) & (ring > 0.85) & (ring < 1.1))
    hands = (np.abs(x * 0.8 + (6.6 - top) * 0.6) < 0.07) & (ring < 0.8) & (x < 0.05)
    hands |= (np.abs(x) < 0.06) & (top < 6.6) & (ring < 1.0)
    colour = np.where((ring < 1.25)[:, None], blend(face, srgb("1c1814"), hands), colour)
    colour = blend(colour, srgb("8a6a2c"), np.abs(ring - 1.25) < 0.1)
    slit = (np.abs(x) < 0.22) & (np.abs(p.v % 5 - 2.5) < 0.8) & (top > 9)
    ledge = np.abs(p.v % 5.5 - 0.2) < 0.16
    return blend(blend(colour, srgb("17181a"), slit), srgb("e0d4ba"), 0.7 * ledge)


def _sail(p: Patch) -> Array:
    seam = smoothstep(0.44, 0.5, np.abs((p.v / 0.9) % 1 - 0.5))
    return p.colour * (0.95 + 0.25 * fbm2(p.u, p.v, 3, seed=133) - 0.18 * seam)[:, None]


def _awning(p: Patch) -> Array:
    return np.where((np.sin(p.u * 7) > 0)[:, None], p.colour, srgb("efe8d8"))


def _paving(p: Patch) -> Array:
    one = chance(np.floor(p.u / 0.8), np.floor(p.v / 0.8))
    return p.colour * (0.75 + 0.4 * one + 0.5 * fbm2(p.u, p.v, 3, seed=135))[:, None]


def _plain(p: Patch) -> Array:
    return p.colour * (1 + 0.4 * fbm2(p.u * 2, p.v * 2, 3, seed=137))[:, None]


LOOKS: dict[int, Callable[[Patch], Array]] = {
    PLAIN: _plain, FACADE: _facade, GABLE: _gable, TILES: _tiles, STONE: _stone, PLANKS: _planks,
    HULL: _hull, BANDS: _bands, CLOCK: _clock, SAIL: _sail, AWNING: _awning, PAVING: _paving,
}  # fmt: skip
