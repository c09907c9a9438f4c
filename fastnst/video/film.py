"""What a film is made of, as far as painting it needs to know; how players turn its frames; and frames of two fields.

H height, W width in pixels, as stored; sizes are (height, width). Times are whole ticks of a track's time base, a
Fraction of a second, so that nothing is rounded on the way. The fields of an interlaced frame, its even and its odd
lines, are each of another moment.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from av import VideoFrame
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as EndError
from av.filter import Graph

from fastnst.inference.steadying import Past
from fastnst.io.images import Frame

if TYPE_CHECKING:
    from fastnst.video.encoder import Encoding

Orientation: TypeAlias = tuple[int, ...]
"""A display matrix, 9 integers as in ISO/IEC 14496-12: how players turn the picture."""


_ONE = 1 << 16
_NOT_TURNED: Orientation = (_ONE, 0, 0, 0, _ONE, 0, 0, 0, 1 << 30)


@dataclass(frozen=True)
class Colors:
    """How the numbers in a film stand for colours, in the code points of ITU-T H.273."""

    matrix: int
    """From YUV to RGB: 1 BT.709, 5 and 6 BT.601, 9 BT.2020; 0 where the film holds RGB."""

    full_range: bool
    """Luma runs over 0..255, not 16..235."""

    primaries: int = 2
    """The red, green and blue that are meant; 2 unspecified."""

    transfer: int = 2
    """From light to numbers; 2 unspecified, 16 PQ, 18 HLG."""


@dataclass(frozen=True)
class Track:
    """A track beside the pictures: sound, subtitles, data, an attached file, cover art or a second film."""

    index: int
    """Its number in the file, from 0."""

    kind: str
    """audio, subtitle, data, attachment, cover art or video."""

    codec: str
    language: str = ""
    title: str = ""
    encoder: str = ""
    """FFmpeg's encoder for a track that the output cannot hold as it is; empty: it is copied, or left out."""

    mixed: str = ""
    """Where the encoder takes fewer channels than there are: how many there are, and what becomes of them."""

    def __str__(self) -> str:
        words = [self.codec, self.language, repr(self.title) if self.title else ""]
        return f"track {self.index} ({self.kind}: {', '.join(word for word in words if word)})"


@dataclass(frozen=True, kw_only=True)
class Film:
    """What is known of a film before it is read through."""

    path: Path
    size: tuple[int, int]
    """Height and width as stored, before players turn the picture."""

    pixel_format: str
    """FFmpeg's word: yuv420p, yuv444p10le ..."""

    time_base: Fraction
    """Seconds a tick of the pictures' track."""

    rate: Fraction
    """Frames a second; the average where it varies."""

    colors: Colors
    pixel_aspect: Fraction | None = None
    """Width of a pixel over its height; None: not said, and so square."""

    orientation: Orientation | None = None
    """None: shown as stored."""

    frames: int | None = None
    """How many frames the file says it holds, or an estimate from its duration."""

    end: int | None = None
    """Tick at which the last frame ends, where the file says so."""

    container: str = ""
    """FFmpeg's name of the file format."""

    origin_s: Fraction = Fraction(0)
    """What the file's clock shows at the start, where that has no meaning for a viewer (broadcasts start anywhere)."""

    tracks: tuple[Track, ...] = ()
    fields: Literal["", "top", "bottom"] = ""
    """For interlaced films, which lines of a frame are shown first; empty: frames are whole pictures."""

    views: str = ""
    """What special players do with the pictures: show them all around (360 degrees), or one half to each eye (3D)."""

    views_by_name: bool = False
    """Its file says so by a name, which Matroska keeps."""

    bits_per_pixel: float | None = None
    """Encoded bits for each pixel of each frame; None: not known."""

    @property
    def is_hdr(self) -> bool:
        """The colours are coded for a brightness above that of ordinary screens (PQ or HLG)."""
        return self.colors.transfer in {16, 18}

    @property
    def frame_ticks(self) -> int:
        """Ticks that a frame lasts at the average rate."""
        return max(1, round(1 / (self.rate * self.time_base)))


@dataclass(frozen=True)
class FilmFrame:
    """One picture of a film."""

    frame: Frame
    """uint8 (H, W, 3) RGB, as stored (not turned)."""

    pts: int
    """When it is shown, ticks of the film's time base."""

    duration: int
    """How long it is shown, ticks."""

    alpha: Frame | None = None
    """Opacity, uint8 (H, W); None where the film has none."""

    past: Past | None = None
    """For stylized frames that hold the next one steady: how it goes on from here."""


@dataclass(frozen=True)
class Span:
    """The part of a film that is wanted, in ticks of the pictures' time base."""

    start: int | None = None
    """First tick; None: from the beginning."""

    end: int | None = None
    """First tick that is no longer wanted; None: to the end."""

    def __contains__(self, pts: int) -> bool:
        return (self.start is None or pts >= self.start) and (self.end is None or pts < self.end)


def read_orientation(decoded: VideoFrame) -> Orientation | None:
    """Return the display matrix of a frame; None where it is shown as stored."""
    side_data: Mapping[Any, Any] = decoded.side_data
    try:
        matrix = tuple(int(value) for value in np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)[:9])
    except KeyError:
        return None
    return None if matrix == _NOT_TURNED else matrix


