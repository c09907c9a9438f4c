"""Style picture: a windy evening over the sea in thick paint, thousands of strokes along a flow field."""

import numpy as np

from samples.noise import Array, blend, fbm2, grid, smoothstep
from samples.pixels import blur, shrink, srgb
from samples.strokes import Brush, Canvas, follow, light_relief, paint, sample

# Eddies of the wind: x, y, radius (in picture heights) and the sense and strength of their turn.
EDDIES = (
    (0.36, 0.30, 0.22, 1.0),
    (0.74, 0.17, 0.15, 1.0),
    (1.08, 0.24, 0.12, 1.0),
    (0.06, 0.10, 0.13, -0.9),
)
SUN = (0.93, 0.50)  # x, y
HORIZON = 0.63
LAYERS = ((46.0, 3.0, 1.0), (30.0, 2.4, 1.0), (19.0, 1.3, 1.0), (12.0, 0.8, 0.8), (7.0, 0.35, 0.5))

SKY = srgb("0d1b4c", "16357f", "1f56a8", "3f86c4", "8bbdd0", "efe3b8", "f2bf4e", "d98a2b")
SEA = srgb("08213f", "0e3d63", "17658a", "3c93a3", "8cc4b8", "e9ecd2")


def render(size: tuple[int, int], supersample: int = 2) -> Array:
    """Return the painting, (H, W, 3) linear light, of size (height, width)."""
    height, width = size[0] * supersample, size[1] * supersample
    rng = np.random.default_rng(20)
    x, y = grid(height, width)
    flow = _flow(x, y)
    design = _design(x, y)
    canvas = Canvas(0.6 * blur(design, height / 80), np.zeros((height, width), np.float32))
    for layer, (brush_width, density, load) in enumerate(LAYERS):
        scale = height / 1280
        brush = Brush(brush_width * scale, brush_width * scale * rng.uniform(5.5, 7), load, 0.4 + 0.1 * layer)
        starts = _starts(design, brush, density, layer, rng)
        lengths = brush.length * rng.uniform(0.6, 1.15, len(starts))
        paths = follow(flow, starts, lengths, steps=16)
        paint(canvas, paths, _mix_paint(sample(design, starts), layer, rng), brush, rng)
    return shrink(light_relief(canvas), size)


def _flow(x: Array, y: Array) -> Array:
    """Unit vectors (H, W, 2): wind with eddies above the horizon, waves below it."""
    wind_x, wind_y = np.full_like(x, 0.5), 0.18 * np.sin(5 * x + 1)
    for centre_x, centre_y, radius, spin in EDDIES:
        dx, dy = 0.8 * (x - centre_x), y - centre_y
        distance = np.hypot(dx, dy) + 1e-4
        pull = 3.4 * spin * np.exp(-((distance / (1.25 * radius)) ** 2.4))
        wind_x = wind_x - pull * dy / distance - 0.3 * abs(pull) * dx / distance
        wind_y = wind_y + pull * dx / distance - 0.3 * abs(pull) * dy / distance
    wind_y = wind_y + 0.35 * fbm2(x * 3, y * 3, 3, seed=4)
    wave = _wave_angle(x, y)
    water = smoothstep(HORIZON - 0.01, HORIZON + 0.02, y)
    flow = np.stack([wind_x * (1 - water) + np.cos(wave) * water, wind_y * (1 - water) + np.sin(wave) * water], axis=-1)
    sun_x, sun_y = x - SUN[0], y - SUN[1]
    near_sun = np.exp(-((np.hypot(sun_x, sun_y) / 0.1) ** 4))[..., None] * (1 - water[..., None])
    coast = blur(_coast(x, y)[0], 6)[..., None]
    bedding = 0.55 - 0.9 * x + 0.9 * fbm2(x * 6, y * 6, 3, seed=23)
    flow = flow * (1 - coast) + coast * np.stack([np.cos(bedding), np.sin(bedding)], axis=-1)
    flow = flow * (1 - near_sun) + 2 * near_sun * np.stack([-sun_y, sun_x], -1) / (
        np.hypot(sun_x, sun_y)[..., None] + 1e-3
    )
    unit: Array = flow / (np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-6)
    return unit.astype(np.float32)


