"""Content picture: a small harbour town under a hill, with boats, a church and a lighthouse, mirrored in the bay."""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.boats import fishing_boat, rowing_boat, sloop
from samples.camera import Camera, Points, splat
from samples.clouds import CloudLayer, add_clouds, build_clouds
from samples.land import AMBIENT, SKY, SUN, Land, build_land, haze, land_light, places
from samples.noise import Array, blend, fbm2, mix, ridged2, smoothstep
from samples.pixels import bloom, shrink, srgb, tone_map, vignette
from samples.plants import grow_leafy, grow_pine, plant
from samples.raster import Buffer, Faces, Sunview, draw
from samples.surfaces import FACADE, LOOKS, SAIL, Patch
from samples.terrain import march
from samples.town import QUAY, build

EYE = np.array([1.0, 7.2, 0.0], np.float32)
ORIGIN, EXTENT = (-2600.0, 40.0), (5200.0, 4300.0)  # metres of land: corner and size
LEAVES = ("1c351b", "58692c")  # from dark to pale
FLIP = np.array([1, -1, 1], np.float32)


@dataclass(frozen=True)
class Scene:
    """All there is to see, and what the sun sees of it."""

    land: Land
    clouds: CloudLayer
    faces: Faces
    points: Points
    sunview: Sunview
    shadows: Buffer


def render(size: tuple[int, int], supersample: int = 2, cells: int = 1400) -> Array:
    """Return the picture, (H, W, 3) linear light, of size (height, width)."""
    rng = np.random.default_rng(17)
    height, width = size[0] * supersample, size[1] * supersample
    camera = Camera(EYE, 0.055, 0.96 * width, (height, width))
    scene = _build(cells, rng)
    light, depth = _view(scene, camera, rng, mirrored=False)
    mirror, _ = _view(scene, camera, rng, mirrored=True)
    light, depth = _add_water(light, depth, mirror, camera)
    splat(camera, scene.points, light, depth)
    picture = vignette(bloom(shrink(light, size), 1.0, size[0] / 90, 0.12), 0.28)
    return tone_map(picture, 0.80)


def _build(cells: int, rng: np.random.Generator) -> Scene:
    land = build_land(_shape(700), ORIGIN, EXTENT, cells, rng, crags_from=450)

    def ground(x: float, z: float) -> float:
        return float(land.ground.at(land.ground.height, np.array([x]), np.array([z]))[0])

    faces = build(ground, rng)
    ropes = _fleet(faces)
    trees = _trees(land, rng)
    sunview = Sunview(SUN, np.array([0, 10, 105], np.float32), side=260.0, pixels=3200)
    shadows = sunview.draw(faces)
    sunview.add_points(shadows, trees.place[trees.place[:, 2] < 230])
    clouds = build_clouds(SUN, cover=0.1, base=1500, top=5200, tile=12_000, seed=10)
    return Scene(land, clouds, faces, Points.join([trees, *ropes]), sunview, shadows)


def _shape(cells: int) -> Array:
    """The land in metres (M, M): the town's hill, ridges behind it, and a bay that opens to the right."""
    x, z = places(cells, ORIGIN, EXTENT)
    shore = QUAY + 3 + 6.5 * (x - 36).clip(0, 250) + 60 * fbm2(x / 400, z / 400, 4, seed=141) * smoothstep(60, 200, x)
    inland = z - shore
    hill = 38 * smoothstep(12, 108, inland) * (0.6 + 0.4 * np.exp(-(((x + 13) / 60) ** 2)))
    ridges = ridged2((x + 300 * fbm2(x / 900, z / 900, 3, seed=143)) / 1300, z / 1300, 6, seed=145, gain=0.46)
    far = smoothstep(150, 2100, inland) ** 1.1
    peak = 420 * np.exp(-((np.hypot(x - 450, z - 2600) / 800) ** 1.6)) + 260 * np.exp(
        -((np.hypot(x + 900, z - 1900) / 700) ** 1.6)
    )
    back = far * (300 + peak * 1.2) * (0.45 + 0.5 * ridges) + 22 * fbm2(x / 160, z / 160, 4, seed=147) * smoothstep(
        110, 320, inland
    )
    return mix(-6, 1.5, smoothstep(0, 3, inland)) + np.where(inland > 0, hill + back, 0)


