"""Mountains in daylight: the maps of a piece of land, the look of its ground, and the air in front of it."""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.clouds import Sky
from samples.noise import Array, blend, fbm2, ridged2, smoothstep
from samples.pixels import blur, srgb
from samples.terrain import Ground, cast_shadows

SUN = np.array([-0.72, 0.46, -0.30], np.float32) / np.linalg.norm([-0.72, 0.46, -0.30])
SKY = Sky(
    sun=SUN.astype(np.float32),
    sunlight=np.array([2.9, 2.45, 1.85], np.float32),
    zenith=np.array([0.10, 0.24, 0.58], np.float32),
    horizon=np.array([0.62, 0.72, 0.84], np.float32),
    glow=np.array([0.35, 0.25, 0.12], np.float32),
)
AMBIENT = np.array([0.40, 0.52, 0.74], np.float32)


@dataclass(frozen=True)
class Land:
    """The ground with its maps: normals (M, M, 3), sunlight, trees and hollows (M, M)."""

    ground: Ground
    normal: Array
    light: Array
    trees: Array
    hollow: Array


def places(cells: int, origin: tuple[float, float], extent: tuple[float, float]) -> tuple[Array, Array]:
    """Return x and z (M, M) in metres of a square map's cells; extent is its width and depth."""
    row, column = np.mgrid[0:cells, 0:cells].astype(np.float32)
    return origin[0] + (column + 0.5) * extent[0] / cells, origin[1] + (row + 0.5) * extent[1] / cells


