"""Content picture: a lake among snowy mountains, marched over an eroded height map, with pines in front."""

import cv2
import numpy as np

from samples.camera import Camera, splat
from samples.clouds import CloudLayer, add_clouds, build_clouds
from samples.foreground import foreground
from samples.land import SKY, SUN, Land, build_land, haze, land_light, places
from samples.noise import Array, blend, fbm2, mix, ridged2, smoothstep
from samples.pixels import bloom, shrink, srgb, tone_map, vignette
from samples.terrain import erode, march

EYE = np.array([0.0, 172.0, 0.0], np.float32)
WIDTH, DEPTH, NEAR = 9600.0, 10800.0, -60.0  # metres of ground: across, away, and where it begins
PEAKS = (  # x, z, height, radius in metres
    (250, 8300, 3500, 1250),
    (-1250, 7000, 2300, 900),
    (2050, 6400, 2500, 950),
    (-2500, 4600, 1950, 1000),
    (2500, 4000, 1500, 900),
    (-2300, 2500, 800, 800),
    (1900, 2200, 420, 700),
)


def render(size: tuple[int, int], supersample: int = 2, cells: int = 2048) -> Array:
    """Return the landscape, (H, W, 3) linear light, of size (height, width)."""
    rng = np.random.default_rng(31)
    height, width = size[0] * supersample, size[1] * supersample
    camera = Camera(EYE, -0.012, 0.90 * width, (height, width))
    land = _build(cells, rng)
    clouds = build_clouds(SUN, cover=0.0, base=1500, top=5200, tile=12_000, seed=9)
    rays = camera.rays()
    light = add_clouds(SKY.clear(rays), rays, clouds, SKY, rng)
    # The clouds are sampled at random heights; the median takes the grain away.
    light = cv2.medianBlur(light.reshape(height, width, 3), 5).reshape(-1, 3)
    distance = march(land.ground, EYE, rays, far=14_000)
    lake = np.where(rays[:, 1] < 0, -EYE[1] / np.minimum(rays[:, 1], -1e-6), np.inf)
    wet = np.flatnonzero((lake < distance) & (lake < 9000))
    dry = np.flatnonzero(np.isfinite(distance) & ~(lake < distance))
    light[dry] = haze(land_light(land, EYE, rays[dry], distance[dry]), rays[dry], distance[dry], EYE[1])
    light[wet] = haze(_water(land, clouds, rays[wet], lake[wet], rng), rays[wet], lake[wet], EYE[1])
    picture = light.reshape(height, width, 3).astype(np.float32)
    axis = np.cos(camera.tilt) * rays[:, 2] + np.sin(camera.tilt) * rays[:, 1]
    depth = (np.minimum(distance, lake) * axis).reshape(height, width).astype(np.float32)
    splat(camera, foreground(land.ground, rng), picture, depth)
    picture = vignette(bloom(shrink(picture, size), 1.0, size[0] / 90, 0.12), 0.25)
    return tone_map(picture, 0.80)


def _build(cells: int, rng: np.random.Generator) -> Land:
    coarse = 640
    origin, extent = (-WIDTH / 2, NEAR), (WIDTH, DEPTH)
    height = _shape(coarse)
    _, z = places(coarse, origin, extent)
    height = mix(height, erode(height, WIDTH / coarse, 120_000, rng), smoothstep(900, 1500, z))
    return build_land(height, origin, extent, cells, rng)


def _shape(cells: int) -> Array:
    """The mountains before the rain: a winding valley with a lake, peaks, and a slope under the viewer."""
    x, z = places(cells, (-WIDTH / 2, NEAR), (WIDTH, DEPTH))
    bend_x = x + 650 * fbm2(x / 2300, z / 2300, 5, seed=41)
    bend_z = z + 650 * fbm2(x / 2300, z / 2300, 5, seed=45)
    away = np.abs(bend_x - 420 * np.sin(z / 1900 + 0.5)) + 130 * fbm2(x / 420, z / 420, 4, seed=42)
    lake = 620 + 420 * np.exp(-(((z - 2700) / 1400) ** 2))
    mass = 700 * smoothstep(0, 1, (away - lake).clip(0, None) / 3400) ** 0.85
    for peak_x, peak_z, top, radius in PEAKS:
        near = np.hypot(bend_x - peak_x, bend_z - peak_z) / radius
        peak = 0.95 * top * np.exp(-(near**1.45)) * smoothstep(-120, 900, away - 0.5 * lake)
        mass = np.hypot(mass, peak)
    ridges = ridged2(bend_x / 2500, bend_z / 2500, 6, seed=47, gain=0.44)
    height = mass * (0.55 + 0.42 * ridges) + 30 * fbm2(x / 420, z / 420, 5, seed=49)
    head = smoothstep(4300, 6200, z)
    height = height - 70 * smoothstep(1.2, 0.75, away / lake) * (1 - head) + 60 * head
    knoll = 168 * smoothstep(1000, -200, z - 0.12 * np.abs(x) + 90 * fbm2(x / 300, z / 300, 3, seed=53)) - 12
    knoll = knoll + 9 * fbm2(x / 90, z / 90, 4, seed=52) * smoothstep(30, 200, z)
    return mix(knoll, height, smoothstep(500, 1300, z))


def _water(land: Land, clouds: CloudLayer, rays: Array, distance: Array, rng: np.random.Generator) -> Array:
    """Light (N, 3) off the lake: the mirrored land and sky, and the green depth where one looks steeply."""
    place = EYE + rays * distance[:, None]
    x, z = place[:, 0], place[:, 2]
    calm = 0.25 + 0.75 * smoothstep(-0.1, 0.3, fbm2(x / 500, z / 160, 3, seed=91))
    fade = np.clip(1300 / distance, 0.12, 1)
    tilt_x = 0.020 * calm * fade * fbm2(x / 9, z / 14, 3, seed=92)
    tilt_z = 0.034 * calm * fade * fbm2(x / 9, z / 14, 3, seed=95)
    normal = np.stack([tilt_x, np.ones_like(x), tilt_z], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    cosine = -(rays * normal).sum(1)
    mirrored = rays + 2 * cosine[:, None] * normal
    mirrored[:, 1] = np.maximum(mirrored[:, 1], 0.002)
    mirrored = (mirrored / np.linalg.norm(mirrored, axis=1, keepdims=True)).astype(np.float32)
    start = (place + np.array([0, 0.3, 0])).astype(np.float32)
    seen = add_clouds(SKY.clear(mirrored), mirrored, clouds, SKY, rng)
    far = march(land.ground, start, mirrored, far=12_000, steps=160)
    hit = np.flatnonzero(np.isfinite(far))
    seen[hit] = haze(land_light(land, start[hit], mirrored[hit], far[hit]), mirrored[hit], far[hit], 0.0)
    fresnel = 0.04 + 0.96 * (1 - cosine.clip(0, 1)) ** 5
    body = blend(srgb("0c4a52"), srgb("2a7f7a"), np.exp(-land.ground.at(-land.ground.height, x, z).clip(0, None) / 9))
    sunlit = land.ground.at(land.light, x, z)
    return blend(body * (0.35 + 0.65 * sunlit)[:, None], seen * 0.94, (0.25 + 0.75 * fresnel).clip(0, 1))