def _fleet(faces: Faces) -> list[Points]:
    """Moor and sail the boats; returns their ropes."""
    ropes = sloop(faces, (-6.0, 0, 50.0), 0.35)
    moored = (
        ((-33, 0, 77.5), 0.10, ("2f6f8f", "efe6d0")),
        ((-22, 0, 78.5), 3.0, ("b8432f", "f0e8d8")),
        ((-12.5, 0, 78.0), 0.05, ("3f7a52", "efe2c0")),
        ((4.5, 0, 78.5), 3.2, ("24406f", "e8d8b0")),
        ((15.5, 0, 77.0), 0.15, ("c98a2c", "efe6d0")),
        ((14.0, 0, 41.0), 2.75, ("2f5f8f", "e8dcc0")),
    )
    for place, yaw, colours in moored:
        ropes += fishing_boat(faces, place, yaw, colours)
    ropes += rowing_boat(faces, (6.6, 0, 22.5), 2.6, ("a83f2c", "efe2c4"))
    ropes += rowing_boat(faces, (-5.2, 0, 24.0), 1.9, ("2f6a6a", "e8dcc0"))
    ropes += rowing_boat(faces, (24.0, 0, 58.0), 0.4, ("e0d8c4", "3f6f9f"))
    return ropes


def _trees(land: Land, rng: np.random.Generator) -> Points:
    """Trees on the quay, between the houses, and woods on the hills behind."""
    near_x = np.concatenate([[-36.5, -26.0, -3.5, 9.5, 24.0], rng.uniform(-75, 44, 95)])
    near_z = np.concatenate([np.full(5, QUAY + 3.0), rng.uniform(QUAY + 14, QUAY + 125, 95)])
    far_z = 195 + 800 * rng.uniform(0, 1, 1500) ** 1.5
    far_x = far_z * rng.uniform(-0.62, 0.55, len(far_z))
    x, z = np.concatenate([near_x, far_x]), np.concatenate([near_z, far_z])
    y = land.ground.at(land.ground.height, x, z)
    models = {near: [grow_leafy(rng, 3600 if near else 420) for _ in range(5)] for near in (True, False)}
    slim = {True: grow_pine(rng, 3600), False: grow_pine(rng, 420)}
    parts = []
    for place in np.stack([x, y, z], axis=1)[y > 1.2]:
        near = bool(place[2] < 195)
        cypress = rng.uniform() < 0.3 and place[2] > QUAY + 10
        tree = slim[near] if cypress else models[near][rng.integers(5)]
        wide = 0.55 if cypress else 1.0
        tall = rng.uniform(5.0, 6.5) if place[2] < QUAY + 5 else rng.uniform(7, 13)
        scale = np.array([wide, 1, wide]) * tall
        parts.append(plant(tree, place, scale, leaf=0.014 if near else 0.045, tints=LEAVES, rng=rng))
    return Points.join(parts)


def _view(scene: Scene, camera: Camera, rng: np.random.Generator, *, mirrored: bool) -> tuple[Array, Array]:
    """Return light (H, W, 3) and depth along the axis (H, W), without the water; or the image in the water."""
    rays, axis = camera.rays(), camera.axis()
    light, depth = _background(scene, camera, rng, mirrored=mirrored)
    buffer = Buffer.empty(camera.size)
    draw(buffer, scene.faces, camera, mirrored)
    face, w = buffer.face.ravel(), buffer.w.ravel()
    near = np.flatnonzero((face >= 0) & (1 / np.maximum(w, 1e-9) < depth))
    distance = 1 / w[near] / axis[near]
    place, ray = EYE + rays[near] * distance[:, None], rays[near]
    if mirrored:
        place, ray = place * FLIP, ray * FLIP
    light[near] = haze(_shade(scene, face[near], place, ray), ray, distance, float(EYE[1]), thickness=3.0)
    depth[near] = 1 / w[near]
    image, far = light.reshape(*camera.size, 3).astype(np.float32), depth.reshape(camera.size).astype(np.float32)
    if mirrored:
        splat(camera, Points(scene.points.place * FLIP, scene.points.colour, scene.points.radius), image, far)
    return image, far


def _background(scene: Scene, camera: Camera, rng: np.random.Generator, *, mirrored: bool) -> tuple[Array, Array]:
    """Light (N, 3) and depth (N,) of sky and land along the camera's rays, or along their images from the water on."""
    rays, axis = camera.rays(), camera.axis()
    light, depth = np.zeros_like(rays), np.full(len(rays), np.inf, np.float32)
    rows = np.flatnonzero(rays[:, 1] < -0.002) if mirrored else np.arange(len(rays))
    way = rays[rows] * FLIP if mirrored else rays[rows]
    reach = -EYE[1] / rays[rows, 1] if mirrored else np.zeros(len(rows), np.float32)
    start = (EYE + rays[rows] * reach[:, None] + (0, 0.05 * mirrored, 0)).astype(np.float32)
    light[rows] = add_clouds(SKY.clear(way), way, scene.clouds, SKY, rng)
    if not mirrored:  # the clouds are sampled at random heights; the median takes the grain away
        light = cv2.medianBlur(light.reshape(*camera.size, 3), 5).reshape(-1, 3)
    distance = march(scene.land.ground, start, way, far=6000, steps=200)
    hit = np.flatnonzero(np.isfinite(distance))
    ground = land_light(scene.land, start[hit], way[hit], distance[hit])
    light[rows[hit]] = haze(ground, way[hit], distance[hit] + reach[hit], float(EYE[1]), thickness=3.0)
    depth[rows[hit]] = (distance[hit] + reach[hit]) * axis[rows[hit]]
    return light, depth


