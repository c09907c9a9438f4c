"""A style for pictures of any size: painted in one piece where memory suffices, in tiles otherwise.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np

from fastnst.backends.backend import ProviderChoice
from fastnst.backends.feeds import as_batch
from fastnst.backends.mixing import StyleWeights
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.session import Stylizer
from fastnst.io.images import Frame
from fastnst.tiling.memory import one_piece_bytes, one_piece_limit

if TYPE_CHECKING:
    from fastnst.tiling.parts import TileProvider
    from fastnst.tiling.tiles import TiledStylizer

TileChoice: TypeAlias = int | Literal["auto", "off"]

# Pixels; no picture so small needs tiles, and reading a graph takes a third of a second.
_SMALL = 1_000_000


class FittingStylizer:
    """One style's network, for pictures of any size.

    with FittingStylizer("starry") as stylizer:
        painted = stylizer(frame)
    """

    def __init__(
        self,
        style: str | Path,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "auto",
        like: Stylizer | None = None,
    ) -> None:
        """Load a style.

        Args:
            style: name of an installed style, or path of an ONNX file.
            provider: what computes; cpu and cuda paint tiles, and where auto has chosen another, cpu does.
            threads: on the CPU; None: one for each physical core that may be used.
            tile: auto takes tiles for pictures that might need more than 4 GB, or more than there is, in one piece;
                off never does; a number always does, with tiles of at most so many pixels a side.
            like: another style at work beside this one: where it runs, `auto` need not be tried again.

        Raises:
            StyleError: no such style, or a file that is no network of ours; with a number, one that knows no tiles.
            SettingError: a provider that cannot run here; with a number, one without tiles, or a tile too small.
        """
        self.in_tiles = 0
        """Pictures that were painted in tiles."""

        self.on_progress: Callable[[float], None] | None = None
        """Called with the share that is done of a picture in tiles, rising to 1."""

        self._asked, self._threads, self._tile = provider, threads, tile
        self._tiler: TiledStylizer | None = None
        self._untileable = False
        self._holds_memory = False
        self.stylizer = _open(style, provider, threads, like)
        """The network in one piece."""

        if isinstance(tile, int):
            self._open_tiler()

    def __call__(
        self, frame: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        """Paint one picture; arguments and errors as for a `Stylizer`."""
        as_batch(frame)
        pixels = frame.shape[0] * frame.shape[1]
        if not self._needs_tiles(pixels):
            try:
                return self.stylizer(frame, style_weights=style_weights, strength=strength)
            except InputError:  # no memory after all, or none on the device
                if self._tile != "auto" or self._tiler_if_any() is None:
                    raise
            finally:
                self._holds_memory |= pixels > _SMALL
        return self._paint_tiles(frame, style_weights, strength)

    @property
    def tile_provider(self) -> "TileProvider":
        """What paints tiles."""
        return "cuda" if self.stylizer.provider in {"cuda", "tensorrt"} else "cpu"

    def close(self) -> None:
        """Give the network's memory back; calls then fail."""
        self.stylizer.close()
        self._tiler = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _needs_tiles(self, pixels: int) -> bool:
        if self._tile != "auto":
            return self._tile != "off"
        choice = self.stylizer.choice
        # On accelerators it is their own memory that counts: a try shows.
        if pixels <= _SMALL or choice.provider not in {"cpu", "openvino"}:
            return False
        tiler = self._tiler_if_any()
        limit = one_piece_limit()
        return tiler is not None and one_piece_bytes(tiler.numbers, pixels, choice.provider, choice.precision) > limit

    def _paint_tiles(self, frame: Frame, style_weights: StyleWeights | None, strength: float | None) -> Frame:
        if self._holds_memory:
            # After a picture so much smaller, what large ones took is given back.
            self.stylizer(np.zeros((16, 16, 3), np.uint8))
            self._holds_memory = False
        tiler = self._open_tiler()
        painted = tiler(frame, style_weights=style_weights, strength=strength, on_progress=self.on_progress)
        self.in_tiles += 1
        return painted

    def _tiler_if_any(self) -> "TiledStylizer | None":
        """What paints tiles; None where the network or the provider has no tiles."""
        if not self._untileable:
            try:
                return self._open_tiler()
            except (StyleError, SettingError):
                self._untileable = True
        return None

    def _open_tiler(self) -> "TiledStylizer":
        from fastnst.tiling.tiles import DEFAULT_TILE, TiledStylizer  # noqa: PLC0415 - imports onnx

        if self._tiler is None:
            if self.stylizer.provider != self.tile_provider and self._asked not in {"auto", "tensorrt"}:
                raise SettingError(
                    f"--tile {self._tile}: provider {self._asked} paints no tiles; cpu, cuda and auto do"
                )
            tile = self._tile if isinstance(self._tile, int) else DEFAULT_TILE
            self._tiler = TiledStylizer(
                self.stylizer.path, tile=tile, provider=self.tile_provider, threads=self._threads
            )
        return self._tiler


def _open(style: str | Path, provider: ProviderChoice, threads: int | None, like: Stylizer | None) -> Stylizer:
    if like is not None and provider == "auto":
        try:
            return Stylizer(style, provider=like.provider, threads=threads)
        except SettingError:  # what runs one network may not run another
            pass
    return Stylizer(style, provider=provider, threads=threads)
