"""Scenes: a few frames, and where everything in one frame is in the next; true, estimated, or of a moved picture.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB. A flow is float32 (H, W, 2): what is at column x, row y of
the first frame is at x + flow[y, x, 0], y + flow[y, x, 1] of the second one; NaN where it is unknown. A mask is bool
(H, W). Coordinates are (x, y) = (column, row) of pixel centres. An affine map is float64 (2, 3): (x, y, 1) -> (x, y).
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from fastnst.errors import InputError
from fastnst.io.folders import READ_SUFFIXES
from fastnst.io.images import Frame, read_frame, resize_long_side

Flow: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

# The number that .flo files begin with; its bytes spell PIEH (Baker et al. 2011, Middlebury's flow-code).
_TAG = np.float32(202021.25)
# Middlebury's flow-code: larger components mean that the flow is unknown there.
_LARGEST = 1e9
_SMALLEST_SIDE = 16


def read_flow(path: str | Path) -> Flow:
    """Read a Middlebury .flo file; NaN where it says that the flow is unknown.

    Raises InputError: the file is missing, cut short or no .flo file.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a .flo file") from error
    if content[:4] != _TAG.tobytes() or len(content) < 12:
        raise InputError(f"{path}: not an optical flow in Middlebury's .flo form")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", count=2, offset=4))
    if width < 1 or height < 1 or len(content) != 12 + 8 * width * height:
        raise InputError(f"{path}: says {width}x{height} but has {len(content)} bytes; it is damaged or cut short")
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[(~(np.abs(flow) < _LARGEST)).any(axis=2)] = np.nan
    return flow


def still(height: int, width: int) -> Flow:
    """The flow of a scene in which nothing moves."""
    return np.zeros((height, width, 2), np.float32)


def warp(second: Pixels, flow: Flow) -> tuple[npt.NDArray[np.float32], Mask]:
    """Bring the second frame, (H, W, C), back onto the first: sample it, bilinearly, where the flow, (H, W, 2), leads.

    Returns float32 (H, W, C), and the mask of pixels that are known and do not leave the frame; elsewhere the values
    mean nothing.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    inside: Mask = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # no comparison holds for NaN
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = ((x - left)[..., None]).astype(np.float32), ((y - top)[..., None]).astype(np.float32)
    upper = second[top, left] * (1 - across) + second[top, right] * across
    lower = second[bottom, left] * (1 - across) + second[bottom, right] * across
    return (upper * (1 - down) + lower * down).astype(np.float32), inside


def find_visible(forward: Flow, backward: Flow) -> Mask:
    """Pixels of the first frame that are seen in the second too, and whose flow, (H, W, 2), is to be trusted.

    Left out are pixels that leave the frame, pixels that the flow back does not bring home (they are covered), and
    motion boundaries: section 4.2, equations 5 and 6 of Ruder et al. (2016), after Sundaram et al. (2010).
    """
    back, inside = warp(backward, forward)
    with np.errstate(invalid="ignore"):
        there, here = np.square(forward).sum(axis=2), np.square(back).sum(axis=2)
        returns = np.square(forward + back).sum(axis=2) <= 0.01 * (there + here) + 0.5
        slopes = sum(np.square(slope).sum(axis=2) for slope in np.gradient(forward, axis=(0, 1)))
        smooth = slopes <= 0.01 * there + 0.002
    visible: Mask = inside & returns & smooth
    return visible


def estimate_flow(first: Frame, second: Frame) -> Flow:
    """Estimate the flow between two frames, uint8 (H, W, 3), by dense inverse search (Kroeger et al. 2016; OpenCV).

    Its medium setting, but refined down to single pixels.

    Raises InputError: frames of different sizes, or too small to search in.
    """
    if first.shape != second.shape or min(first.shape[:2]) < _SMALLEST_SIDE:
        raise InputError(
            f"frames of {_size(first)} and {_size(second)}; an optical flow takes two of one size, "
            f"at least {_SMALLEST_SIDE} px a side"
        )
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    flow: Flow = search.calc(*grey, None)  # OpenCV's type hints do not know that None means no first guess
    return flow


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"


Affine: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """What the picture does from one frame to the next, all about the frame's middle."""

    name: str
    shift: tuple[float, float] = (0.0, 0.0)
    """Pixels to the right and down."""

    zoom: float = 1.0
    """Factor; above 1 the picture grows."""

    degrees: float = 0.0
    """Angle that it turns by, clockwise."""

    def to_source(self, step: int, size: tuple[int, int], source_size: tuple[int, int]) -> Affine:
        """Affine map from the pixels of frame `step` (0 the first) to the source picture's pixels.

        Sizes are (height, width) of the frames and of the picture.
        """
        middle, source_middle = _middle(size), _middle(source_size)
        angle = np.deg2rad(self.degrees * step)
        # The picture turns by +angle, so its source is found by turning back. Rows point down: this is clockwise.
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / self.zoom**step
        offset = source_middle - turn @ (middle + np.array(self.shift) * step)
        return np.column_stack([turn, offset])


