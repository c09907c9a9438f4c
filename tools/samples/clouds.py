"""A daylight sky: colour by direction and a layer of clouds with their own shadows."""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array, blend, smoothstep


@dataclass(frozen=True)
class Sky:
    """Colours (3,) in linear light and the unit vector to the sun (3,)."""

    sun: Array
    sunlight: Array
    zenith: Array
    horizon: Array
    glow: Array

    def clear(self, rays: Array) -> Array:
        """Light of the cloudless sky along unit rays (N, 3)."""
        up = np.clip(rays[:, 1], 0, 1)
        toward = np.clip(rays @ self.sun, 0, 1)
        light = blend(self.horizon, self.zenith, 1 - np.exp(-3.4 * up))
        light = light + self.glow * (0.55 * toward**6 + 1.4 * toward**90)[:, None] * (1 - 0.5 * up)[:, None]
        values: Array = light + self.sunlight * (6 * smoothstep(0.99935, 0.9996, toward))[:, None]
        return values


@dataclass(frozen=True)
class CloudLayer:
    """Density and sunlight of clouds (L, M, M), tiling in x and z; heights and ``tile`` in metres."""

    density: Array
    lit: Array
    base: float
    top: float
    tile: float


def _spectral_noise(shape: tuple[int, int, int], slope: float, squash: float, rng: np.random.Generator) -> Array:
    """Tiling noise with a power-law spectrum, mean 0 and deviation 1; ``squash`` flattens it vertically."""
    spectrum = np.fft.rfftn(rng.normal(size=shape).astype(np.float32))
    ky, kz = np.fft.fftfreq(shape[0]) * shape[2] * squash, np.fft.fftfreq(shape[1]) * shape[1]
    kx = np.fft.rfftfreq(shape[2]) * shape[2]
    k = np.sqrt(ky[:, None, None] ** 2 + kz[None, :, None] ** 2 + kx[None, None, :] ** 2)
    noise = np.fft.irfftn(spectrum / np.maximum(k, 2.0) ** slope, shape).astype(np.float32)
    scaled: Array = (noise - noise.mean()) / noise.std()
    return scaled


def build_clouds(
    sun: Array, *, cover: float, base: float, top: float, tile: float, seed: int, layers: int = 28, cells: int = 320
) -> CloudLayer:
    """Make clouds with flat bases and heaped tops; ``cover`` shifts how much of the sky they take (-1..1)."""
    rng = np.random.default_rng(seed)
    noise = _spectral_noise((layers * 2, cells, cells), 2.35, 0.25, rng)[:layers]
    rise = np.linspace(0, 1, layers, dtype=np.float32)[:, None, None]
    profile = smoothstep(0, 0.12, rise) - 1.5 * rise**1.3
    density = np.clip(noise * 0.9 + cover + profile - 0.75, 0, None)
    density = np.minimum(density * 1.8, 1.2)
    lit = np.zeros_like(density)
    metres_up = (top - base) / layers
    for step in np.array([0.6, 1.6, 3.0, 5.0, 8.0, 12.0]):
        path = step * 55.0
        up, across = round(path * sun[1] / metres_up), path / (tile / cells)
        moved = np.roll(density, (round(-across * sun[2]), round(-across * sun[0])), (1, 2))
        moved = np.concatenate([moved[up:], np.zeros_like(moved[: min(up, layers)])])[:layers]
        lit += moved * step**0.5
    return CloudLayer(density, np.exp(-0.55 * lit), base, top, tile)


def add_clouds(light: Array, rays: Array, clouds: CloudLayer, sky: Sky, rng: np.random.Generator) -> Array:
    """Put the clouds in front of the sky's light (N, 3) along unit rays (N, 3), seen from the ground."""
    up = rays[:, 1]
    seen = np.flatnonzero(up > 0.012)
    light = light.copy()
    if not len(seen):
        return light
    ray, rise = rays[seen], up[seen]
    layers, cells = clouds.density.shape[:2]
    clear, colour = np.ones(len(seen), np.float32), np.zeros((len(seen), 3), np.float32)
    toward = np.clip(ray @ sky.sun, 0, 1)
    sunny = sky.sunlight * (0.52 + 0.9 * toward**5)[:, None]
    thick = (clouds.top - clouds.base) / layers / np.maximum(rise, 0.08)
    both = np.stack([clouds.density, clouds.lit], axis=-1)
    for layer in range(layers):
        altitude = clouds.base + (clouds.top - clouds.base) * (layer + rng.uniform(0, 1, len(seen))) / layers
        t = (altitude / rise).astype(np.float32)
        density, lit = _look_up(both[layer], ray * t[:, None], cells / clouds.tile).T
        alpha = 1 - np.exp(-density * thick * 0.016)
        shade = sunny * lit[:, None] + sky.zenith * (0.55 + 0.5 * layer / layers) + 0.12 * sky.horizon
        colour += (clear * alpha)[:, None] * shade
        clear = clear * (1 - alpha)
    haze = np.exp(-clouds.base / rise / 30_000) * smoothstep(0.012, 0.07, rise)
    covered = ((1 - clear) * haze)[:, None]
    light[seen] = light[seen] * (1 - covered) + colour * haze[:, None]
    return light


def _look_up(layer: Array, place: Array, scale: float) -> Array:
    """Read a tiling layer (M, M, 2) at places (N, 3) in metres."""
    cells = layer.shape[0]
    padded = np.pad(layer, ((0, 1), (0, 1), (0, 0)), mode="wrap")
    x, z = (place[:, 0] * scale) % cells, (place[:, 2] * scale) % cells
    rows = -(-len(x) // 16384)
    shape = (rows, 16384)
    flat_x, flat_z = np.zeros(rows * 16384, np.float32), np.zeros(rows * 16384, np.float32)
    flat_x[: len(x)], flat_z[: len(x)] = x, z
    values = cv2.remap(
        padded, flat_x.reshape(shape), flat_z.reshape(shape), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return values.reshape(-1, 2)[: len(x)]