def build_land(
    height: Array,
    origin: tuple[float, float],
    extent: tuple[float, float],
    cells: int,
    rng: np.random.Generator,
    *,
    crags_from: float = -1000.0,
) -> Land:
    """Refine a coarse height map (metres) to cells x cells: crags, trees, shadows of the sun and of clouds.

    Crags begin at the distance ``crags_from`` (z, metres).
    """
    height = cv2.resize(height, (cells, cells), interpolation=cv2.INTER_CUBIC)
    x, z = places(cells, origin, extent)
    cell = (extent[0] / cells, extent[1] / cells)
    slope_z, slope_x = np.gradient(height, cell[1], cell[0])
    steep = np.hypot(slope_x, slope_z)
    rough = ridged2(x / 240, z / 240, 4, seed=51) - 0.7
    rough = rough * (12 + 44 * smoothstep(0.25, 1.1, steep)) * smoothstep(5, 60, height)
    height = height + rough * smoothstep(crags_from, crags_from + 400, z)
    trees, height = _plant_forest(height, steep, x, z, rng)
    ground = Ground(height.astype(np.float32), origin, cell)
    slope_z, slope_x = np.gradient(height, cell[1], cell[0])
    normal = np.stack([-slope_x, np.ones_like(height), -slope_z], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    shade = smoothstep(0.12, 0.38, fbm2(x / 2600 + 0.3, z / 2600, 4, seed=58)) * smoothstep(900, 1800, z)
    light = cast_shadows(ground, SUN) * (1 - 0.72 * shade)
    hollow = np.clip((blur(height, cells / 160) - height) / 60, -0.6, 1)
    hollow = hollow + 0.6 * np.clip((blur(height, 3) - height) / 9, -0.5, 1)
    return Land(ground, normal.astype(np.float32), light, trees, hollow)


def _plant_forest(height: Array, steep: Array, x: Array, z: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Stamp tree tops into the height map. Returns the share of trees (M, M) and the new heights."""
    cells = height.shape[0]
    chance = smoothstep(1.15, 0.65, steep) * smoothstep(760, 480, height + 160 * fbm2(x / 500, z / 500, 4, seed=54))
    chance = chance * smoothstep(6, 14, height) * smoothstep(-0.12, 0.14, fbm2(x / 420, z / 420, 4, seed=56) + 0.16)
    chance = chance * smoothstep(950, 1400, z)
    where = np.flatnonzero(rng.uniform(0, 1, chance.size) < 0.16 * chance.ravel())
    row, column = where // cells, where % cells
    tall = rng.uniform(11, 24, len(where)).astype(np.float32)
    base, top, trees = height.astype(np.float32), height.astype(np.float32).copy(), np.zeros_like(height, np.float32)
    for dr in range(-2, 3):
        for dc in range(-2, 3):
            r, c = (row + dr).clip(0, cells - 1), (column + dc).clip(0, cells - 1)
            share = 1 - np.hypot(dr, dc) / 2.6
            if share > 0:
                np.maximum.at(top, (r, c), base[row, column] + tall * share)
                np.maximum.at(trees, (r, c), np.full(len(r), min(1.0, share * 1.6), np.float32))
    return trees, top


def land_light(land: Land, start: Array, rays: Array, distance: Array) -> Array:
    """Light (N, 3) that leaves the ground toward the eye."""
    place = start + rays * distance[:, None]
    x, y, z = place.T
    ground = land.ground
    maps = np.dstack([land.normal, land.light, land.trees, land.hollow]).astype(np.float32)
    read = ground.at(maps, x, z)
    normal, sunlit, trees, hollow = read[:, :3].copy(), read[:, 3], read[:, 4], read[:, 5]
    near = np.clip(900 / np.maximum(distance, 1), 0.1, 1)
    for axis, seed in ((0, 71), (2, 74)):
        normal[:, axis] += 0.5 * fbm2(x / 34, z / 34 + y / 21, 3, seed) * (1 - trees) * (0.4 + 0.6 * near)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    albedo = _cover(x, y, z, normal, trees)
    direct = np.clip(normal @ SUN, 0, None) * sunlit
    open_sky = (0.62 + 0.38 * normal[:, 1]) * np.clip(1 - 0.55 * hollow, 0.25, 1.25)
    bounce = 0.10 * np.clip(-normal @ (SUN * (1, 0, 1)), 0, 1) * sunlit
    light = SKY.sunlight * (direct + bounce)[:, None] + AMBIENT * (0.62 * open_sky)[:, None]
    values: Array = albedo * light
    return values


def _cover(x: Array, y: Array, z: Array, normal: Array, trees: Array) -> Array:
    """Colour of the ground (N, 3): rock in beds, scree, grass, forest, shore and snow."""
    broad, fine = fbm2(x / 300, z / 300, 4, seed=81), fbm2(x / 23, z / 23 + y / 17, 4, seed=83)
    flat = normal[:, 1]
    beds = 0.5 + 0.5 * np.sin((y + 0.18 * x + 60 * broad) / 17) * np.cos(y / 41 + 3 * broad)
    rock = blend(srgb("3a3a3c"), srgb("938d86"), (0.25 + 0.5 * beds + 0.7 * fine).clip(0, 1))
    rock = blend(rock, srgb("7a6a5c"), (0.25 + broad).clip(0, 0.6))
    meadow = blend(srgb("55702c"), srgb("a89a4a"), (0.38 + 0.9 * broad + 0.6 * fine).clip(0, 1))
    meadow = blend(meadow, srgb("39521f"), smoothstep(0.05, 0.35, fine) * 0.7)
    grassy = smoothstep(0.66, 0.80, flat + 0.12 * fine) * smoothstep(1250, 850, y + 260 * broad)
    ground = blend(rock, meadow, grassy)
    wood = blend(srgb("16301c"), srgb("4a6326"), (0.35 + 1.1 * fine + 0.5 * broad).clip(0, 1))
    ground = blend(ground, wood, smoothstep(0.05, 0.4, trees))
    snow_line = 900 + 330 * broad - 180 * fine
    snow = smoothstep(0, 260, y - snow_line) * smoothstep(0.44, 0.62, flat + 0.12 * fine)
    ground = blend(ground, np.array([0.86, 0.89, 0.95], np.float32), snow)
    shore = smoothstep(9, 1.5, y + 5 * fine)
    return blend(ground, srgb("a2967c") * (0.85 + 0.6 * fine)[:, None], shore)


def haze(light: Array, rays: Array, distance: Array, eye: float, thickness: float = 1.0) -> Array:
    """Put air in front: bluish with distance, thicker low down, and mist over the lake's far end."""
    toward = np.clip(rays @ SUN, 0, 1)
    air = blend(np.array([0.46, 0.60, 0.83], np.float32), np.array([0.95, 0.86, 0.70], np.float32), 0.5 * toward**2)
    height, distance = eye + rays[:, 1] * distance, distance * thickness
    amount = 1 - np.exp(-((distance / 19_000) ** 1.25) * np.exp(-(height - 200).clip(0, None) / 2600))
    mist = 0.5 * smoothstep(3000, 6500, distance) * np.exp(-((height.clip(0, None) / 130) ** 1.5))
    amount = 1 - (1 - amount) * (1 - mist)
    return blend(light, air * 0.95, amount)
