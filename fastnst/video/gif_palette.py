"""Frames in 256 colours, for GIF."""

from fractions import Fraction

from av import VideoFrame
from av.filter import Graph
from av.video.format import VideoFormat

from fastnst.io.images import Frame
from fastnst.video.color import full_opacity, to_planes

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