def _shade(scene: Scene, face: Array, place: Array, ray: Array) -> Array:
    """Light (N, 3) that leaves faces (N,) at places (N, 3)."""
    faces = scene.faces
    normal = faces.table("normal")[face]
    normal = np.where((normal * ray).sum(1, keepdims=True) > 0, -normal, normal)
    offset = place - faces.table("origin")[face]
    u, v = (offset * faces.table("across")[face]).sum(1), (offset * faces.table("up")[face]).sum(1)
    extent, colour = faces.table("extent")[face], faces.table("colour")[face]
    material, albedo = np.asarray(faces.material)[face], np.zeros_like(place)
    for kind in np.unique(material):
        rows = material == kind
        patch = Patch(u[rows], v[rows], extent[rows, 0], extent[rows, 1], colour[rows], face[rows].astype(np.float64))
        albedo[rows] = LOOKS[kind](patch)
    sunny = scene.sunview.lit(scene.shadows, place + 0.15 * normal)
    facing = normal @ SUN
    through = 0.35 * np.clip(-facing, 0, 1) * (material == SAIL)
    direct = np.clip(facing, 0, None) * sunny + through
    low = np.where(material == FACADE, 0.62 + 0.38 * smoothstep(0, 5, v), 0.9)
    open_sky = (0.60 + 0.40 * normal[:, 1]) * low
    bounce = 0.16 * (0.5 - 0.5 * normal[:, 1]) * low
    light = SKY.sunlight * (direct + bounce)[:, None] + AMBIENT * (0.85 * open_sky)[:, None]
    values: Array = np.clip(albedo, 0.004, 0.9) * light
    return values


def _add_water(light: Array, depth: Array, mirror: Array, camera: Camera) -> tuple[Array, Array]:
    """Lay the bay under the picture: ripples shift the mirror image, up and down far more than sideways."""
    height, width = camera.size
    rays, axis = camera.rays(), camera.axis()
    down = np.minimum(rays[:, 1], -1e-4)
    distance = -EYE[1] / down
    wet = np.flatnonzero((rays[:, 1] < -0.0008) & (distance * axis < depth.ravel()))
    x, z = EYE[0] + rays[wet, 0] * distance[wet], rays[wet, 2] * distance[wet]
    tilt_x, tilt_z = _ripples(x, z, distance[wet])
    rows, columns = wet // width, wet % width
    at_x = (columns + 2 * camera.focal * tilt_x * -rays[wet, 1]).astype(np.float32)
    at_y = (rows + 2 * camera.focal * tilt_z).astype(np.float32)
    horizon = height / 2 + camera.focal * np.tan(camera.tilt) + 3
    seen = _read(mirror, at_x, np.clip(at_y, horizon, height - 1))
    cosine = np.clip(-rays[wet, 1] + tilt_z * 0.9, 0.01, 1)
    fresnel = 0.03 + 0.97 * (1 - cosine) ** 5
    swell = fbm2(x / 11, z / 17, 3, seed=153)
    body = blend(srgb("0a3f4a"), srgb("2b8a86"), (0.45 + 0.8 * swell + 5 * tilt_z).clip(0, 1))
    colour = blend(body * 0.9, seen, (0.10 + 0.9 * fresnel).clip(0, 1))
    light, depth = light.copy(), depth.copy()
    light.reshape(-1, 3)[wet] = haze(colour, rays[wet], distance[wet], float(EYE[1]), thickness=1.5)
    depth.reshape(-1)[wet] = distance[wet] * axis[wet]
    return light, depth


def _ripples(x: Array, z: Array, distance: Array) -> tuple[Array, Array]:
    """Slopes (N,) of the water to the side and away; calm lanes lie between ruffled ones."""
    ruffled = 0.35 + 0.65 * smoothstep(-0.15, 0.25, fbm2(x / 40, z / 14, 3, seed=155))
    fade = ruffled * np.clip(34 / distance, 0.10, 1)
    bent_z = z + 0.8 * fbm2(x / 5, z / 5, 2, seed=157)
    slope_x = 0.09 * fbm2(x / 1.5, bent_z / 0.9, 3, seed=159)
    slope_z = 0.060 * fbm2(x / 2.4, bent_z / 0.75, 4, seed=161, gain=0.6)
    return fade * slope_x, fade * slope_z


def _read(image: Array, x: Array, y: Array) -> Array:
    """Read an image (H, W, 3) at x, y (N,) in pixels, bilinearly."""
    rows = -(-len(x) // 16384)
    flat = np.zeros((2, rows * 16384), np.float32)
    flat[0, : len(x)], flat[1, : len(x)] = x, y
    maps = flat.reshape(2, rows, 16384)
    return cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).reshape(-1, 3)[: len(x)]
