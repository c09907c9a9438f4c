"""Films coded for bright screens (PQ, HLG) brought down to ordinary ones, as a table of colours that FFmpeg applies.

H height, W width in pixels. L stands for light in nits (cd/m2).
"""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.filter import Graph
from av.video.format import VideoFormat

Floats: TypeAlias = npt.NDArray[np.float64]

PQ = 16
"""Code point of the transfer function in ITU-T H.273; the other one, HLG, is 18."""

_SOURCE_PEAK = 1000.0
"""Nits. What nearly all films are mastered for; brighter parts become white."""

_WHITE = 203.0
"""Nits of a sheet of white paper in HDR films (ITU-R BT.2408); the brightest that is left."""

_TABLE_SIDE = 49

# BT.2020 to BT.709, linear light (ITU-R BT.2087).
_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


class ToneMapper:
    """Turns PQ or HLG pictures into BT.709 ones."""

    def __init__(self, transfer: int, size: tuple[int, int]) -> None:
        """Build the table.

        Args:
            transfer: 16 PQ or 18 HLG.
            size: height and width of the pictures, pixels.
        """
        self.transfer = transfer
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=size[1], height=size[0], format=VideoFormat("gbrp16le"), time_base=Fraction(1)
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tones.cube"
            path.write_text(_as_cube(tone_table(transfer, _TABLE_SIDE)))
            table = self._graph.add("lut3d", None, file=str(path), interp="tetrahedral")
            narrow = self._graph.add("format", None, pix_fmts="gbrp")
            self._graph.link_nodes(source, table, narrow, self._graph.add("buffersink")).configure()

    def __call__(self, picture: VideoFrame) -> VideoFrame:
        """Map a picture, planar RGB of 16 bits, to one of 8 bits."""
        self._graph.vpush(picture)
        return self._graph.vpull()


def tone_table(transfer: int, side: int) -> Floats:
    """Tabulate coded RGB in BT.2020 primaries to BT.709 code values: (side, side, side, 3), all in 0..1.

    The first axis is red, then green, then blue.
    """
    codes = np.linspace(0, 1, side)
    coded = np.stack(np.meshgrid(codes, codes, codes, indexing="ij"), -1)
    light = pq_to_nits(coded) if transfer == PQ else hlg_to_nits(coded)
    brightest = light.max(-1, keepdims=True)
    # The brightest channel is rolled off and takes the others along: the hue stays.
    scale = roll_off(brightest) / np.maximum(brightest, 1e-6)
    linear = (light * scale) @ _TO_BT709.T / _WHITE
    return np.asarray(linear.clip(0, 1) ** (1 / 2.4))  # a BT.1886 display, gamma 2.4


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
    peak = nits_to_pq(np.array(_SOURCE_PEAK))
    tone = np.minimum(nits_to_pq(light) / peak, 1)
    brightest = nits_to_pq(np.array(_WHITE)) / peak
    knee = 1.5 * brightest - 0.5
    t = np.maximum(tone - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * brightest
    return pq_to_nits(np.where(tone < knee, tone, spline) * peak)


def _as_cube(table: Floats) -> str:
    """Write a table in the form of Adobe's .cube files, red changing fastest."""
    side = table.shape[0]
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3)
    return "\n".join([f"LUT_3D_SIZE {side}", *(f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows)])
