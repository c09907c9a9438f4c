"""Pillow's pictures of any mode to uint8 RGB and alpha; and what transparency hides, which must count for nothing.

Arrays are (H, W, C), height, width, channels, colours in the order red, green, blue; alphas (H, W), 255 opaque.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Levels = npt.NDArray[np.uint8]

# Pictures are converted this many rows at a time: a 100-megapixel one then needs no second copy of itself.
_ROWS = 1024


Floats = npt.NDArray[np.floating]

# Averages of the visible colors begin at squares of so many pixels: a pyramid from the full size needs ten times more
# memory, and nobody sees the difference.
_SQUARE = 8


def to_rgb_and_alpha(picture: Image.Image, profile: bytes | None) -> tuple[Levels, Levels | None, bytes | None]:
    """Convert a decoded picture.

    Args:
        picture: any mode that Pillow reads.
        profile: the ICC profile found in its file.

    Returns:
        frame (H, W, 3); alpha (H, W) or None where the picture has none; and the profile, which is None
        where the colours went through it to sRGB (CMYK, grey, Lab) or where it does not describe RGB.
    """
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        grey = _grey_levels(picture)
        frame = np.repeat(grey[..., None], 3, axis=2)
        key = picture.info.get("transparency")  # a grey that means "transparent", in the file's own levels
        if not isinstance(key, int):
            return frame, None, None
        return frame, np.where(np.asarray(picture) == key, 0, 255).astype(np.uint8), None
    if picture.has_transparency_data:
        frame, alpha = _convert_rows(picture, lambda rows: rows.convert("RGBA"))
        return frame, alpha, _rgb_only(profile)
    if picture.mode in {"RGB", "P", "1", "YCbCr"}:
        return _convert_rows(picture, lambda rows: rows.convert("RGB"))[0], None, _rgb_only(profile)
    return _convert_rows(picture, _srgb_conversion(picture.mode, profile))[0], None, None


def _convert_rows(picture: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> tuple[Levels, Levels | None]:
    width, height = picture.size
    frame = np.empty((height, width, 3), np.uint8)
    alpha: Levels | None = None
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        rows = np.asarray(convert(picture.crop((0, top, width, bottom))))
        frame[top:bottom] = rows[..., :3]
        if rows.shape[2] == 4:
            alpha = np.empty((height, width), np.uint8) if alpha is None else alpha
            alpha[top:bottom] = rows[..., 3]
    return frame, alpha


def _rgb_only(profile: bytes | None) -> bytes | None:
    """The profile if it describes RGB: bytes 16 to 19 of its header name the colour space (ICC.1:2022, 7.2.6)."""
    return profile if profile is not None and profile[16:20] == b"RGB " else None


def _srgb_conversion(mode: str, profile: bytes | None) -> Callable[[Image.Image], Image.Image]:
    """How rows of a mode other than RGB become sRGB: through the profile where it fits, else Pillow's plain formula."""
    try:
        source: Any = ImageCms.createProfile("LAB") if mode == "LAB" else None
        if source is None and profile is not None and profile[16:20] == {"CMYK": b"CMYK", "L": b"GRAY"}.get(mode):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source is None:
            return lambda rows: rows.convert("RGB")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ImportError):
        # A damaged profile, or a Pillow without LittleCMS: roughly right colours are better than no picture.
        return lambda rows: rows.convert("RGB")
    return lambda rows: ImageCms.applyTransform(rows, transform) or rows


def _grey_levels(picture: Image.Image) -> Levels:
    """Scale grey of 16 or 32 bits or of floats to 0..255, uint8 (H, W).

    16 bits are full scale at 65535. Files of 32 bits and floats do not say what is white: it is the first of 1 (floats
    only), 255, 65535 that no pixel exceeds, else the brightest pixel.
    """
    values = np.asarray(picture)
    if values.dtype.itemsize == 2:
        table: Levels = np.rint(np.arange(65536) / 257).astype(np.uint8)
        sixteen_bit: Levels = table[values]
        return sixteen_bit
    levels = np.nan_to_num(values.astype(np.float32), nan=0, posinf=0, neginf=0)
    white = _white(picture, float(levels.max()))
    scaled: Levels = np.rint(np.clip(levels / white, 0, 1) * 255).astype(np.uint8)
    return scaled


def _white(picture: Image.Image, brightest: float) -> float:
    if picture.mode == "I" and picture.format in {"PNG", "PPM"}:
        return 65535  # older versions of Pillow read their 16 bits as 32
    scales = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
    return next((scale for scale in scales if brightest <= scale), brightest)


def fill_hidden(frame: Levels, alpha: Levels) -> Levels:
    """Give fully transparent pixels the color of what is visible near them; the others stay as they are.

    Editors leave anything there, mostly black. Push-pull (Gortler et al. 1996, "The Lumigraph", section 3.4): averages
    of the visible colors on ever coarser grids fill the holes of the finer ones. White where nothing is visible.
    """
    hidden = alpha == 0
    if not hidden.any():
        return frame
    height, width = alpha.shape
    opacity = alpha / np.float32(255)
    sums = np.dstack([_average(frame[..., channel] * opacity) for channel in range(3)])
    coarse = _pull(sums, _average(opacity)[..., None])
    colors = np.rint(coarse.clip(0, 255)).astype(np.uint8)
    spread = Image.fromarray(colors).resize((width, height), Image.Resampling.BILINEAR)
    return np.where(hidden[..., None], np.asarray(spread), frame)


def resize_visible(frame: Levels, alpha: Levels, size: tuple[int, int]) -> tuple[Levels, Levels]:
    """Resample a frame and its alpha to size = (height, width) with Lanczos' filter, each pixel by its opacity.

    Colors are multiplied by alpha before and divided after (Porter and Duff 1984), in floats: 8 bits would round the
    colors of nearly transparent pixels to a few levels.
    """
    opacity = _resample(alpha / np.float32(255), size)
    smaller = np.empty((*size, 3), np.uint8)
    visible = opacity > 0.5 / 255  # Lanczos' filter rings below 0
    for channel in range(3):
        sums = _resample(frame[..., channel] * (alpha / np.float32(255)), size)
        colors = np.divide(sums, opacity, out=np.full(size, 255, np.float32), where=visible)
        smaller[..., channel] = np.rint(colors.clip(0, 255))
    levels: Levels = np.rint(opacity.clip(0, 1) * 255).astype(np.uint8)
    return fill_hidden(smaller, levels), levels


def _average(plane: Floats) -> Floats:
    """Averages of squares."""
    return np.asarray(Image.fromarray(plane.astype(np.float32, copy=False)).reduce(_SQUARE), np.float32)


def _pull(sums: Floats, weights: Floats) -> Floats:
    """Colors (H, W, 3) from sums of color times weight and weights (H, W, 1); coarser averages where a weight is 0."""
    known = weights > 0
    colors = np.divide(sums, weights, out=np.full_like(sums, 255), where=known)
    if known.all() or max(weights.shape[:2]) == 1:
        return colors
    coarser = _pull(_halve(sums), _halve(weights))
    height, width = weights.shape[:2]
    spread = coarser.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known, colors, spread)


def _halve(values: Floats) -> Floats:
    """Sums of 2 x 2 pixels; beyond an odd edge there is nothing."""
    height, width, channels = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    summed: Floats = even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum(axis=(1, 3))
    return summed


def _resample(plane: Floats, size: tuple[int, int]) -> Floats:
    resized = Image.fromarray(plane.astype(np.float32, copy=False)).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(resized, np.float32)