def _wave_phase(x: Array, y: Array) -> tuple[Array, Array]:
    """Phase of the swell and its nearness (0 at the horizon, 1 at the bottom)."""
    near = ((y - HORIZON) / (1 - HORIZON)).clip(0, 1)
    warp = 0.9 * fbm2(x * 2.4, y * 3.5, 4, seed=9)
    phase = 24 * near**0.6 + warp * 3.0 + 1.4 * np.sin(2.6 * x + 3 * near)
    return phase, near


def _wave_angle(x: Array, y: Array) -> Array:
    phase, near = _wave_phase(x, y)
    slope_y, slope_x = np.gradient(phase)
    along = np.arctan2(-slope_x, slope_y + 1e-6)
    values: Array = along - 0.8 * near * np.clip(np.sin(phase), 0, 1) ** 3
    return values


def _design(x: Array, y: Array) -> Array:
    """The colours that the strokes pick up, (H, W, 3)."""
    sky, sea = _sky(x, y), _sea(x, y)
    picture = blend(sky, sea, smoothstep(HORIZON - 0.004, HORIZON + 0.004, y))
    coast, rock = _coast(x, y)
    picture = blend(picture, rock, coast)
    return picture.astype(np.float32)


def _ramp(colours: Array, position: Array) -> Array:
    """Look up a palette (K, 3) at positions 0..1."""
    place = np.clip(position, 0, 1) * (len(colours) - 1)
    low = np.clip(place.astype(np.int32), 0, len(colours) - 2)
    return blend(colours[low], colours[low + 1], place - low)


def _sky(x: Array, y: Array) -> Array:
    """Blue curls of cloud, lit on the side of a low sun."""
    tone = 0.04 + 0.42 * (y / HORIZON) ** 1.6 + 0.26 * fbm2(x * 3.2 + 2 * fbm2(x * 2, y * 2, 2, 5), y * 8, 4, seed=3)
    warm = np.zeros_like(x)
    bend_x, bend_y = 0.07 * fbm2(x * 4, y * 4, 3, seed=6), 0.07 * fbm2(x * 4, y * 4, 3, seed=7)
    for number, (centre_x, centre_y, radius, spin) in enumerate(EDDIES):
        dx, dy = 0.8 * (x - centre_x) + bend_x, y - centre_y + bend_y
        distance, angle = np.hypot(dx, dy) / radius, np.arctan2(dy, dx)
        arms = 1 + number % 2
        spiral = np.sin(arms * spin * angle + 5.2 * arms**0.5 * np.log(distance + 0.12) + 2.2 * number + 0.8)
        spiral = spiral + 0.5 * fbm2(x * 9, y * 9, 3, seed=30 + number)
        reach = np.exp(-((distance / 1.25) ** 4))
        facing = 0.5 + 0.5 * (dx * (SUN[0] - centre_x) + dy * (SUN[1] - centre_y)) / (np.hypot(dx, dy) + 1e-3)
        tone = tone * (1 - reach) + reach * (0.26 + 0.28 * spiral + 0.26 * facing * spiral.clip(0, 1))
        warm = warm + reach * facing * smoothstep(0.1, 0.9, spiral)
    away = np.hypot(x - SUN[0], (y - SUN[1]) * 1.05)
    glow = np.exp(-((away / 0.24) ** 1.4))
    tone = tone * (1 - glow) + glow * (0.74 + 0.08 * np.sin(away * 88))
    warmth = (0.55 * warm + 0.5 * np.exp(-((away / 0.55) ** 2)) * smoothstep(0.3, 0.62, y)).clip(0, 0.75)
    sky = blend(_ramp(SKY, tone), _ramp(srgb("6a3550", "c2603c", "eda352", "f9e3b4"), tone * 1.5), warmth)
    disc = 1 - smoothstep(0.064, 0.072, away)
    return blend(sky, _ramp(srgb("fff3bd", "f6b53a", "e2702a"), away / 0.072), disc)


