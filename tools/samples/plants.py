"""Trees, grass and stones as clouds of points."""

from dataclasses import dataclass

import numpy as np

from samples.camera import Points
from samples.land import AMBIENT, SKY, SUN
from samples.noise import Array, blend, fbm3
from samples.pixels import srgb


def pine(rng: np.random.Generator, needles: int = 2600) -> tuple[Array, Array, Array]:
    """Return points (N, 3), outward normals (N, 3) and depth in the crown (N,) of a conifer of height 1."""
    whorls = 26
    level = (np.arange(whorls) + rng.uniform(-0.3, 0.3, whorls)) / whorls * 0.93 + 0.07
    branches = 9
    height = np.repeat(level, branches)
    turn = rng.uniform(0, 2 * np.pi, len(height))
    reach = 0.23 * (1.02 - height) ** 0.85 * rng.uniform(0.55, 1.15, len(height)) + 0.008
    which = rng.choice(len(height), needles, p=(reach + 0.02) / (reach + 0.02).sum())
    along = rng.uniform(0.05, 1, needles) ** 0.7
    out = reach[which] * along
    side = rng.normal(0, 0.16, needles) * reach[which] * (1.25 - along)
    c, s = np.cos(turn[which]), np.sin(turn[which])
    droop = -0.42 * out * (0.6 + along) + 0.10 * out * along**3 + rng.normal(0, 0.006, needles) - 0.04 * reach[which]
    points = np.stack([c * out - s * side, height[which] + droop, s * out + c * side], axis=1)
    normals = np.stack([c, 0.55 + 0.3 * rng.normal(size=needles), s], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return points.astype(np.float32), normals.astype(np.float32), along.astype(np.float32)


def crown(rng: np.random.Generator, leaves: int = 3000) -> tuple[Array, Array, Array]:
    """Return points, normals and depth of a leafy tree of height 1: lobes of leaves on a short trunk."""
    lobes = 16
    centre = rng.normal(0, 1, (lobes, 3)) * (0.17, 0.15, 0.17) + (0, 0.64, 0)
    size = rng.uniform(0.10, 0.19, lobes)
    which = rng.integers(0, lobes, leaves)
    normals = rng.normal(size=(leaves, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    deep = rng.uniform(0.55, 1.05, leaves)
    points = centre[which] + normals * (size[which] * deep)[:, None]
    outward = points - (0, 0.6, 0)
    normals = normals + 1.2 * outward / (np.linalg.norm(outward, axis=1, keepdims=True) + 0.05)
    normals += 0.25 * rng.normal(size=normals.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    depth = (np.linalg.norm(outward, axis=1) / 0.34).clip(0.2, 1)
    return points.astype(np.float32), normals.astype(np.float32), depth.astype(np.float32)


def trunk(rng: np.random.Generator, top: float, thick: float, count: int = 500) -> tuple[Array, Array]:
    """Return points (N, 3) and normals (N, 3) of a tapered stem from 0 to ``top``."""
    turn, height = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, top, count)
    normals = np.stack([np.cos(turn), 0 * turn, np.sin(turn)], axis=1)
    points = normals * (thick * (1.1 - 0.7 * height / top))[:, None]
    points[:, 1] = height
    return points.astype(np.float32), normals.astype(np.float32)


@dataclass(frozen=True)
class Tree:
    """A tree of height 1: leaves with normals (N, 3) and depth in the crown (N,), and points on the stem."""

    leaves: Array
    normals: Array
    depth: Array
    stem: Array
    stem_normals: Array


def grow_pine(rng: np.random.Generator, needles: int, stem: int = 500) -> Tree:
    """Return a conifer."""
    return Tree(*pine(rng, needles), *trunk(rng, 0.86, 0.010, stem))


def grow_leafy(rng: np.random.Generator, leaves: int, stem: int = 500) -> Tree:
    """Return a broad-leaved tree."""
    return Tree(*crown(rng, leaves), *trunk(rng, 0.6, 0.022, stem))


def plant(
    tree: Tree, place: Array, scale: Array, *, leaf: float, tints: tuple[str, str], rng: np.random.Generator
) -> Points:
    """Put a tree in its place, turned at random and lit; scale (3,) in metres, leaf size relative to the height."""
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    spin = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
    ripe = rng.uniform(0, 0.6) + 0.4 * rng.uniform(0, 1, len(tree.leaves))
    leaves = shade(tree.normals @ spin, tree.depth, blend(srgb(tints[0]), srgb(tints[1]), ripe.astype(np.float32)))
    bark = shade(tree.stem_normals @ spin, np.full(len(tree.stem), 0.55, np.float32), srgb("4c3a2a"))
    where = np.concatenate([tree.leaves, tree.stem]) * scale @ spin + place
    where[:, 1] -= 0.2
    radius = np.full(len(where), leaf * scale[1])
    return Points(where.astype(np.float32), np.concatenate([leaves, bark]).astype(np.float32), radius)


def shade(normals: Array, depth: Array, albedo: Array) -> Array:
    """Light leaves (N, 3): sun on the near side, a little of it through them, sky from above, dark inside."""
    facing = normals @ SUN
    direct = np.clip(0.25 + 0.75 * facing, 0, None) * depth**1.5
    through = 0.18 * np.clip(-facing, 0, 1) * depth**3
    ambient = (0.35 + 0.35 * normals[:, 1].clip(-0.5, 1)) * (0.3 + 0.7 * depth)
    lit: Array = albedo * (SKY.sunlight * (direct + through)[:, None] + AMBIENT * ambient[:, None])
    return lit


def grass(
    places: Array, heights: Array, colours: Array, rng: np.random.Generator, dots: int = 6
) -> tuple[Array, Array, Array]:
    """Grow one bent blade at each place (N, 3): returns points, colours and radii of N*dots dots."""
    up = np.linspace(0, 1, dots, dtype=np.float32)
    lean = rng.normal(0, 0.35, (len(places), 2)).astype(np.float32)
    points = np.repeat(places[:, None], dots, axis=1).astype(np.float32)
    points[..., 1] += heights[:, None] * up
    points[..., 0] += heights[:, None] * lean[:, :1] * up**2
    points[..., 2] += heights[:, None] * lean[:, 1:] * up**2
    tint = colours[:, None] * (0.35 + 0.75 * up)[None, :, None]
    radius = np.repeat(heights[:, None] * 0.05, dots, axis=1) * (1.1 - 0.7 * up)
    return points.reshape(-1, 3), tint.reshape(-1, 3).astype(np.float32), radius.reshape(-1).astype(np.float32)


def boulder(rng: np.random.Generator, count: int = 9000) -> Points:
    """Return a mossy stone of radius 1, lit."""
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offset = rng.uniform(0, 90, 3)

    def swell(directions: Array) -> Array:
        return 1 + 0.75 * fbm3((directions * 1.2 + offset).astype(np.float32), 5, seed=61)

    radius, tiny = swell(normals), 0.02
    bumps = np.stack([(swell(normals + tiny * axis) - radius) / tiny for axis in np.eye(3)], axis=1)
    facing = normals - 0.8 * (bumps - (bumps * normals).sum(1, keepdims=True) * normals)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    moss = np.clip((facing[:, 1] - 0.45) * 3 + 2 * fbm3(normals * 3 + offset, 3, seed=65), 0, 1)
    stone = srgb("8a8478") * (1 + 0.9 * fbm3((normals * 6 + offset).astype(np.float32), 3, seed=63))[:, None]
    albedo = blend(stone, srgb("5d6a34"), 0.8 * moss)
    light = SKY.sunlight * np.clip(facing @ SUN, 0, None)[:, None] + AMBIENT * (0.45 + 0.4 * facing[:, 1:2])
    place = normals * radius[:, None] * (1.2, 0.8, 1.0)
    return Points(place.astype(np.float32), (albedo * light).astype(np.float32), np.full(count, 0.022, np.float32))
