"""Decoded pictures <-> RGB, with matrix and range said outright: FFmpeg's defaults shift the colours of BT.709 films.

H height, W width in pixels.
"""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from fastnst.errors import InputError
from fastnst.io.images import Frame, over_white
from fastnst.io.pixels import Floats, to_bt709_light
from fastnst.video.film import Colors

_TABLE_SIDE = 49


class ToneMapper:
    """Turns PQ or HLG pictures into BT.709 ones."""

    def __init__(self, transfer: int, size: tuple[int, int]) -> None:
        """Build the table for a transfer, 16 PQ or 18 HLG, and pictures of (height, width) pixels."""
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


# Without full chroma interpolation FFmpeg repeats chroma samples and rounds coarsely: errors of 4 levels on flat
# colours instead of 2. Planar RGB is the only form for which this is also quick (2 ms at 1280 x 720; packed: 35 ms).
_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)

# Matrix coefficients of ITU-T H.273, and PyAV's words. 5 and 6 are BT.601 in Europe and in America: the same.
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}
_UNSPECIFIED = {0, 2}
_HDR_TRANSFERS = {16, 18}
_HD_LINES = 720


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format carries opacity."""
    return any(component.is_alpha for component in VideoFormat(pixel_format).components)


def read_colors(tagged: Any, pixel_format: str, lines: int) -> Colors:
    """Say how the numbers of a decoded frame, or of a codec context, stand for colours.

    What its tags leave open is taken as players take it: BT.709 from 720 lines up, else BT.601; limited range.
    """
    primaries, transfer = int(tagged.color_primaries), int(tagged.color_trc)
    if VideoFormat(pixel_format).is_rgb:
        return Colors(0, True, primaries, transfer)
    matrix = int(tagged.colorspace)
    if matrix in _UNSPECIFIED:
        wide = transfer in _HDR_TRANSFERS or primaries == 9
        matrix = 9 if wide else 1 if lines >= _HD_LINES else 6
    full_range = int(tagged.color_range) == ColorRange.JPEG or pixel_format.startswith("yuvj")
    return Colors(matrix, full_range, primaries, transfer)


def encoded_colors(colors: Colors, lines: int) -> Colors:
    """Say how a painted film is to be coded: as its source was; HDR becomes BT.709; RGB gets what fits its height."""
    if colors.transfer in _HDR_TRANSFERS:
        return Colors(1, False, 1, 1)
    if colors.matrix == 0:
        return Colors(1 if lines >= _HD_LINES else 6, False, colors.primaries, colors.transfer)
    return colors


class ToRgb:
    """Turns decoded frames into RGB."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._tone_mapper: ToneMapper | None = None

    def __call__(self, decoded: VideoFrame) -> tuple[Frame, Frame | None]:
        """Give the colours, uint8 (H, W, 3) RGB, and the opacity, uint8 (H, W), or None where there is none.

        PQ and HLG are tone-mapped to BT.709.

        Raises InputError: a matrix that cannot be converted.
        """
        colors = read_colors(decoded, decoded.format.name, decoded.height)
        if colors.transfer in _HDR_TRANSFERS:
            if self._tone_mapper is None or self._tone_mapper.transfer != colors.transfer:
                self._tone_mapper = ToneMapper(colors.transfer, (decoded.height, decoded.width))
            return _pixels(self._tone_mapper(self._to_planes(decoded, "gbrp16le", colors))), None
        if has_alpha(decoded.format.name):
            rgba = _pixels(self._to_planes(decoded, "gbrap", colors))
            return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
        return _pixels(self._to_planes(decoded, "gbrp", colors)), None

    def _to_planes(self, decoded: VideoFrame, planes: str, colors: Colors) -> VideoFrame:
        source: dict[str, Any] = {}
        if colors.matrix:
            source = {"src_colorspace": _matrix(colors.matrix), "src_color_range": _range(colors)}
        return self._reformatter.reformat(
            decoded, format=planes, dst_color_range=ColorRange.JPEG, interpolation=_EXACT, threads=1, **source
        )