def _middle(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Centre of a picture, on a whole pixel so that whole shifts stay whole."""
    return np.array([size[1] // 2, size[0] // 2], np.float64)


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

    Raises InputError: no .flo file, a file that cannot be read, or frames that are missing or of another size.
    """
    files = sorted(Path(folder).rglob("*.flo"))
    if not files:
        raise InputError(f"{folder}: no .flo file in this folder; expected image pairs with their true flow")
    return [_read_flow_scene(file) for file in files]


def read_clip(path: str | Path, *, frames: int, long_side: int) -> Scene:
    """Read the first frames of a film, or of a folder in the order of the numbers, and estimate their flow.

    Frames are reduced to `long_side` pixels; smaller ones stay as they are. Raises InputError where it cannot be read,
    has fewer than two frames, or frames of different sizes.
    """
    path = Path(path)
    source = _folder_frames(path) if path.is_dir() else _film_frames(path)
    taken = [_reduced(frame, long_side) for frame in islice(source, frames)]
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
    size = frame.shape[:2]
    return resize_long_side(frame, long_side) if max(size) > long_side else frame


WINDOW = 0.8
"""Sides of the frames as parts of the picture's sides: the rest is there to move into view."""

NOISE_LEVELS = 2.0
"""Standard deviation of the sensor noise, levels of 255: about that of a camera in daylight."""


MOTIONS = (
    # Not a multiple of 4, on whose grid networks with two strided convolutions repeat themselves exactly; and whole
    # pixels, so that the unstylized floor is 0.
    Motion("translation", shift=(3.0, 1.0)),
    Motion("zoom", zoom=1.01),
    Motion("rotation", degrees=0.5),
)
"""The motions that `moving_scenes` uses."""


def moving_scene(name: str, picture: Frame, motion: Motion, *, frames: int, long_side: int) -> Scene:
    """Let a picture, uint8 (H, W, 3), move behind a window of so many pixels; what is seen, with the exact flow.

    Raises InputError where the motion from frame to frame leads out of the picture.
    """
    source = resize_long_side(picture, round(long_side / WINDOW))
    source_size = source.shape[:2]
    size = round(source_size[0] * WINDOW), round(source_size[1] * WINDOW)
    maps = [motion.to_source(step, size, source_size) for step in range(frames)]
    if not all(_stays_inside(affine, size, source_size) for affine in maps):
        raise InputError(f"{name}: {frames} frames of {motion.name} leave the picture; take fewer, or larger frames")
    flows = [_flow(before, after, size) for before, after in pairwise(maps)]
    return exact_scene(f"{name} {motion.name}", "synthetic motion", [_render(source, a, size) for a in maps], flows)


def noisy_scene(name: str, picture: Frame, *, frames: int, long_side: int, seed: int = 0) -> Scene:
    """The same picture, uint8 (H, W, 3), in each frame, with independent Gaussian noise as of a camera's sensor."""
    clean = resize_long_side(picture, long_side)
    rng = np.random.default_rng(seed)
    noise = (rng.normal(0, NOISE_LEVELS, clean.shape) for _ in range(frames))
    noisy = [np.rint(clean + added).clip(0, 255).astype(np.uint8) for added in noise]
    return exact_scene(name, "noise", noisy, [still(*clean.shape[:2])] * (frames - 1))


def moving_scenes(pictures: Sequence[tuple[str, Frame]], *, frames: int, long_side: int) -> list[Scene]:
    """Each named picture in each motion, and standing still with sensor noise."""
    scenes = []
    for name, picture in pictures:
        scenes += [moving_scene(name, picture, motion, frames=frames, long_side=long_side) for motion in MOTIONS]
        scenes.append(noisy_scene(name, picture, frames=frames, long_side=long_side))
    return scenes


def _flow(before: Affine, after: Affine, size: tuple[int, int]) -> Flow:
    """Where each pixel's place in the source is one frame later, minus where it is now: (H, W, 2)."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    source_x, source_y = _apply(before, columns, rows)
    back = np.linalg.inv(np.vstack([after, [0, 0, 1]]))[:2]
    x, y = _apply(back, source_x, source_y)
    return np.stack([x - columns, y - rows], axis=2).astype(np.float32)


def _apply(
    affine: Affine, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    (a, b, c), (d, e, f) = affine
    return a * x + b * y + c, d * x + e * y + f


def _render(source: Frame, affine: Affine, size: tuple[int, int]) -> Frame:
    (a, b, c), (d, e, f) = affine
    # Pillow counts from the pixels' corners: half a pixel is taken off before and added after.
    shifted = (a, b, c + 0.5 - 0.5 * (a + b), d, e, f + 0.5 - 0.5 * (d + e))
    seen = Image.fromarray(source).transform(
        (size[1], size[0]), Image.Transform.AFFINE, shifted, Image.Resampling.BICUBIC
    )
    return np.array(seen)


def _stays_inside(affine: Affine, size: tuple[int, int], source_size: tuple[int, int]) -> bool:
    corners_x = np.array([0, size[1] - 1, 0, size[1] - 1], np.float64)
    corners_y = np.array([0, 0, size[0] - 1, size[0] - 1], np.float64)
    x, y = _apply(affine, corners_x, corners_y)
    # Two pixels of room for the bicubic filter.
    return bool(min(x.min(), y.min()) >= 1 and x.max() <= source_size[1] - 3 and y.max() <= source_size[0] - 3)
