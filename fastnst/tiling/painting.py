"""One picture on its way through the passes of a plan, tile by tile.

Places are in pixels of the prepared picture; tiles and halos are whole cells (see geometry.py).

The graph of one pass takes windows of the maps that the pass reads (`kept:NAME`, float16, or `frame`) and the place of
the tile in the window (`begin`, `end`, in cells). It gives, over the pixels of the tile only, what the pass measures
(`sum:NAME`, `squares:NAME`, (C,)) and keeps (`kept:NAME`), or `stylized` over the whole window.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from fastnst.backends.contract import Array, from_layout, to_layout
from fastnst.io.images import Frame
from fastnst.tiling.featuremaps import FeatureMap, Moments, Numbers
from fastnst.tiling.planning import Pass, TilingPlan
from fastnst.tiling.surgery import build, float_value, normalized_by
from fastnst.tiling.tileable import Part, Tileable

# Largest float16. What a network makes of pictures is far from it.
_LARGEST = 65504.0


def pass_graph(
    network: Tileable,
    each: Pass,
    measured: Mapping[str, tuple[Numbers, Numbers]],
    shifts: Mapping[str, Numbers],
    fixed: Mapping[str, Array],
) -> ModelProto:
    """Build the graph of a pass.

    `measured` are mean and variance, (C,), of the sources of all normalisations in the pass; `shifts` the numbers that
    were taken off the maps it reads, (C,); those it measures have the input `shift:NAME`. `fixed` are values that do
    not depend on the frame.
    """
    make = _Maker(network, dict(fixed))
    measures = {norm.source for norm in each.norms}
    for name in each.reads:
        if name != "frame":
            make.load(name, shifts.get(name))
    for node in each.nodes:
        make.node(node, measured)
    for name in sorted(measures | set(each.writes)):
        make.results(name, measure=name in measures, keep=name in each.writes)
    inputs = list(make.inputs)
    if "frame" in each.reads:
        inputs += [value for value in network.graph.model.graph.input if value.name == "frame"]
    if each.norms:
        inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in ("begin", "end")]
    outputs = make.outputs or [ValueInfoProto(name="stylized")]
    return build(make.nodes, inputs, outputs, make.constants, network.graph.opset)


class _Maker:
    """Collects the nodes, inputs, outputs and constants of a graph."""

    def __init__(self, network: Tileable, constants: dict[str, Array]) -> None:
        self._network = network
        self._norms = {norm.node.output[0]: norm for norm in network.graph.norms}
        self.constants = constants
        self.nodes: list[NodeProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []

    def load(self, name: str, shift: Numbers | None) -> None:
        """A map that was kept, as float32 and as it was."""
        channels = self._network.around.shapes[name][1]
        self.inputs.append(
            helper.make_tensor_value_info(f"kept:{name}", TensorProto.FLOAT16, [1, channels, None, None])
        )
        cast = name if shift is None else f"cast:{name}"
        self._add("Cast", [f"kept:{name}"], cast, to=TensorProto.FLOAT)
        if shift is not None:
            self.constants[f"centre:{name}"] = shift.astype(np.float32)[:, None, None]
            self._add("Add", [cast, f"centre:{name}"], name)

    def node(self, node: NodeProto, measured: Mapping[str, tuple[Numbers, Numbers]]) -> None:
        """A node of the network; normalisations by what was measured."""
        norm = self._norms.get(node.output[0])
        if norm is None:
            self.nodes.append(node)
            return
        mean, variance = f"mean:{norm.source}", f"variance:{norm.source}"
        self.constants[mean], self.constants[variance] = (each.astype(np.float32) for each in measured[norm.source])
        self.nodes.append(normalized_by(node, mean, variance))

    def results(self, name: str, *, measure: bool, keep: bool) -> None:
        """What is wanted of a value, over the tile's own pixels."""
        cut = self._cut(name)
        if measure:
            channels = self._network.around.shapes[name][1]
            self.inputs.append(float_value(f"shift:{name}", channels, 1, 1))
            self._add("Sub", [cut, f"shift:{name}"], f"moved:{name}")
            cut = f"moved:{name}"
            self._sum(cut, f"sum:{name}")
            self._add("Mul", [cut, cut], f"square:{name}")  # ReduceSumSquare takes twice as long
            self._sum(f"square:{name}", f"squares:{name}")
        if keep:
            self.constants["least"], self.constants["most"] = (
                np.array(-_LARGEST, np.float32),
                np.array(_LARGEST, np.float32),
            )
            self._add("Clip", [cut, "least", "most"], f"clipped:{name}")
            self._add("Cast", [f"clipped:{name}"], f"kept:{name}", to=TensorProto.FLOAT16)
            self.outputs.append(ValueInfoProto(name=f"kept:{name}"))

    def _cut(self, name: str) -> str:
        scales = [extent.scale for extent in self._network.extents[name]]
        steps = [int(cell / scale) for cell, scale in zip(self._network.cell, scales, strict=True)]
        self.constants[f"steps:{name}"] = np.array(steps, np.int64)
        self.constants["sides"] = np.array([2, 3], np.int64)
        for end in ("begin", "end"):
            self._add("Mul", [end, f"steps:{name}"], f"{end}:{name}")
        self._add("Slice", [name, f"begin:{name}", f"end:{name}", "sides"], f"cut:{name}")
        return f"cut:{name}"

    def _sum(self, given: str, made: str) -> None:
        """Sum by channel; rows first: sums of sums round far less than one long sum."""
        self.constants["columns"], self.constants["rows"] = np.array([3], np.int64), np.array([0, 2], np.int64)
        self._add("ReduceSum", [given, "columns"], f"rows:{made}", keepdims=0)
        self._add("ReduceSum", [f"rows:{made}", "rows"], made, keepdims=0)
        self.outputs.append(ValueInfoProto(name=made))

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))


