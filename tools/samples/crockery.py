"""Turned things for the still life: vase, bowl, bottle and jug, each a profile spun about the y axis."""

from collections.abc import Sequence

import numpy as np

from samples.noise import Array, blend, fbm2, fbm3, smoothstep
from samples.pixels import srgb
from samples.things import Field, Material, Solid, Thing, turned


def spun(profile: Sequence[tuple[float, float]], wall: float = 0.0, floor: float = 0.0) -> Field:
    """Return the distance to a body of revolution.

    Args:
        profile: (height, radius) from bottom to top, joined by a smooth curve.
        wall: thickness; 0 makes the body solid, otherwise it is open at the top.
        floor: height of the inner floor of an open body.
    """
    knots = np.array(profile, np.float32)
    heights = np.linspace(knots[0, 0], knots[-1, 0], 400).astype(np.float32)
    radii = np.interp(heights, knots[:, 0], knots[:, 1])
    kernel = np.hanning(31) / np.hanning(31).sum()
    radii = np.convolve(np.pad(radii, 15, mode="edge"), kernel, mode="valid").astype(np.float32)
    lean = 1 / np.sqrt(1 + np.gradient(radii, heights) ** 2)

    def distance(p: Array) -> Array:
        y, r = p[:, 1], np.hypot(p[:, 0], p[:, 2])
        radius, slope = np.interp(y, heights, radii), np.interp(y, heights, lean)
        outer = np.maximum((r - radius) * slope, np.maximum(heights[0] - y, y - heights[-1]))
        if wall:
            inner = np.maximum((r - radius + wall) * slope, floor - y)
            outer = np.maximum(outer, -inner)
        values: Array = (outer * 0.8).astype(np.float32)
        return values

    return distance


def pieces() -> list[Thing]:
    """Return the vase, the bowl, the bottle and the jug in their places."""
    vase = [
        (0, 0.62),
        (0.12, 0.66),
        (0.2, 0.55),
        (0.7, 0.95),
        (1.35, 1.18),
        (1.9, 1.0),
        (2.35, 0.58),
        (2.65, 0.5),
        (2.95, 0.72),
        (3.0, 0.76),
    ]
    bowl = [(0, 0.78), (0.1, 0.8), (0.2, 0.66), (0.32, 0.9), (0.6, 1.5), (0.95, 1.9), (1.0, 1.96)]
    bottle = [
        (0, 0.60),
        (0.08, 0.64),
        (2.5, 0.64),
        (2.95, 0.56),
        (3.3, 0.26),
        (3.9, 0.21),
        (4.3, 0.2),
        (4.34, 0.26),
        (4.5, 0.26),
    ]
    glazed = Material(_porcelain, gloss=1.0, rough=0.02)
    return [
        Solid((-1.75, 0.05, 1.0), 3.3, spun(vase, 0.1, 0.3), glazed),
        Solid(
            (1.25, 0.05, -0.1),
            2.3,
            spun(bowl, 0.08, 0.3),
            Material(_earthenware, gloss=0.8, rough=0.04, bump=_turning, bump_depth=0.3),
        ),
        Solid((3.15, 0.0, 1.9), 4.6, spun(bottle), Material(_bottle, gloss=1.0, rough=0.01)),
        Solid(
            (-3.75, 0.0, 1.2),
            2.7,
            _jug(),
            Material(_copper, gloss=1.0, rough=0.16, metal=True, bump=_hammered, bump_depth=0.22),
            turned(y=2.3),
        ),
    ]


def _jug() -> Field:
    body = spun(
        [(0, 0.8), (0.1, 0.84), (0.5, 1.0), (0.9, 1.02), (1.5, 0.66), (1.9, 0.55), (2.2, 0.7), (2.25, 0.72)], 0.06, 0.2
    )

    def distance(p: Array) -> Array:
        ring = np.hypot(np.hypot((p[:, 0] + 0.82) * 1.15, p[:, 1] - 1.35) - 0.62, p[:, 2]) - 0.075
        outside = np.where(p[:, 0] < -0.5, ring, 0.4)
        return np.minimum(body(p), outside * 0.9).astype(np.float32)

    return distance


