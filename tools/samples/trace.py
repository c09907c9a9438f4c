"""Light in a room with one window: direct light, one bounce and mirror images, then a filter against the noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samples.camera import Camera
from samples.noise import Array, dots, lengths
from samples.things import Group, Thing, bumped, nearest

CHUNK = 60_000
# Steps of a low-discrepancy sequence in eight dimensions: powers of the root of x**9 = x + 1 (Roberts, 2018).
STEPS = (1 / 1.0850702) ** np.arange(1, 9)


@dataclass(frozen=True)
class Window:
    """A bright rectangle: its middle, two half-sides and the colour of its light (each (3,))."""

    centre: Array
    side: Array
    rise: Array
    light: Array

    def point(self, u: Array, v: Array) -> Array:
        """Return points (N, 3) for u and v in 0..1."""
        values: Array = self.centre + (2 * u - 1)[:, None] * self.side + (2 * v - 1)[:, None] * self.rise
        return values

    def seen(self, origin: Array, ray: Array) -> Array:
        """Light (N, 3) that comes straight from the window along rays, dark at its glazing bars."""
        normal = np.cross(self.side, self.rise)
        distance = ((self.centre - origin) @ normal) / np.where(np.abs(ray @ normal) < 1e-6, 1e-6, ray @ normal)
        place = origin + ray * distance[:, None] - self.centre
        u, v = place @ self.side / (self.side @ self.side), place @ self.rise / (self.rise @ self.rise)
        inside = (distance > 0) & (np.abs(u) < 1) & (np.abs(v) < 1)
        glass = (np.abs(u) > 0.06) & (np.abs(np.abs(v) - 0.33) > 0.04)
        values: Array = (inside & glass)[:, None] * self.light
        return values


@dataclass
class Room:
    """What is lit and by what: things, the window, and the light of the dark room by direction."""

    scene: Sequence[Thing | Group]
    window: Window
    ambient: Callable[[Array], Array]


@dataclass
class Surface:
    """Where rays end: place and normal (N, 3), colour (N, 3), gloss, roughness and metal (N,), and hits (N,)."""

    place: Array
    normal: Array
    colour: Array
    gloss: Array
    rough: Array
    metal: Array
    found: Array


def render(room: Room, camera: Camera, samples: int, seed: int) -> Array:
    """Return the picture (H, W, 3) in linear light."""
    height, width = camera.size
    shift = np.random.default_rng(seed).uniform(0, 1, (height * width, 8)).astype(np.float32)
    layers = np.zeros((height * width, 13), np.float32)  # colour, light, shine, normal, distance
    for number in range(samples):
        dice = ((shift + (number + 1) * STEPS) % 1).astype(np.float32)
        rays = camera.rays(dice[:, :2])
        for first in range(0, len(rays), CHUNK):
            part = slice(first, first + CHUNK)
            layers[part] += _sample(room, camera.position, rays[part], dice[part])
    layers /= samples
    image = layers.reshape(height, width, 13)
    guide = np.dstack([image[..., 0:3] * 6, image[..., 9:12] * 5, image[..., 12:13] * 0.6])
    return image[..., 0:3] * smooth_light(image[..., 3:6], guide) + image[..., 6:9]


def _sample(room: Room, eye: Array, rays: Array, dice: Array) -> Array:
    origin = np.broadcast_to(eye, rays.shape).astype(np.float32)
    surface, distance = look(room, origin, rays)
    light = direct(room, surface, dice[:, 2], dice[:, 3])
    light += _bounce(room, surface, dice[:, 4:6], dice[:, 6:8])
    shine = _mirror(room, surface, rays, dice)
    body = surface.colour * np.where(surface.metal, 0.0, 1.0)[:, None]
    depth = np.where(surface.found, distance, 30.0)[:, None]
    return np.hstack([body, light, shine, surface.normal, depth])


def look(room: Room, origin: Array, rays: Array) -> tuple[Surface, Array]:
    """Follow rays to the nearest surfaces."""
    distance, which, things = nearest(room.scene, origin, rays)
    count, found = len(rays), which >= 0
    place = origin + rays * np.where(found, distance, 0)[:, None]
    gloss, rough, metal = np.zeros((3, count), np.float32)
    surface = Surface(place, -rays, np.zeros((count, 3), np.float32), gloss, rough, metal, found)
    for number in np.unique(which[found]):
        rows, thing = np.flatnonzero(which == number), things[number]
        material = thing.material
        normal = thing.normal(place[rows])
        normal = np.where(dots(normal, rays[rows])[:, None] > 0, -normal, normal)
        surface.normal[rows] = bumped(thing, place[rows], normal)
        surface.place[rows] += 4e-3 * normal
        surface.colour[rows] = material.colour(thing.local(place[rows]))
        surface.gloss[rows], surface.rough[rows], surface.metal[rows] = material.gloss, material.rough, material.metal
    return surface, distance


def direct(room: Room, surface: Surface, u: Array, v: Array) -> Array:
    """Light (N, 3) from one point of the window, over pi; 0 in the shadow."""
    window = room.window
    way = window.point(u, v) - surface.place
    far = lengths(way)
    way = (way / far[:, None]).astype(np.float32)
    normal = np.cross(window.side, window.rise)
    area = 4 * np.linalg.norm(normal)
    facing = np.abs(way @ normal) / np.linalg.norm(normal)
    cosine = np.clip(dots(surface.normal, way), 0, None) * surface.found
    lit = np.flatnonzero(cosine > 0)
    blocked = nearest(room.scene, surface.place[lit], way[lit])[0] < far[lit]
    strength = np.zeros(len(far), np.float32)
    strength[lit] = np.where(blocked, 0, cosine[lit] * facing[lit] * area / (np.pi * far[lit] ** 2))
    return strength[:, None] * window.light


def _bounce(room: Room, surface: Surface, turn: Array, dice: Array) -> Array:
    """Light (N, 3) that comes from the room or off one other surface, with directions drawn by the cosine law."""
    angle, height = 2 * np.pi * turn[:, 0], 1 - 2 * turn[:, 1]
    flat = np.sqrt(np.clip(1 - height * height, 0, 1))
    ray = surface.normal + np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], axis=1) * 0.999
    ray = (ray / lengths(ray)[:, None]).astype(np.float32)
    other, _ = look(room, surface.place, ray)
    light = other.colour * (direct(room, other, dice[:, 0], dice[:, 1]) + 0.55 * room.ambient(other.normal))
    return np.where(other.found[:, None], light, room.ambient(ray))


def _mirror(room: Room, surface: Surface, rays: Array, dice: Array) -> Array:
    """Mirror images (N, 3) on glossy surfaces; Fresnel's law in the form of Schlick (1994)."""
    shine = np.zeros_like(surface.colour)
    rows = np.flatnonzero(surface.gloss > 0)
    if not len(rows):
        return shine
    ray, normal = rays[rows], surface.normal[rows]
    cosine = np.clip(-dots(ray, normal), 0, 1)
    scatter = np.stack([dice[rows, 4], dice[rows, 6], dice[rows, 5]], axis=1) - 0.5
    way = ray + 2 * cosine[:, None] * normal + surface.rough[rows][:, None] * scatter
    way = (way / lengths(way)[:, None]).astype(np.float32)
    start = surface.place[rows]
    other, _ = look(room, start, way)
    seen = other.colour * (direct(room, other, dice[rows, 6], dice[rows, 7]) + 0.8 * room.ambient(other.normal))
    straight = room.window.seen(start, way) * 0.5 + room.ambient(way)
    seen = np.where(other.found[:, None], seen, straight)
    base = np.where(surface.metal[rows][:, None] > 0, surface.colour[rows], np.float32(0.045))
    share = (base + (1 - base) * (1 - cosine[:, None]) ** 5) * surface.gloss[rows][:, None]
    shine[rows] = share * seen
    return shine


