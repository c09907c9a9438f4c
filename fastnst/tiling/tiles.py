"""Pictures larger than memory: painted tile by tile, with the normalisation statistics of the whole picture.

    stylized = TiledStylizer("starry.onnx")(frame)

No seam and no change of style shows, because nothing is estimated: every normalisation is measured over the whole
picture before what comes after it is computed (planning.py), and every tile sees enough of its surroundings
(geometry.py). What it costs in memory, disk and time: docs/files.md.
"""

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from onnx import ModelProto

from fastnst.backends.contract import Array, as_batch, extra_feeds
from fastnst.errors import InputError, OutputError, SettingError
from fastnst.io.blending import blend
from fastnst.io.images import Frame
from fastnst.io.styles import StyleWeights
from fastnst.tiling.painting import Painting, Surface, TileGrid
from fastnst.tiling.pieces import FRAMES, PROCESS_BYTES, reachable_memory
from fastnst.tiling.planning import MAP_BYTES, TilingPlan, make_plan
from fastnst.tiling.surgery import fullest
from fastnst.tiling.tileable import Part, Tileable, TileProvider, count_threads, evaluate_fixed

DEFAULT_TILE = 256
"""Pixels a side: what a tile holds stays in a processor's caches; larger ones are slower."""

DEFAULT_MEMORY = 3 * 2**30
"""Bytes of resident memory that the process may reach, where the machine has as many left."""

SMALLEST_TILE = 64
"""Pixels a side; halos would be most of the work in smaller ones."""

OnProgress = Callable[[float], None]

_FLOAT_BYTES = 4
_HALO_SHARE = 1.2  # a tile with its halo is usually that much wider
_SLACK_BANDS = 2
_TILES_SHARE = 0.3  # of the memory, at most, for computing tiles
_USABLE_DISK = 0.9


class TiledStylizer:
    """One style's network, painting tile by tile: `TiledStylizer("starry.onnx")(frame)`."""

    def __init__(
        self,
        path: str | Path,
        *,
        tile: int = DEFAULT_TILE,
        max_memory: int | None = None,
        folder: str | Path | None = None,
        provider: TileProvider = "cpu",
        threads: int | None = None,
    ) -> None:
        """Read an exported ONNX file; the picture does not depend on `tile`, the largest side of one in pixels.

        `max_memory` are bytes of resident memory to stay below; what finds no room goes to disk, into a folder, by
        default the system's for such files, or is computed again. None: 3 GB, or less where less is left. Threads on
        the CPU: None is all processors. Raises StyleError for no network of fastnst, or one that cannot be painted in
        tiles; SettingError for a tile or a memory too small; OutputError where the folder is not there.
        """
        if tile < SMALLEST_TILE:
            raise SettingError(f"tile {tile}; expected at least {SMALLEST_TILE} pixels")
        self._network = Tileable.load(Path(path))
        self._max_memory = min(DEFAULT_MEMORY, reachable_memory()) if max_memory is None else max_memory
        self._provider: TileProvider = provider
        self._folder = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        if not self._folder.is_dir():
            raise OutputError(f"{self._folder}: no such folder; expected one for temporary files")
        self._threads = count_threads(threads)
        self._tile, self._workers = self._fit(tile)

    def __call__(
        self,
        frame: Frame,
        *,
        style_weights: StyleWeights | None = None,
        strength: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Frame:
        """Paint one picture, uint8 (H, W, 3) RGB, which is not changed, into another of its shape.

        Style weights are as for a `Stylizer`; strength 0 leaves the photo, 1 is the full style; up to 1.5 where the
        network has this input; None: 1. `on_progress` is called with the share that is done, rising to 1.

        Raises InputError for another type or shape; SettingError for a value that the network does not take, or too
        little memory; OutputError where temporary files cannot be written.
        """
        single = self._single(frame)
        stylized = np.empty_like(single)
        extra = extra_feeds(self._network.contract, style_weights, strength)
        self._run(single, stylized, extra, on_progress)
        if strength is None or self._network.contract.strength:
            return stylized
        return blend(stylized, single, strength)

    @cached_property
    def _numbers(self) -> float:
        """Numbers per pixel of the picture that the whole network holds at its fullest moment."""
        return fullest(self._network.density, self._network.graph.nodes, ["stylized"])

    def plan(self, height: int, width: int) -> TilingPlan:
        """How a prepared picture of that size is painted: passes, and what keeping maps between them takes."""
        free = shutil.disk_usage(self._folder).free * _USABLE_DISK
        return make_plan(self._network, height * width, self._room(height, width), free)

    def _run(
        self,
        frame: Frame,
        stylized: Frame,
        extra: dict[str, Array],
        on_progress: OnProgress | None,
    ) -> None:
        """Fill `stylized`, (H, W, 3), pass by pass."""
        network = self._network
        prepared = network.prepare(frame)
        height, width = prepared.shape[:2]
        plan = self.plan(height, width)
        grid = TileGrid.over((height, width), network.cell, self._tile, self._workers)
        fixed = evaluate_fixed(network.graph, extra) if extra else network.around.fixed
        report = _Report(on_progress, sum(each.work for each in plan.passes))
        with ThreadPoolExecutor(self._workers) as pool:
            surface = Surface(self._open_part, pool, self._folder)
            with closing(Painting(network, plan, prepared, grid, surface=surface, fixed=fixed)) as painting:
                for number, each in enumerate(plan.passes):
                    painting.run_pass(number, stylized if not each.norms else None, partial(report, each.work))

    def _open_part(self, model: ModelProto) -> Part:
        return Part(model, self._provider, max(1, self._threads // self._workers))

    def _fit(self, tile: int) -> tuple[int, int]:
        """Tile and number of tiles at once, smaller than wished where memory is short."""
        budget = (self._max_memory - PROCESS_BYTES) * _TILES_SHARE
        if self._working(SMALLEST_TILE) > budget:
            raise SettingError(f"{self._max_memory} bytes of memory; this network needs more than that for one tile")
        while self._working(tile) > budget:
            tile //= 2
        workers = self._threads if self._provider == "cpu" else 1
        return max(tile, SMALLEST_TILE), max(1, min(workers, int(budget / self._working(tile))))

    def _room(self, height: int, width: int) -> float:
        """Bytes for maps: what the process, frames and tiles leave."""
        most = max((self._network.density[norm.source] for norm in self._network.graph.norms), default=0.0)
        # While a band comes, the bands around it that it is made from are still there.
        slack = _SLACK_BANDS * self._tile * width * most * MAP_BYTES
        taken = PROCESS_BYTES + height * width * 3 * FRAMES + self._workers * self._working(self._tile) + slack
        return self._max_memory - taken

    def _working(self, tile: int) -> float:
        """Bytes that one tile takes while it is computed."""
        return self._numbers * _FLOAT_BYTES * (_HALO_SHARE * tile) ** 2

    def _single(self, frame: Frame) -> Frame:
        batch = as_batch(frame)
        if frame.ndim != 3:
            raise InputError(f"{len(batch)} pictures at once; in tiles expected one, uint8 (H, W, 3)")
        single: Frame = batch[0]
        return single


class _Report:
    """Adds up the shares of passes."""

    def __init__(self, on_progress: OnProgress | None, total: float) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0.0

    def __call__(self, work: float, share: float) -> None:
        self._done += work * share
        if self._on_progress is not None:
            self._on_progress(min(self._done / self._total, 1.0))