def _porcelain(p: Array) -> Array:
    """White glaze painted in cobalt: bands, and flowers with scrolls around the belly."""
    angle, y = np.arctan2(p[:, 2], p[:, 0]), p[:, 1]
    white = srgb("eceae2") * (0.97 + 0.1 * fbm3(p * 3, 3, seed=31))[:, None]
    turns = 6
    u, v = (angle * turns / (2 * np.pi)) % 1 - 0.5, (y - 1.25) / 0.95
    reach, turn = np.hypot(u * 1.1, v), np.arctan2(v, u * 1.1)
    petals = smoothstep(0.03, -0.03, reach - 0.30 - 0.08 * np.cos(6 * turn)) * (
        0.55 + 0.45 * np.cos(6 * turn + 40 * reach)
    )
    heart = smoothstep(0.02, -0.02, np.abs(reach - 0.1) - 0.03)
    vine = smoothstep(0.05, 0.01, np.abs(v - 0.62 * np.sin(2 * np.pi * (u + 0.5)) * np.cos(np.pi * u)))
    leaves = smoothstep(0.25, 0.6, np.sin(26 * u + 3 * np.sin(9 * v)) * np.sin(17 * v)) * smoothstep(0.36, 0.45, reach)
    belly = smoothstep(0.95, 0.85, np.abs(v))
    ink = np.maximum(np.maximum(petals, heart), np.maximum(0.8 * vine, 0.7 * leaves)) * belly
    for line, width in ((0.16, 0.05), (0.36, 0.022), (2.22, 0.03), (2.32, 0.015), (2.88, 0.05)):
        ink = np.maximum(ink, smoothstep(width, 0.6 * width, np.abs(y - line)))
    collar = (
        smoothstep(0.3, 0.5, np.sin(angle * 18) * 0.5 + (y - 2.55) * 2)
        * smoothstep(2.36, 2.4, y)
        * smoothstep(2.84, 2.8, y)
    )
    ink = np.maximum(ink, collar) * (0.85 + 0.5 * fbm3(p * 5, 3, seed=33))
    return blend(white, blend(srgb("2347a0"), srgb("0e1c55"), (ink - 0.4).clip(0, 1)), ink.clip(0, 1))


def _earthenware(p: Array) -> Array:
    """Turquoise glaze that runs thin at the rim and speckles."""
    y = p[:, 1] + 0.10 * fbm2(np.arctan2(p[:, 2], p[:, 0]) * 5, p[:, 1] * 0.8, 3, seed=35)
    glaze = blend(srgb("1c5f66"), srgb("4aa3a0"), (0.5 + 0.9 * fbm3(p * 2, 4, seed=36)).clip(0, 1))
    clay = srgb("8f5a36")
    colour = blend(glaze, clay, np.maximum(smoothstep(0.93, 0.99, y), smoothstep(0.2, 0.12, y)))
    band = smoothstep(0.02, 0.01, np.abs(y - 0.72)) + smoothstep(0.012, 0.006, np.abs(y - 0.64))
    colour = blend(colour, srgb("e9dfc0"), band.clip(0, 1) * 0.8)
    return blend(colour, srgb("2c2a20"), smoothstep(0.33, 0.42, fbm3(p * 16, 2, seed=38)))


def _turning(p: Array) -> Array:
    values: Array = 0.02 * np.sin(p[:, 1] * 50 + 2 * fbm3(p, 2, seed=39))
    return values


def _bottle(p: Array) -> Array:
    """Dark green glass with wine behind it, a paper label and a foil cap."""
    angle, y = np.arctan2(p[:, 2], p[:, 0]), p[:, 1]
    glass = blend(srgb("07130a"), srgb("1d4023"), smoothstep(2.6, 3.6, y))
    foil = srgb("7c1f22") * (1 + 0.4 * np.sin(angle * 24) * smoothstep(4.25, 4.3, y))[:, None]
    colour = blend(glass, foil, smoothstep(3.66, 3.68, y + 0.02 * np.sin(angle * 5)))
    across = np.abs(np.angle(np.exp(1j * (angle + 1.75)))).astype(np.float32)
    paper = smoothstep(0.98, 0.95, across) * smoothstep(0.62, 0.65, y) * smoothstep(2.02, 1.99, y)
    label = srgb("e6d7ae") * (0.92 + 0.35 * fbm2(angle * 3, y * 3, 4, seed=41))[:, None]
    frame = smoothstep(0.03, 0.02, np.abs(np.maximum(across / 0.86, np.abs(y - 1.32) / 0.6) - 0.94))
    rows = smoothstep(0.2, 0.5, np.sin(y * 62)) * smoothstep(0.0, 0.25, np.sin(angle * 46 + 4 * np.floor(y * 10)))
    text = rows * smoothstep(0.55, 0.5, across) * smoothstep(1.22, 1.18, y) * smoothstep(0.8, 0.84, y)
    crest = smoothstep(0.21, 0.19, np.hypot(across * 0.64, y - 1.56)) * (
        0.5 + 0.5 * np.cos(14 * np.arctan2(y - 1.56, angle + 1.75))
    )
    label = blend(label, srgb("7a2318"), np.maximum(frame, crest) * 0.85)
    return blend(colour, blend(label, srgb("2a2018"), text * 0.8), paper)


def _copper(p: Array) -> Array:
    tarnish = smoothstep(0.0, 0.5, fbm3(p * 1.8, 4, seed=43) + 0.2 * (0.6 - p[:, 1]))
    return blend(srgb("e6a070"), srgb("8a5638"), 0.6 * tarnish)


def _hammered(p: Array) -> Array:
    angle = np.arctan2(p[:, 2], p[:, 0])
    values: Array = 0.035 * np.abs(
        np.sin(angle * 11 + 3 * np.floor(p[:, 1] * 5)) * np.sin(p[:, 1] * 15.7)
    ) + 0.03 * fbm3(p * 4, 2, seed=45)
    return values