def smooth_light(light: Array, guide: Array, rounds: int = 3) -> Array:
    """Average light (H, W, 3) over pixels with a like guide (H, W, G): edge-stopping holes (Dammertz et al., 2010)."""
    kernel = np.array([1, 4, 6, 4, 1], np.float32) / 16
    for level in range(rounds):
        step, total, weights = 2**level, np.zeros_like(light), np.zeros(light.shape[:2], np.float32)
        soft = cv2.GaussianBlur(light, (0, 0), 1.5)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                moved = _shifted(light, dy * step, dx * step)
                unlike = ((_shifted(guide, dy * step, dx * step) - guide) ** 2).sum(-1)
                unlike += 6 * ((_shifted(soft, dy * step, dx * step) - soft) ** 2).sum(-1) / (soft.mean(-1) ** 2 + 0.02)
                weight = kernel[dy + 2] * kernel[dx + 2] * np.exp(-unlike)
                total, weights = total + moved * weight[..., None], weights + weight
        light = total / weights[..., None]
    return light


def _shifted(image: Array, dy: int, dx: int) -> Array:
    height, width = image.shape[:2]
    rows, columns = (np.arange(height) + dy).clip(0, height - 1), (np.arange(width) + dx).clip(0, width - 1)
    values: Array = image[rows[:, None], columns[None, :]]
    return values
