"""Scenes: a few frames, and where everything in one frame is in the next; true, or estimated.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB, flows float32 (H, W, 2), masks bool (H, W): see
`fastnst.metrics.flow`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np

from fastnst.errors import InputError
from fastnst.io.folders import READ_SUFFIXES
from fastnst.io.images import Frame, fit_long_side, read_frame, resize_frame
from fastnst.metrics.flow import Flow, Mask, estimate_flow, find_visible, read_flow, warp

Kind: TypeAlias = Literal["true flow", "synthetic motion", "clip", "static camera", "noise"]


@dataclass(frozen=True)
class Scene:
    """Frames of one size, and the way from each to the next."""

    name: str
    kind: Kind
    frames: Sequence[Frame]
    """At least two, uint8 (H, W, 3)."""

    flows: Sequence[Flow]
    """From each frame but the last to the next one, float32 (H, W, 2)."""

    visible: Sequence[Mask]
    """For each flow the pixels that the next frame shows too, bool (H, W)."""


def read_flow_scenes(folder: str | Path) -> list[Scene]:
    """Read the image pairs with true flow below a folder, by the names that FlyingChairs and Middlebury use.

    NAME-gt.flo or NAME_flow.flo with NAME-img0 and NAME-img1 (or 1 and 2), flow10.flo with frame10 and frame11. No
    true way back comes with them: what is covered is found with an estimated one.

    Raises:
        InputError: no .flo file, a file that cannot be read, or frames that are missing or of another size.
    """
    files = sorted(Path(folder).rglob("*.flo"))
    if not files:
        raise InputError(f"{folder}: no .flo file in this folder; expected image pairs with their true flow")
    return [_read_flow_scene(file) for file in files]


def read_clip(path: str | Path, *, frames: int, long_side: int, every: int = 1) -> Scene:
    """Read the beginning of a film, or of a folder of frames, and estimate its flow (`estimate_flow`).

    Args:
        path: a film that OpenCV reads, or a folder of pictures in the order of the numbers in their names.
        frames: most frames to take.
        long_side: frames are reduced to this many pixels; smaller ones stay as they are.
        every: take every second, third ... frame.

    Raises:
        InputError: it cannot be read, has fewer than two frames, or frames of different sizes.
    """
    path = Path(path)
    source = _folder_frames(path) if path.is_dir() else _film_frames(path)
    taken: list[Frame] = []
    for number, frame in enumerate(source):
        if number % every == 0:
            taken.append(_reduced(frame, long_side))
        if len(taken) == frames:
            break
    if len(taken) < 2:
        raise InputError(f"{path}: {len(taken)} frame(s) can be read; a clip takes at least 2")
    if len({frame.shape for frame in taken}) > 1:
        raise InputError(f"{path}: has frames of different sizes; expected the frames of one clip")
    return estimated_scene(path.stem, taken)


def estimated_scene(name: str, frames: Sequence[Frame]) -> Scene:
    """A scene of frames, uint8 (H, W, 3), whose flow is estimated forth and back."""
    flows, visible = [], []
    for first, second in pairwise(frames):
        forward, backward = estimate_flow(first, second), estimate_flow(second, first)
        flows.append(forward)
        visible.append(find_visible(forward, backward))
    return Scene(name, "clip", frames, flows, visible)


def exact_scene(name: str, kind: Kind, frames: Sequence[Frame], flows: Sequence[Flow]) -> Scene:
    """A scene whose flow is known exactly and covers nothing: every pixel is visible that stays in the frame."""
    return Scene(name, kind, frames, flows, [warp(flow, flow)[1] for flow in flows])


def _read_flow_scene(file: Path) -> Scene:
    first, second = (read_frame(path) for path in _frames_of(file))
    flow = read_flow(file)
    if first.shape != second.shape or first.shape[:2] != flow.shape[:2]:
        raise InputError(f"{file}: its size is not that of both its frames")
    return Scene(
        _name_of(file), "true flow", (first, second), (flow,), (find_visible(flow, estimate_flow(second, first)),)
    )


def _frames_of(file: Path) -> tuple[Path, Path]:
    """The two picture files that a .flo file belongs to."""
    candidates = []
    if chairs := re.fullmatch(r"(.*)([-_])(?:gt|flow)", file.stem):
        name, sign = chairs.groups()
        candidates = [(f"{name}{sign}img{number}", f"{name}{sign}img{number + 1}") for number in (0, 1)]
    elif middlebury := re.fullmatch(r"flow(\d+)", file.stem):
        digits = middlebury[1]
        candidates = [(f"frame{digits}", f"frame{int(digits) + 1:0{len(digits)}d}")]
    for pair in candidates:
        found = [path for stem in pair for path in sorted(file.parent.glob(f"{stem}.*")) if _is_picture(path)]
        if len(found) == 2:
            return found[0], found[1]
    raise InputError(f"{file}: its frames are not beside it; expected NAME-img0, NAME-img1 for NAME-gt.flo or the like")


def _name_of(file: Path) -> str:
    """FlyingChairs numbers its pairs; Middlebury's folders have names and the files within are all called alike."""
    folder = file.parent.name
    return folder if file.stem.startswith("flow") else f"{folder} {re.sub('[-_](gt|flow)$', '', file.stem)}"


def _folder_frames(folder: Path) -> Iterator[Frame]:
    files = [path for path in folder.iterdir() if _is_picture(path)]
    yield from (read_frame(path) for path in sorted(files, key=_by_number))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")


def _by_number(path: Path) -> tuple[list[int], str]:
    """9.png goes before 10.png."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


def _film_frames(path: Path) -> Iterator[Frame]:
    if not path.is_file():
        raise InputError(f"{path}: no such film or folder")
    # FFmpeg inside OpenCV writes to stderr itself, past every Python hook; -8 keeps it quiet.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    film = cv2.VideoCapture(str(path))
    try:
        while True:
            read, frame = film.read()
            if not read:
                return
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        film.release()


def _reduced(frame: Frame, long_side: int) -> Frame:
    size = frame.shape[0], frame.shape[1]
    return resize_frame(frame, fit_long_side(size, long_side)) if max(size) > long_side else frame
