"""Interlaced films: frames of two fields, the even and the odd lines, each of another moment.

H height, W width in pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from av import VideoFrame
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as EndError
from av.filter import Graph

from fastnst.io.images import Frame

if TYPE_CHECKING:
    from fastnst.video.encoder import Encoding

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