Span: TypeAlias = tuple[int, int]
"""First row or column, and the one after the last."""

# Side of the piece in the middle whose mean a pass takes off what it measures and keeps.
_SAMPLE_SIDE = 128


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a picture."""

    rows: tuple[int, ...]
    """First row of each band of tiles, and the picture's height."""

    columns: tuple[int, ...]
    """First column of each tile of a band, and the picture's width."""

    @classmethod
    def over(cls, size: tuple[int, int], cell: tuple[int, int], tile: int, workers: int = 1) -> "TileGrid":
        """Divide a picture of `size` into nearly equal tiles of at most `tile` pixels a side, whole cells.

        Each band has a multiple of `workers` tiles where it has more than one, so that none waits at its end.
        """
        (height, width), (tall, wide) = size, cell
        across = -(-width // max(tile // wide * wide, wide))
        across = min(-(-across // workers) * workers, width // wide) if across > 1 else 1
        return cls(_edges(height, -(-height // max(tile // tall * tall, tall)), tall), _edges(width, across, wide))


@dataclass(frozen=True)
class Surface:
    """Where a picture is painted."""

    open_part: Callable[[ModelProto], Part]
    """Opens the graph of a pass; its calls compute on one thread."""

    pool: Executor
    """Runs the tiles of a band."""

    folder: Path
    """For maps that find no room in memory."""


class Painting:
    """The state of one picture between passes."""

    def __init__(
        self,
        network: Tileable,
        plan: TilingPlan,
        frame: Frame,
        grid: TileGrid,
        *,
        surface: Surface,
        fixed: Mapping[str, Array],
    ) -> None:
        """Prepare to paint a frame, (H', W', 3), in the plan's passes; `fixed` are values that do not depend on it."""
        self._network, self._plan, self._frame, self._grid = network, plan, frame, grid
        self._surface, self._fixed = surface, fixed
        self._maps: dict[str, FeatureMap] = {}
        self._shifts: dict[str, Numbers] = {}
        self.measured: dict[str, tuple[Numbers, Numbers]] = {}
        """Mean and variance, (C,), of the sources of normalizations, as far as they are known."""

    def close(self) -> None:
        """Give the maps back."""
        for each in self._maps.values():
            each.close()
        self._maps.clear()

    def run_pass(self, number: int, stylized: Frame | None, on_band: Callable[[float], None]) -> None:
        """Run a pass over all tiles; the one that paints fills `stylized`, (H, W, 3).

        `on_band` is called after each band with its share of the picture.
        """
        each = self._plan.passes[number]
        kept_shifts = {name: shift for name, shift in self._shifts.items() if name in each.reads}
        graph = pass_graph(self._network, each, self.measured, kept_shifts, self._fixed)
        part = self._surface.open_part(graph)
        moments = self._sample(part, each)
        self._make_maps(each)
        last = self._plan.last_reads()
        dying = {name for name in each.reads if last[name] == number}
        for band, rows in enumerate(pairwise(self._grid.rows)):
            self._run_band(part, each, band, moments, stylized)
            next_top = rows[1] - each.halo[0]
            for name in each.reads:
                if name in self._maps:
                    self._maps[name].release(self._scaled(name, 0, max(next_top, 0)), last=name in dying)
            on_band((rows[1] - rows[0]) / self._frame.shape[0])
        for name in dying & self._maps.keys():
            self._maps.pop(name).close()
        for name, sums in moments.items():
            self.measured[name] = sums.mean(), sums.variance()

    def _run_band(
        self, part: Part, each: Pass, band: int, moments: Mapping[str, Moments], stylized: Frame | None
    ) -> None:
        rows = self._grid.rows[band], self._grid.rows[band + 1]
        self._fetch(each, rows)
        for name in each.writes:
            self._maps[name].open_band(band)

        def run_tile(columns: Span) -> dict[str, Array]:
            results = self._run_tile(part, each, (rows, columns), moments)
            for name in each.writes:
                self._maps[name].write(band, self._scaled(name, 1, columns[0]), results.pop(f"kept:{name}")[0])
            if stylized is not None:
                self._place(results.pop("stylized"), each, (rows, columns), stylized)
            return results

        # In order, so that the sums do not depend on which thread was faster.
        for columns, results in zip(
            pairwise(self._grid.columns), self._surface.pool.map(run_tile, pairwise(self._grid.columns)), strict=True
        ):
            for name, sums in moments.items():
                count = np.prod([self._scaled(name, axis, b - a) for axis, (a, b) in enumerate((rows, columns))])
                sums.add(int(count), results[f"sum:{name}"], results[f"squares:{name}"])
        for name in each.writes:
            self._maps[name].close_band(band)

    def _run_tile(
        self, part: Part, each: Pass, tile: tuple[Span, Span], moments: Mapping[str, Moments]
    ) -> dict[str, Array]:
        """Run one tile."""
        window = self._window(each, tile)
        feeds: dict[str, Array] = {}
        for name in each.reads:
            if name == "frame":
                (top, bottom), (left, right) = window
                feeds["frame"] = to_layout(self._frame[None, top:bottom, left:right], self._network.contract)
            else:
                spans = [self._scaled(name, axis, place) for axis, span in enumerate(window) for place in span]
                feeds[f"kept:{name}"] = self._maps[name].read(*spans)[None]
        if each.norms:
            pairs = list(zip(tile, window, self._network.cell, strict=True))
            feeds["begin"] = np.array([(own[0] - whole[0]) // cell for own, whole, cell in pairs], np.int64)
            feeds["end"] = np.array([(own[1] - whole[0]) // cell for own, whole, cell in pairs], np.int64)
        for norm in each.norms:
            feeds[f"shift:{norm.source}"] = moments[norm.source].shift.astype(np.float32)[:, None, None]
        return part.run(feeds)

    def _sample(self, part: Part, each: Pass) -> dict[str, Moments]:
        """Start the sums of a pass, shifted by the mean over a piece in the middle."""
        channels = {norm.source: self._network.around.shapes[norm.source][1] for norm in each.norms}
        nothing = {name: Moments(np.zeros(count)) for name, count in channels.items()}
        if not each.norms:
            return nothing
        rows, columns = (
            _middle(side, cell) for side, cell in zip(self._frame.shape[:2], self._network.cell, strict=True)
        )
        self._fetch(each, rows)
        results = self._run_tile(part, each, (rows, columns), nothing)
        moments = {}
        for name in channels:
            count = self._scaled(name, 0, rows[1] - rows[0]) * self._scaled(name, 1, columns[1] - columns[0])
            # As float32, which is what is taken off.
            mean = (results[f"sum:{name}"] / count).astype(np.float32).astype(np.float64)
            moments[name] = Moments(np.nan_to_num(mean))
        self._shifts.update({name: moments[name].shift for name in channels if name in each.writes})
        return moments

    def _fetch(self, each: Pass, rows: Span) -> None:
        top, bottom = self._window(each, (rows, (0, self._network.cell[1])))[0]
        for name in each.reads:
            if name in self._maps:
                self._maps[name].fetch(self._scaled(name, 0, top), self._scaled(name, 0, bottom))

    def _make_maps(self, each: Pass) -> None:
        for name in each.writes:
            channels = self._network.around.shapes[name][1]
            edges = [self._scaled(name, 0, row) for row in self._grid.rows]
            folder = None if name in self._plan.in_memory else self._surface.folder
            self._maps[name] = FeatureMap(channels, edges, self._scaled(name, 1, self._frame.shape[1]), folder)

    def _window(self, each: Pass, tile: tuple[Span, Span]) -> tuple[Span, Span]:
        """A tile with its halo, as far as there is picture."""
        spans = [
            (max(start - halo, 0), min(end + halo, side))
            for (start, end), halo, side in zip(tile, each.halo, self._frame.shape[:2], strict=True)
        ]
        return spans[0], spans[1]

    def _place(self, painted: Array, each: Pass, tile: tuple[Span, Span], stylized: Frame) -> None:
        """Put a tile's own pixels, as far as they are within the unprepared picture, where they belong."""
        frame = from_layout(painted, self._network.contract)[0]
        (top, bottom), (left, right) = tile
        (window_top, _), (window_left, _) = self._window(each, tile)
        target = stylized[top:bottom, left:right]
        height, width = target.shape[:2]
        target[:] = frame[top - window_top :, left - window_left :][:height, :width]

    def _scaled(self, name: str, axis: int, place: int) -> int:
        """A place of the picture in pixels of a value."""
        return int(place / self._network.extents[name][axis].scale)


def _edges(length: int, parts: int, cell: int) -> tuple[int, ...]:
    cells = length // cell
    return tuple(cells * part // parts * cell for part in range(parts + 1))


def _middle(length: int, cell: int) -> Span:
    cells = length // cell
    taken = min(cells, max(_SAMPLE_SIDE // cell, 1))
    start = (cells - taken) // 2
    return start * cell, (start + taken) * cell
