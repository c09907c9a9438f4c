"""When a picture is painted in one piece, and when in tiles.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fastnst.backends.backend import ProviderChoice
from fastnst.backends.choosing import Choice
from fastnst.backends.mixing import StyleWeights
from fastnst.errors import SettingError, StyleError
from fastnst.io.images import Frame
from fastnst.tiling.memory import one_piece_bytes, one_piece_limit

if TYPE_CHECKING:
    from fastnst.tiling.parts import TileProvider
    from fastnst.tiling.tiles import TiledStylizer

TileChoice: TypeAlias = int | Literal["auto", "off"]

# Pixels; no picture so small needs tiles, and reading a graph takes a third of a second.
_SMALL = 1_000_000


class TilePolicy:
    """Decides for one network, and runs it in tiles."""

    def __init__(
        self, path: Path, choice: Choice, *, asked: ProviderChoice, tile: TileChoice, threads: int | None
    ) -> None:
        """Prepare.

        Args:
            path: the network file.
            choice: what runs it in one piece; cpu and cuda paint tiles, and where auto has chosen another, cpu does.
            asked: what the user asked for.
            tile: auto takes tiles for pictures that might need more than 4 GB, or more than there is, in one piece;
                off never does; a number always does, with tiles of at most so many pixels a side.
            threads: on the CPU; None: all processors.

        Raises:
            StyleError: with a number, a network that knows no tiles.
            SettingError: with a number, a provider without tiles, or a tile too small.
        """
        self.pictures = 0
        """How many were painted in tiles."""

        self.on_progress: Callable[[float], None] | None = None
        """Called with the share that is done of a picture in tiles, rising to 1."""

        self._path, self._choice, self._asked = path, choice, asked
        self._tile, self._threads = tile, threads
        self._tiler: TiledStylizer | None = None
        self._untileable = False
        if isinstance(tile, int):
            self._open()

    @property
    def provider(self) -> "TileProvider":
        """What paints tiles."""
        return "cuda" if self._choice.provider in {"cuda", "tensorrt"} else "cpu"

    def needed(self, frames: Frame) -> bool:
        """Whether these frames are painted in tiles from the start."""
        if self._tile != "auto":
            return self._tile != "off"
        # On accelerators it is their own memory that counts: a try shows.
        if not self.is_large(frames) or self._choice.provider not in {"cpu", "openvino"} or not self.possible(frames):
            return False
        pixels, limit = frames.shape[0] * frames.shape[1], one_piece_limit()
        return one_piece_bytes(self._open().numbers, pixels, self._choice.provider, self._choice.precision) > limit

    def possible(self, frames: Frame) -> bool:
        """Whether `auto` may fall back on tiles: not for a batch, nor where network or provider have none."""
        if self._tile != "auto" or frames.ndim != 3 or self._untileable:
            return False
        try:
            self._open()
        except (StyleError, SettingError):
            self._untileable = True
        return not self._untileable

    @staticmethod
    def is_large(frames: Frame) -> bool:
        """Whether these frames hold memory that is worth giving back."""
        return frames.size > 3 * _SMALL

    def run(self, frame: Frame, style_weights: StyleWeights | None, strength: float | None) -> Frame:
        """Paint one picture in tiles; arguments and errors as for a `TiledStylizer`."""
        tiler = self._open()
        painted = tiler(frame, style_weights=style_weights, strength=strength, on_progress=self.on_progress)
        self.pictures += 1
        return painted

    def close(self) -> None:
        """Give memory back."""
        self._tiler = None

    def _open(self) -> "TiledStylizer":
        from fastnst.tiling.tiles import DEFAULT_TILE, TiledStylizer  # noqa: PLC0415 - imports onnx

        if self._tiler is None:
            if self._choice.provider != self.provider and self._asked not in {"auto", "tensorrt"}:
                raise SettingError(
                    f"--tile {self._tile}: provider {self._asked} paints no tiles; cpu, cuda and auto do"
                )
            tile = self._tile if isinstance(self._tile, int) else DEFAULT_TILE
            self._tiler = TiledStylizer(self._path, tile=tile, provider=self.provider, threads=self._threads)
        return self._tiler