def read_views(decoded: VideoFrame) -> str:
    """Say whether a frame is marked as one all around the viewer, or one of two views; empty: neither."""
    side_data: Mapping[Any, Any] = decoded.side_data
    words = {"SPHERICAL": "360 degrees", "STEREO3D": "3D"}
    return " and ".join(word for name, word in words.items() if name in side_data)


def turn_upright(frame: Frame, orientation: Orientation | None) -> Frame:
    """Turn a stored frame, (H, W, ...), as players show it; turns that are no multiple of 90 degrees are left out."""
    swap, flip_rows, flip_columns = _steps(orientation)
    turned = frame.swapaxes(0, 1) if swap else frame
    turned = turned[::-1] if flip_rows else turned
    return np.ascontiguousarray(turned[:, ::-1] if flip_columns else turned)


def turn_back(frame: Frame, orientation: Orientation | None) -> Frame:
    """The other way round from `turn_upright`."""
    swap, flip_rows, flip_columns = _steps(orientation)
    turned = frame[:, ::-1] if flip_columns else frame
    turned = turned[::-1] if flip_rows else turned
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swap else turned)


def swaps_sides(orientation: Orientation | None) -> bool:
    """Whether height and width are exchanged when the film is shown."""
    return _steps(orientation)[0]


def _steps(orientation: Orientation | None) -> tuple[bool, bool, bool]:
    """The turn as: exchange rows and columns, then mirror top to bottom, then left to right.

    The matrix (a b u / c d v / x y w) sends the point (column, row) to (a column + c row, b column + d row).
    """
    if orientation is None:
        return False, False, False
    a, b, c, d = (orientation[place] for place in (0, 1, 3, 4))
    if a and d and not (b or c):
        return False, d < 0, a < 0
    if b and c and not (a or d):
        return True, b < 0, c < 0
    return False, False, False


TimedFrame: TypeAlias = tuple[VideoFrame, int, int]
"""A decoded frame, when it is shown and how long, ticks."""


class MarkFields:
    """Says of frames that are to be encoded which of their fields is shown first."""

    def __init__(self, encoding: "Encoding") -> None:
        self._first = "tff" if encoding.fields == "top" else "bff"
        self._graph: Graph | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Give the frame, marked."""
        if self._graph is None:
            self._graph = _graph(frame, ("setfield", {"mode": self._first}))
        frame.time_base = Fraction(1)
        self._graph.vpush(frame)
        return self._graph.vpull()


def first_field(frame: VideoFrame) -> Literal["", "top", "bottom"]:
    """Say which field of a decoded frame is shown first; empty where it is a whole picture."""
    if not frame.interlaced_frame:
        return ""
    graph = _graph(frame, ("select", {"expr": "eq(interlace_type,TOPFIRST)"}))
    copy = frame.reformat(format=frame.format.name)
    graph.vpush(copy)
    graph.vpush(None)
    try:
        graph.vpull()
    except (NotYetError, EndError):
        return "bottom"
    return "top"


def deinterlaced(frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
    """Turn interlaced frames into whole pictures (bwdif, one for each frame); others are left as they are."""
    graph: Graph | None = None
    form: tuple[int, int, str] | None = None
    durations: dict[int, int] = {}

    def pulled() -> Iterator[TimedFrame]:
        while graph is not None:
            try:
                whole = graph.vpull()
            except (NotYetError, EndError):
                return
            assert whole.pts is not None and whole.time_base is not None
            pts = int(whole.pts * whole.time_base)  # bwdif counts in halves
            yield whole, pts, durations.pop(pts)

    for decoded, pts, duration in frames:
        found = (decoded.height, decoded.width, decoded.format.name)
        if graph is not None and found != form:
            graph.vpush(None)
            yield from pulled()
            graph = None
        if graph is None and not decoded.interlaced_frame:
            yield decoded, pts, duration
            continue
        if graph is None:
            graph, form = _graph(decoded, ("bwdif", {"mode": "send_frame", "deint": "interlaced"})), found
        decoded.pts, decoded.time_base = pts, Fraction(1)
        durations[pts] = duration
        graph.vpush(decoded)
        yield from pulled()
    if graph is not None:
        graph.vpush(None)
        yield from pulled()


def each_field(paint: Callable[[Frame], Frame], frame: Frame) -> Frame:
    """Paint the two fields of a frame, (H, W, 3), each for itself: together they would be combed."""
    painted = np.empty_like(frame)
    for first in (0, 1):
        painted[first::2] = paint(np.ascontiguousarray(frame[first::2]))
    return painted


def _graph(frame: VideoFrame, *filters: tuple[str, dict[str, str]]) -> Graph:
    graph = Graph()
    source = {
        "video_size": f"{frame.width}x{frame.height}",
        "pix_fmt": frame.format.name,
        "time_base": "1",
        "colorspace": str(int(frame.colorspace)),
        "range": str(int(frame.color_range)),
    }
    nodes = [graph.add("buffer", None, **source)]
    nodes += [graph.add(name, None, **options) for name, options in filters]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph
