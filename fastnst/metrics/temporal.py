"""How steady a network paints: what changes from frame to frame beyond what the film itself changes.

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

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import numpy as np

from fastnst.errors import StyleError
from fastnst.io.images import Frame
from fastnst.metrics.scenes import Flow, Kind, Mask, Scene, moving_scenes, read_clip, read_flow_scenes, still, warp

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
