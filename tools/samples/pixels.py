"""From linear light to a JPEG file, and the few filters all pictures share."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from samples.noise import Array


def srgb(*hex_colours: str) -> Array:
    """Turn colours such as "1b3a6f" into linear light: (3,) for one, (N, 3) for several."""
    codes = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in hex_colours], np.float32) / 255
    linear = decode(codes)
    return linear[0] if len(hex_colours) == 1 else linear


def decode(encoded: Array) -> Array:
    """SRGB 0..1 to linear light (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encode(linear: Array) -> Array:
    """Linear light, cut to 0..1, to sRGB 0..1."""
    cut = np.clip(linear, 0, 1)
    return np.where(cut <= 0.0031308, cut * 12.92, 1.055 * cut ** (1 / 2.4) - 0.055).astype(np.float32)


def tone_map(light: Array, exposure: float = 1.0) -> Array:
    """Compress highlights with the fitted ACES curve of Narkowicz (2015): linear in, linear 0..1 out."""
    x = np.maximum(light * exposure, 0)
    return np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur with mirrored borders; sigma in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def bloom(light: Array, threshold: float, sigma: float, amount: float) -> Array:
    """Let light above ``threshold`` glow into its surroundings, as in a lens."""
    bright = np.maximum(light - threshold, 0)
    return light + amount * (blur(bright, sigma) + 0.5 * blur(bright, 3 * sigma))


def vignette(light: Array, amount: float) -> Array:
    """Darken the corners by ``amount`` (0..1)."""
    height, width = light.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    values: Array = light * (1 - amount * ((x * x + y * y) / 2) ** 1.3)[..., None]
    return values


def shrink(image: Array, size: tuple[int, int]) -> Array:
    """Average a supersampled picture down to size (height, width)."""
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def save_jpeg(linear: Array, path: Path, limit_bytes: int = 400_000) -> None:
    """Write linear light (H, W, 3) as JPEG, quality 92 or the highest below it that keeps the file under the limit."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, linear.shape)
    image = Image.fromarray((encode(linear) * 255 + 0.5 + 0.5 * noise).clip(0, 255).astype(np.uint8))
    part = path.with_suffix(".part")
    for quality in range(92, 60, -1):
        image.save(part, "JPEG", quality=quality, optimize=True, subsampling=0 if quality > 85 else 2)
        if part.stat().st_size < limit_bytes:
            break
    part.replace(path)
