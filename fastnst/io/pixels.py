"""Pillow's pictures of any mode to uint8 RGB and alpha, and what transparency hides, which must count for nothing.

Colors coded for bright screens or wide gamuts, by the code points of ITU-T H.273, become ordinary ones.

Arrays are (H, W, C), height, width, channels, colors in the order red, green, blue; alphas (H, W), 255 opaque. L stands
for light in nits (cd/m2).
"""

import io
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Levels = npt.NDArray[np.uint8]

# Pictures are converted this many rows at a time: a 100-megapixel one then needs no second copy of itself.
_ROWS = 1024


Floats: TypeAlias = npt.NDArray[np.floating]

# Averages of the visible colors begin at squares of so many pixels: a pyramid from the full size needs ten times more
# memory, and nobody sees the difference.
_SQUARE = 8


def to_rgb_and_alpha(picture: Image.Image, profile: bytes | None) -> tuple[Levels, Levels | None, bytes | None]:
    """Convert a decoded picture of any mode that Pillow reads, with the ICC profile found in its file.

    Returns frame (H, W, 3); alpha (H, W) or None where the picture has none; and the profile, which is None where the
    colours went through it to sRGB (CMYK, grey, Lab) or where it does not describe RGB.
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


PQ = 16
"""Code point of the transfer function in ITU-T H.273."""

HLG = 18
"""Code point of the other one for bright screens."""

BT2020 = 9
"""Code point of the primaries of BT.2020 and BT.2100."""

SOURCE_PEAK = 1000.0
"""Nits. What nearly all films are mastered for; brighter parts become white."""

WHITE = 203.0
"""Nits of a sheet of white paper in HDR films (ITU-R BT.2408); the brightest that is left."""

# Primaries to BT.709, linear light: BT.2020 by ITU-R BT.2087; Display P3 by its chromaticities (SMPTE EG 432-1).
_TO_BT709 = {
    1: np.eye(3),
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    12: np.array([[1.2249, -0.2249, 0.0], [-0.0420, 1.0420, 0.0], [-0.0197, -0.0786, 1.0983]]),
}
# Transfer functions of ordinary screens. Pictures say BT.709 (1, 6, 14, 15) and mean what sRGB's (13) shows.
_SRGB = frozenset({1, 6, 13, 14, 15})
_BAND_ROWS = 256


def is_srgb(primaries: int, transfer: int) -> bool:
    """Whether code points mean sRGB, or say nothing (2)."""
    return primaries in {1, 2} and transfer in _SRGB | {2}


def is_known(primaries: int, transfer: int) -> bool:
    """Whether `to_srgb` converts from these code points."""
    return primaries in _TO_BT709 and transfer in _SRGB | {PQ, HLG}


def to_srgb(levels: npt.NDArray[np.uint8 | np.uint16], primaries: int, transfer: int) -> npt.NDArray[np.uint8]:
    """Convert a picture (H, W, 3) of 8 or 16 bits to sRGB, uint8; PQ and HLG are rolled off as in films.

    The code points must be known, see `is_known`.
    """
    most = np.iinfo(levels.dtype).max
    converted = np.empty(levels.shape, np.uint8)
    for top in range(0, len(levels), _BAND_ROWS):
        coded = levels[top : top + _BAND_ROWS] / most
        linear = to_bt709_light(coded, transfer, primaries) if transfer in {PQ, HLG} else _srgb_light(coded, primaries)
        converted[top : top + _BAND_ROWS] = np.rint(_srgb_code(linear.clip(0, 1)) * 255)
    return converted


def to_bt709_light(coded: Floats, transfer: int, primaries: int = BT2020) -> Floats:
    """PQ or HLG code values 0..1 to linear light in BT.709 primaries, 1 for white, dark tones left as they are."""
    light = pq_to_nits(coded) if transfer == PQ else hlg_to_nits(coded)
    brightest = light.max(-1, keepdims=True)
    # The brightest channel is rolled off and takes the others along: the hue stays.
    scale = roll_off(brightest) / np.maximum(brightest, 1e-6)
    return np.asarray((light * scale) @ _TO_BT709[primaries].T / WHITE)


def pq_to_nits(coded: Floats) -> Floats:
    """PQ code values 0..1 to nits (SMPTE ST 2084, equation 4.1)."""
    power = coded ** (1 / 78.84375)
    return np.asarray(
        10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    )


def nits_to_pq(light: Floats) -> Floats:
    """The other way round from `pq_to_nits` (SMPTE ST 2084, equation 5.2)."""
    power = (light / 10_000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg_to_nits(coded: Floats) -> Floats:
    """HLG code values 0..1, (..., 3), to nits on a screen of 1,000 nits (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(1000 * luminance[..., None] ** 0.2 * scene)


def roll_off(light: Floats) -> Floats:
    """Bring nits up to the source's peak into those an ordinary screen shows (ITU-R BT.2390, section 5.4.1, EETF).

    Dark and middle tones stay as they are; above the knee a Hermite spline bends to the white of the screen.
    """
    peak = nits_to_pq(np.array(SOURCE_PEAK))
    tone = np.minimum(nits_to_pq(light) / peak, 1)
    brightest = nits_to_pq(np.array(WHITE)) / peak
    knee = 1.5 * brightest - 0.5
    t = np.maximum(tone - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * brightest
    return pq_to_nits(np.where(tone < knee, tone, spline) * peak)


def _srgb_light(coded: Floats, primaries: int) -> Floats:
    """Code values 0..1 of sRGB's curve to linear light in BT.709 primaries (IEC 61966-2-1)."""
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ _TO_BT709[primaries].T)


def _srgb_code(linear: Floats) -> Floats:
    """The other way round, channel by channel."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
