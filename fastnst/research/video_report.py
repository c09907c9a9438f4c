"""How steady a network paints, measured and as blocks of a report: what changes beyond what the film itself changes.

Each frame is painted alone, the next one is brought back along the flow, and what still differs is the error:

    E_warp = mean over pairs of frames of the mean of M (X_t - warp(X_t+1))^2

over the pixels M that both frames show, with colors in 0..1: Lai et al. (2018, section 4.3), who take the visible
pixels from Ruder et al. (2016). Sensor noise on a scene that stands still shows what Gupta et al. (2017) describe:
frames that look alike and are painted differently.

The error alone flatters grey pictures: painted with half the contrast, everything differs by a quarter. So it is also
divided by the variance of the painted frames. A relative error of 0 is perfectly steady, 2 is as different as two
unrelated pictures. And films are not steady either: flow is estimated, cameras have noise. The floor is the relative
error of the unpainted frames; the excess over it is what the network adds.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB, flows float32 (H, W, 2), masks bool (H, W).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastnst.errors import StyleError
from fastnst.io.images import Frame, resize_long_side
from fastnst.metrics.scenes import Flow, Kind, Mask, Scene, moving_scenes, read_clip, read_flow_scenes, still, warp
from fastnst.report.blocks import (
    Block,
    Cell,
    Column,
    Facts,
    Heading,
    PictureGrid,
    Plot,
    Row,
    Table,
    Text,
    mean_interval,
)
from fastnst.report.report import MARKERS, Report, Theme, draw_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Painter: TypeAlias = Callable[[Frame], Frame]

UNPAINTED = "unstylized"
"""Name of the floor among the networks."""

_MOVING_FRAMES = 4
# Pixels that move less than this count as standing still: what an estimated flow gets wrong on a static scene.
_STILL_PX = 0.25
# A clip is worth a row of its own as a static camera where this part of it stands still.
_STATIC_SHARE = 0.25


@dataclass(frozen=True)
class Steadiness:
    """One network on one scene."""

    network: str
    scene: str
    kind: Kind

    error: float
    """E_warp: mean squared change of a visible pixel along its way, colors in 0..1."""

    variance: float
    """Mean variance of the stylized frames, colors in 0..1: per frame and color, over all pixels."""

    floor_error: float
    """E_warp of the unpainted frames."""

    floor_variance: float
    """Variance of the unpainted frames."""

    share: float
    """Part of the pixels that could be compared."""

    @property
    def relative(self) -> float:
        """Error over variance: 0 steady, 2 unrelated; not a number where the frames are of one color."""
        return self.error / self.variance if self.variance > 0 else math.nan

    @property
    def excess(self) -> float:
        """Relative error above that of the unpainted frames: what the network adds."""
        floor = self.floor_error / self.floor_variance if self.floor_variance > 0 else math.nan
        return self.relative - floor


def gather_scenes(
    paths: Sequence[str | Path], pictures: Sequence[tuple[str, Frame]] = (), *, frames: int = 10, long_side: int = 512
) -> list[Scene]:
    """Collect scenes: pairs with true flow, clips, and pictures that are moved and stand still with sensor noise.

    Paths are folders that hold .flo files anywhere, folders of a clip's frames, and films; pictures have names, and are
    uint8 (H, W, 3). A clip has `frames` frames at most, a synthetic motion no more than 4. Smaller clips than
    `long_side` pixels stay as they are, pairs with true flow always do. Raises InputError for a path that is none of
    these or cannot be read.
    """
    scenes: list[Scene] = []
    for path in map(Path, paths):
        if path.is_dir() and next(path.rglob("*.flo"), None) is not None:
            scenes += read_flow_scenes(path)
        else:
            scenes.append(read_clip(path, frames=frames, long_side=long_side))
    return scenes + moving_scenes(pictures, frames=min(frames, _MOVING_FRAMES), long_side=long_side)


def evaluate_video(
    networks: Mapping[str, Painter],
    scenes: Sequence[Scene],
    progress: Callable[[int, int], None] | None = None,
) -> list[Steadiness]:
    """Paint every frame of every scene with every network, by name, and measure how steady it is.

    Clips give a second row, static camera, where at least a quarter of their pixels stand still: what those pixels
    change without any warping, which is flicker. `progress` is called after each painted frame with the frames painted
    so far and all frames. Raises StyleError for a network that changes the size of a frame.
    """
    total, done, rows = len(networks) * sum(len(scene.frames) for scene in scenes), 0, []
    for scene in scenes:
        views = [scene, *static_parts(scene)]
        floors = [measure(view, scene.frames) for view in views]
        for name, paint in networks.items():
            painted = []
            for frame in scene.frames:
                painted.append(_paint(name, paint, frame))
                done += 1
                if progress is not None:
                    progress(done, total)
            for view, floor in zip(views, floors, strict=True):
                rows.append(Steadiness(name, view.name, view.kind, *measure(view, painted), *floor, _share(view)))
    return rows


def measure(scene: Scene, frames: Sequence[Frame]) -> tuple[float, float]:
    """Return E_warp and variance of the frames, uint8 (H, W, 3), that a scene's frames were painted into.

    The error is not a number where no pixel can be compared.
    """
    steps = zip(pairwise(frames), scene.flows, scene.visible, strict=True)
    errors = [warp_error(first, second, flow, visible) for (first, second), flow, visible in steps]
    seen = [error for error in errors if not math.isnan(error)]
    return fmean(seen) if seen else math.nan, fmean(_variance(frame) for frame in frames)


def warp_error(first: Frame, second: Frame, flow: Flow, visible: Mask) -> float:
    """Mean squared difference, colors in 0..1, between a frame and the next one brought back along the flow, (H, W, 2).

    Visible pixels, (H, W), are compared; the error is not a number where there is none.
    """
    warped, inside = warp(second, flow)
    seen = visible & inside
    if not seen.any():
        return math.nan
    return float(np.square(warped[seen] - first[seen], dtype=np.float64).mean() / 255**2)


def static_parts(scene: Scene) -> list[Scene]:
    """Return what stands still in a clip as a scene without motion, or nothing where that is less than a quarter."""
    if scene.kind != "clip":
        return []
    pairs = zip(scene.flows, scene.visible, strict=True)
    visible = [seen & (np.abs(flow).max(axis=2) < _STILL_PX) for flow, seen in pairs]
    static = Scene(scene.name, "static camera", scene.frames, [still(*flow.shape[:2]) for flow in scene.flows], visible)
    return [static] if _share(static) >= _STATIC_SHARE else []


def _paint(name: str, paint: Painter, frame: Frame) -> Frame:
    painted = paint(frame)
    if painted.shape != frame.shape:
        raise StyleError(f"{name}: turns a frame of {frame.shape} into {painted.shape}; expected the same size")
    return painted


def _variance(frame: Frame) -> float:
    return float(frame.var(axis=(0, 1), dtype=np.float64).mean() / 255**2)


def _share(scene: Scene) -> float:
    return fmean(float(mask.mean()) for mask in scene.visible)


MEANINGS: Mapping[Kind, str] = {
    "true flow": "pairs of pictures whose optical flow is known",
    "synthetic motion": "a photo that is moved, enlarged and turned, so that its flow is exact",
    "clip": "films, their flow estimated (dense inverse search) and checked forth and back",
    "static camera": "the pixels of clips that stand still, compared without any warping: flicker",
    "noise": "one photo with new sensor noise (2 levels of 255) in each frame: flicker",
}
"""What each kind of scene is."""

# Factor by which pictures of changes are brightened.
_GAIN = 4
_EXAMPLE_SIDE = 320
# Two or three scenes tell nothing of the spread: Student's t makes intervals of them that hold everything.
_LEAST_FOR_INTERVAL = 4


def add_video(
    report: Report,
    networks: Mapping[str, Painter],
    paths: Sequence[str | Path],
    pictures: Sequence[tuple[str, Frame]] = (),
    *,
    frames: int = 10,
    long_side: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> list[Steadiness]:
    """Measure how steady networks are and add the section, and the figures under `video` in the JSON, to a report.

    Arguments and errors are those of `gather_scenes` and `evaluate_video`.
    """
    scenes = gather_scenes(paths, pictures, frames=frames, long_side=long_side)
    rows = evaluate_video(networks, scenes, progress)
    report.add(*video_blocks(rows, scenes_to_show(scenes), networks))
    report.data = {**report.data, "video": video_data(rows)}
    return rows


def video_blocks(
    rows: Sequence[Steadiness], scenes: Sequence[Scene] = (), networks: Mapping[str, Painter] | None = None
) -> list[Block]:
    """The section of a report on steadiness; with scenes, and networks by name, pictures of their first changes."""
    kinds = kinds_of(rows)
    grids = [example_grid(scene, networks) for scene in scenes] if networks else []
    return [
        Heading("Steady on video"),
        Text(
            "Every frame is stylized alone, the next one is warped back along the optical flow, and what still differs "
            "is the error (Lai et al. 2018; visible pixels as in Ruder et al. 2016). Divided by the variance of the "
            "stylized frames, so that gray pictures gain nothing: 0 is perfectly steady, 2 is as different as two "
            "unrelated pictures."
        ),
        Facts({kind: f"{MEANINGS[kind]}; {_count(rows, kind)}" for kind in kinds}),
        excess_table(rows),
        error_table(rows),
        excess_plot(rows),
        *grids,
    ]


def scenes_to_show(scenes: Sequence[Scene]) -> list[Scene]:
    """The first scene of each kind that pictures say most about: true flow, clip, noise."""
    firsts = {scene.kind: scene for scene in reversed(scenes)}
    return [firsts[kind] for kind in ("true flow", "clip", "noise") if kind in firsts]


def video_data(rows: Sequence[Steadiness]) -> list[dict[str, Any]]:
    """All figures, one mapping for each network and scene, as values that JSON holds."""
    return [{**dataclasses.asdict(row), "relative": row.relative, "excess": row.excess} for row in rows]


def kinds_of(rows: Sequence[Steadiness]) -> list[Kind]:
    """The kinds of scenes that there are figures for, in the order they are shown."""
    return [kind for kind in MEANINGS if any(row.kind == kind for row in rows)]


def excess_table(rows: Sequence[Steadiness]) -> Table:
    """Relative error above the unstylized floor, a column for each kind of scene."""
    columns = [
        Column(title=kind, meaning=f"Excess on {MEANINGS[kind]}. Lower is steadier.", digits=4, better="lower")
        for kind in kinds_of(rows)
    ]
    return Table(
        columns,
        [Row(name, [_mean(rows, name, kind, "excess") for kind in kinds_of(rows)]) for name in _networks(rows)],
        corner="excess over the film's own",
        caption="Warp error over variance, less the same figure of the unstylized frames: what the network adds. Mean "
        f"over scenes, with 95 % interval where there are at least {_LEAST_FOR_INTERVAL}.",
    )


def error_table(rows: Sequence[Steadiness]) -> Table:
    """The error itself, which other work publishes, with the unstylized frames as a row."""
    columns = [
        Column(title=kind, meaning=f"E_warp x 1000 on {MEANINGS[kind]}.", digits=2, better="lower")
        for kind in kinds_of(rows)
    ]
    lines = [Row(name, [_mean(rows, name, kind, "error", 1000) for kind in kinds_of(rows)]) for name in _networks(rows)]
    first = _networks(rows)[:1]
    floor = [_mean(rows, name, kind, "floor_error", 1000) for name in first for kind in kinds_of(rows)]
    return Table(
        columns,
        [*lines, Row(UNPAINTED, floor, baseline=True)],
        corner="E_warp x 1000",
        caption="Mean squared change of a pixel along its way, colors in 0..1, times 1000. Less contrast makes this "
        "smaller; the table above does not reward it.",
    )


def excess_plot(rows: Sequence[Steadiness]) -> Plot:
    """The excess of each scene as a point, networks side by side."""
    kinds, names = kinds_of(rows), _networks(rows)

    def draw(axes: "list[Axes]", theme: Theme) -> None:
        for number, name in enumerate(names):
            offset = (number - (len(names) - 1) / 2) * 0.7 / len(names)
            points = [(kinds.index(row.kind) + offset, row.excess) for row in rows if row.network == name]
            axes[0].plot(
                [x for x, _ in points],
                [y for _, y in points],
                MARKERS[number % len(MARKERS)],
                color=theme.series[number % len(theme.series)],
                alpha=0.85,
                clip_on=False,
                label=name,
            )
        axes[0].set_xticks(range(len(kinds)), kinds)
        axes[0].grid(axis="x", visible=False)
        axes[0].set_ylabel("excess of warp error / variance")
        axes[0].set_ylim(bottom=min(0.0, *(row.excess for row in rows if math.isfinite(row.excess)), 0.0))
        axes[0].legend(fontsize=8)

    return draw_plot("steadiness", draw, caption="One point a scene; 0 is as steady as the film itself.", size=(9, 4.4))


def example_grid(scene: Scene, networks: Mapping[str, Painter]) -> PictureGrid:
    """Two frames and what changed between them, unstylized and painted by each network."""
    painters: dict[str, Painter] = {UNPAINTED: lambda frame: frame, **networks}
    lines = []
    for name, paint in painters.items():
        first, second = paint(scene.frames[0]), paint(scene.frames[1])
        lines.append((name, [_small(first), _small(second), _small(change_picture(scene, first, second))]))
    return PictureGrid(
        ["a frame", "the next one", f"what changed, {_GAIN} times brighter"],
        lines,
        caption=f"{scene.name}: the last column shows the difference after the next frame is brought back along the "
        "flow. Black is steady; flat gray is not compared (covered, or out of the frame).",
    )


def change_picture(scene: Scene, first: Frame, second: Frame) -> Frame:
    """Absolute difference of a scene's first two frames after warping, brightened; uint8 (H, W, 3)."""
    warped, inside = warp(second, scene.flows[0])
    change: Frame = (np.abs(warped - first) * _GAIN).clip(0, 255).astype(np.uint8)
    change[~(inside & scene.visible[0])] = 96
    return change


def _mean(rows: Sequence[Steadiness], network: str, kind: Kind, figure: str, factor: float = 1) -> Cell:
    values = [getattr(row, figure) * factor for row in rows if row.network == network and row.kind == kind]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    interval = mean_interval(finite)
    return interval if len(finite) >= _LEAST_FOR_INTERVAL else dataclasses.replace(interval, margin=math.inf)


def _networks(rows: Sequence[Steadiness]) -> list[str]:
    return list(dict.fromkeys(row.network for row in rows))


def _count(rows: Sequence[Steadiness], kind: Kind) -> str:
    names = list(dict.fromkeys(row.scene for row in rows if row.kind == kind))
    return f"{len(names)} scene{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def _small(frame: Frame) -> Frame:
    return resize_long_side(frame, _EXAMPLE_SIDE)
