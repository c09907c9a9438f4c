"""Whether memory suffices for a picture in one piece; and pieces that overlap, for networks that take one size alone.

Each piece is painted by itself, and a network that normalizes over the picture sees another one each time: colors and
strokes of neighbors do not quite match. Where pieces overlap, one fades into the other.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastnst.backends.contract import Precision, Provider
from fastnst.io.images import Frame
from fastnst.machine import available_memory

PROCESS_BYTES = 300 * 2**20
"""Interpreter, libraries, weights and their copies in what computes."""

FRAMES = 3
"""Copies of a picture while it is stylized: given, prepared, stylized."""

ONE_PIECE_BYTES = 4 * 2**30
"""Resident memory that pictures are stylized in one piece within, where nobody asks for more."""

USABLE = 0.7
"""Share of the free memory that is counted on."""

# Memory that each number of the graph's fullest moment takes, in numbers of the precision. ONNX Runtime's arena grows
# by powers of two: measured 1.8 to 2.8. OpenVINO plans it beforehand: 1.12 to 1.18.
_HELD: dict[Provider, float] = {"cpu": 2.8, "openvino": 1.25}


def one_piece_bytes(numbers: float, pixels: int, provider: Provider = "cpu", precision: Precision = "float32") -> int:
    """Estimate from above the resident memory that painting in one piece takes; on accelerators, their memory's too.

    `numbers` are those per pixel that the graph holds at its fullest moment.
    """
    each = _HELD.get(provider, _HELD["cpu"]) * (4 if precision == "float32" else 2)
    return PROCESS_BYTES + round(pixels * (numbers * each + FRAMES * 3))


def reachable_memory() -> int:
    """Bytes of resident memory that this process may reach: what it takes itself is taken already."""
    return PROCESS_BYTES + int(available_memory() * USABLE)


def one_piece_limit() -> int:
    """Bytes of resident memory up to which a picture is painted in one piece."""
    return min(ONE_PIECE_BYTES, reachable_memory())


def one_piece_excess(needed: int, long_side: int) -> str | None:
    """Say what is wrong where there is less memory than `one_piece_bytes`; None where there is enough.

    The words name a long side, pixels, that fits.
    """
    free = available_memory()
    work = needed - PROCESS_BYTES
    if work <= free:
        return None
    fitting = int(long_side * (free * USABLE / work) ** 0.5)
    return (
        f"takes about {work / 1e9:.2f} GB of memory in one piece, and {free / 1e9:.2f} GB are free; "
        f"reduce it to {fitting} pixels (--size {fitting})"
    )


_OVERLAP = 0.25
"""Share of a piece's side that lies over the next one, about."""

_GRID = 8
"""Pieces begin at multiples of it: networks halve pictures up to three times, each by the same pixels."""


def paint_in_pieces(paint: Callable[[Frame], Frame], frame: Frame, size: tuple[int, int]) -> Frame:
    """Paint a picture of any size by a network for frames of one size, (height, width), into a frame of its own size.

    Where it is smaller than a piece, its borders are mirrored.
    """
    height, width = frame.shape[:2]
    missing = [
        side - own if own <= side else -(own - side) % _GRID for side, own in zip(size, (height, width), strict=True)
    ]
    padded = np.pad(frame, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    places = [(top, left) for top in _starts(padded.shape[0], size[0]) for left in _starts(padded.shape[1], size[1])]
    if len(places) == 1:
        return np.ascontiguousarray(paint(padded)[:height, :width])
    fade = (_fade(size[0])[:, None] * _fade(size[1]))[..., None]
    levels, weights = np.zeros(padded.shape, np.float32), np.zeros((*padded.shape[:2], 1), np.float32)
    for top, left in places:
        piece = slice(top, top + size[0]), slice(left, left + size[1])
        levels[piece] += fade * paint(np.ascontiguousarray(padded[piece]))
        weights[piece] += fade
    painted = np.rint(levels / weights).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(painted[:height, :width])


def _starts(length: int, piece: int) -> list[int]:
    """Where pieces begin so that they cover a length and overlap alike."""
    step = max(1, round(piece * (1 - _OVERLAP)))
    count = 1 + -(-(length - piece) // step)
    return [round(place / _GRID) * _GRID for place in np.linspace(0, length - piece, count)]


def _fade(side: int) -> npt.NDArray[np.float32]:
    """Weights over a piece's side: 1 in the middle, falling to next to nothing at the ends."""
    rising = (np.arange(side) + 1) / max(1, round(side * _OVERLAP))
    return np.minimum(1, np.minimum(rising, rising[::-1])).astype(np.float32)