def _sea(x: Array, y: Array) -> Array:
    """Swell with lit backs and foam on the crests; the sun's path in dabs of ochre."""
    phase, near = _wave_phase(x, y)
    crest = 0.5 + 0.5 * np.sin(phase)
    face = 0.5 + 0.5 * np.cos(phase)
    foam = smoothstep(0.86, 1.02, crest + 0.45 * fbm2(x * 11, y * 20, 4, seed=12)) * (0.35 + 0.8 * near)
    tone = 0.06 + 0.34 * crest**1.5 + 0.22 * face * crest + 0.28 * fbm2(x * 4, y * 14, 4, seed=14) + 0.5 * foam
    sea = _ramp(SEA, tone)
    sea = blend(sea, srgb("2d2a63"), 0.45 * smoothstep(0.5, 0.0, crest) * (0.4 + near))
    spread = 0.06 + 0.2 * near
    path = np.exp(-(((x - SUN[0] - 0.06 * np.sin(phase)) / spread) ** 2))
    path = path * smoothstep(0.1, 0.4, face + 0.8 * fbm2(x * 9, y * 34, 3, seed=15))
    return blend(sea, _ramp(srgb("d9772b", "f2b13c", "fbe6a8"), crest), 0.9 * path.clip(0, 1))


def _coast(x: Array, y: Array) -> tuple[Array, Array]:
    """A headland at the left: its mask and its colours, ochre strata and dark grass."""
    top = 0.50 + 0.22 * smoothstep(0.05, 0.52, x) + 0.05 * fbm2(x * 7, x * 0 + 3.1, 4, seed=21)
    foot = 0.86 - 0.42 * x + 0.03 * fbm2(x * 9, x * 0, 3, seed=22)
    mask = smoothstep(0, 0.006, y - top) * smoothstep(0, 0.008, foot - y)
    depth = (y - top) / np.maximum(foot - top, 0.02)
    strata = 0.5 + 0.5 * np.sin(depth * 16 + 5 * fbm2(x * 6, y * 6, 3, seed=23))
    rock = _ramp(
        srgb("3a2416", "7a4a1e", "b97a2c", "e0b45c", "f3dfa4"), 0.25 + 0.5 * strata + 0.3 * fbm2(x * 9, y * 9, 3, 24)
    )
    grass = _ramp(srgb("1d3a2c", "3f6b3a", "8c9a3f", "d6b545"), 0.4 + 0.7 * fbm2(x * 12, y * 12, 3, seed=25))
    rock = rock * (0.55 + 0.6 * smoothstep(-0.25, 0.3, fbm2(x * 7 + y * 4, y * 3, 3, seed=27)))[..., None]
    return mask, blend(grass, rock, smoothstep(0.16, 0.3, depth + 0.1 * fbm2(x * 16, y * 6, 2, seed=26)))


def _starts(design: Array, brush: Brush, density: float, layer: int, rng: np.random.Generator) -> Array:
    """Draw middle points (N, 2): everywhere for broad brushes, at edges and contrasts for fine ones."""
    height, width = design.shape[:2]
    count = int(density * height * width / (brush.width * brush.length))
    points = rng.uniform((0, 0), (width, height), (count * (1 if layer < 2 else 4), 2)).astype(np.float32)
    if layer >= 2:
        grey = design.mean(-1)
        detail = blur(np.abs(grey - blur(grey, 2.2 * brush.width)), brush.width)
        chance = sample(detail, points) / detail.mean()
        points = points[rng.uniform(0, 1, len(points)) < 0.18 + 0.32 * chance]
    return points


def _mix_paint(colours: Array, layer: int, rng: np.random.Generator) -> Array:
    """Vary colours (N, 3) from stroke to stroke in lightness and hue, now and then boldly."""
    count = len(colours)
    value = np.exp(rng.normal(0, 0.20, (count, 1)))
    hue = np.exp(rng.normal(0, 0.09, (count, 3)))
    accent = rng.uniform(0, 1, (count, 1)) < (0.05 if layer > 1 else 0.02)
    palette = srgb("e8a33a", "f6ecc8", "2b6fb6", "6fb0a8", "c8572b")
    bold = palette[rng.integers(0, len(palette), count)]
    mixed: Array = colours * value * hue
    return np.where(accent, 0.55 * mixed + 0.45 * bold, mixed).astype(np.float32)
