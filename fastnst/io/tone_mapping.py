"""Colors coded for bright screens or wide gamuts, by the code points of ITU-T H.273, to ordinary ones.

Arrays are (..., 3): red, green, blue. L stands for light in nits (cd/m2).
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating]

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
_ROWS = 256


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
    for top in range(0, len(levels), _ROWS):
        coded = levels[top : top + _ROWS] / most
        linear = to_bt709_light(coded, transfer, primaries) if transfer in {PQ, HLG} else _srgb_light(coded, primaries)
        converted[top : top + _ROWS] = np.rint(_srgb_code(linear.clip(0, 1)) * 255)
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