class FromRgb:
    """Turns painted frames into what an encoder takes."""

    def __init__(self, pixel_format: str, colors: Colors) -> None:
        """Prepare to give a pixel format, in FFmpeg's word, whose numbers are to stand for colours so."""
        self._format, self._colors = pixel_format, colors
        self._keeps_alpha = has_alpha(pixel_format)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Frame, alpha: Frame | None = None) -> VideoFrame:
        """Convert a frame, uint8 (H, W, 3) RGB, with opacity (H, W); laid over white where the format has none."""
        if alpha is not None and not self._keeps_alpha:
            frame, alpha = over_white(frame, alpha), None
        if self._keeps_alpha and alpha is None:
            alpha = full_opacity(frame)
        planes = to_planes(frame, alpha)
        target: dict[str, Any] = {"dst_color_range": ColorRange.JPEG}
        if not VideoFormat(self._format).is_rgb:
            target = {"dst_colorspace": _matrix(self._colors.matrix), "dst_color_range": _range(self._colors)}
        coded = self._reformatter.reformat(
            planes, format=self._format, src_color_range=ColorRange.JPEG, interpolation=_EXACT, threads=1, **target
        )
        coded.color_primaries, coded.color_trc = self._colors.primaries, self._colors.transfer
        return coded


def lay_over(frame: Frame, alpha: Frame, background: tuple[int, int, int]) -> Frame:
    """Lay a frame (H, W, 3) with opacity alpha (H, W) over one colour, RGB 0..255."""
    weight = alpha[..., None].astype(np.uint16)
    laid = frame * weight + np.array(background, np.uint16) * (255 - weight)
    return ((laid + 127) // 255).astype(np.uint8)


def full_opacity(frame: Frame) -> Frame:
    """Opacity (H, W) of a frame (H, W, 3) without any transparent part."""
    return np.full(frame.shape[:2], 255, np.uint8)


def to_planes(frame: Frame, alpha: Frame | None = None) -> VideoFrame:
    """Lay a frame (H, W, 3) and its opacity (H, W) out as planes: green, blue, red, opacity."""
    height, width = frame.shape[:2]
    planes = VideoFrame(width, height, "gbrp" if alpha is None else "gbrap")
    channels = [frame[..., 1], frame[..., 2], frame[..., 0]]
    for plane, channel in zip(planes.planes, channels if alpha is None else [*channels, alpha], strict=True):
        # PyAV's own from_ndarray copies planes through bytes: 30 ms at 1280 x 720 instead of 1.
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width] = channel  # type: ignore[call-overload]
    return planes


def _pixels(planes: VideoFrame) -> Frame:
    return planes.to_ndarray().astype(np.uint8, copy=False)


def _matrix(matrix: int) -> str:
    if matrix not in _MATRICES:
        raise InputError(
            f"colors with the matrix {matrix} of ITU-T H.273, which cannot be converted; "
            "convert the film to BT.709 first"
        )
    return _MATRICES[matrix]


def _range(colors: Colors) -> ColorRange:
    return ColorRange.JPEG if colors.full_range else ColorRange.MPEG


# Each frame gets a palette of its own: better colours than one for all, and no need to keep the whole film in memory.
_GENERATE = {"stats_mode": "single", "max_colors": "256"}
_USE = {"new": "1", "dither": "bayer", "bayer_scale": "4"}


class ToPalette:
    """Turns frames into pictures of 256 colours, one of them transparent where a frame has opacity."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Prepare for pictures of size = (height, width) pixels."""
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=size[1], height=size[0], format=VideoFormat("gbrap"), time_base=Fraction(1)
        )
        split = self._graph.add("split")
        generate = self._graph.add("palettegen", None, **_GENERATE)
        use = self._graph.add("paletteuse", None, **_USE)
        sink = self._graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        self._graph.configure()
        self._count = 0

    def __call__(self, frame: Frame, alpha: Frame | None = None) -> VideoFrame:
        """Convert a frame, uint8 (H, W, 3) RGB, with opacity (H, W)."""
        planes = to_planes(frame, full_opacity(frame) if alpha is None else alpha)
        planes.pts, planes.time_base = self._count, Fraction(1)
        self._count += 1
        self._graph.vpush(planes)
        return self._graph.vpull()
