"""Steadiness on video as blocks of a report: tables, a plot, and pictures of what flickers."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnst.io.images import Frame, resize_long_side
from fastnst.metrics.scenes import Kind, Scene, warp
from fastnst.metrics.temporal import UNPAINTED, Painter, Steadiness, evaluate_video, gather_scenes
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
