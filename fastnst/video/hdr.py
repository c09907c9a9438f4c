"""Films coded for bright screens (PQ, HLG) brought down to ordinary ones, as a table of colours that FFmpeg applies.

H height, W width in pixels.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.format import VideoFormat

from fastnst.io.tone_mapping import Floats, to_bt709_light

_TABLE_SIDE = 49


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
    linear = to_bt709_light(coded, transfer)
    return np.asarray(linear.clip(0, 1) ** (1 / 2.4))  # a BT.1886 display, gamma 2.4


def _as_cube(table: Floats) -> str:
    """Write a table in the form of Adobe's .cube files, red changing fastest."""
    side = table.shape[0]
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3)
    return "\n".join([f"LUT_3D_SIZE {side}", *(f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows)])
