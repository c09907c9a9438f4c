"""An exported network, read and measured so that it can be cut into passes; and parts of it in ONNX Runtime."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from fastnst.backends.contract import (
    Array,
    Contract,
    Port,
    UnavailableError,
    extra_feeds,
    first_line,
    read_contract,
    to_layout,
)
from fastnst.backends.cpu import CPU, ProviderEntry, denormals_as_zero
from fastnst.backends.onnx_device import Accelerator, prepare, provider_entries, why_not_loaded
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.io.images import Frame
from fastnst.machine import check_threads, default_threads
from fastnst.tiling.geometry import Extent, Extents, Surroundings, walk
from fastnst.tiling.surgery import Graph, build, fullest, initializers, load_graph, needed, refusal

TileProvider: TypeAlias = Literal["cpu", "cuda"]

_FATAL = 4


class Part:
    """A part of a network, opened to run; several threads may run it at once."""

    def __init__(self, model: ModelProto, provider: TileProvider = "cpu", threads: int = 1) -> None:
        """Open the graph of a part, with so many threads on the CPU for each call of `run`.

        Raises SettingError where the provider cannot run here.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads
        # An arena keeps the memory of the largest call, rounded up to a power of two.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        denormals_as_zero(options)
        entries = [CPU] if provider == "cpu" else [*_entries(provider), CPU]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=entries)
        if self._session.get_providers()[0] != entries[0][0]:
            raise SettingError(f"provider {provider} cannot run here: {why_not_loaded('cuda')}")
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, by name.

        Raises InputError: ONNX Runtime failed: memory ran out, most likely; StyleError: it gave NaN, which would end as
        a black picture.
        """
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise InputError(f"a tile failed ({first_line(error)}); if memory ran out, take smaller tiles") from error
        if any(value.dtype.kind == "f" and np.isnan(value).any() for value in values):
            raise StyleError(
                "the network gave numbers that are none (NaN) on a part of this picture; nothing is written. Its "
                "weights are damaged, or leave the range of these numbers: try another network"
            )
        return dict(zip(self._outputs, values, strict=True))


def evaluate(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a part once, on the CPU; raises InputError."""
    return Part(model).run(feeds)


def count_threads(threads: int | None) -> int:
    """Threads to use: as many as this process may, unless a number is given."""
    check_threads(threads)
    return threads or default_threads() or os.cpu_count() or 1


def _entries(provider: Accelerator) -> Sequence[ProviderEntry]:
    try:
        prepare(provider)
    except UnavailableError as error:
        raise SettingError(f"provider {provider} cannot run here: {error}; cpu can") from error
    return provider_entries(provider, "float32", fixed=False)


# Small, and a multiple of any likely stride.
_PROBE_SIDE = 96
_DTYPES: dict[int, str] = {TensorProto.UINT8: "uint8", TensorProto.FLOAT: "float32"}
_PAD_MODES = frozenset({"edge", "reflect"})


@dataclass(frozen=True)
class Tileable:
    """A network whose parts can run on tiles."""

    graph: Graph
    contract: Contract
    around: Surroundings
    extents: Extents
    """Of all pixel values over a whole picture."""

    cell: tuple[int, int]
    """Rows and columns of the picture in one pixel of the coarsest value: tiles are whole numbers of cells."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a network.

        Raises StyleError: not a network of fastnst, or one with an operator that cannot run on tiles.
        """
        graph = load_graph(path)
        contract = _read_contract(graph)
        feeds = extra_feeds(contract, None, None)
        fixed = evaluate_fixed(graph, feeds)
        if any(fixed[name].any() for name in graph.preparation.crops):
            raise refusal(path, "it cuts its output not from the upper left corner on")
        shapes = _probe(graph, contract, fixed)
        around = Surroundings(path, shapes, fixed, {name: node for node in graph.nodes for name in node.output})
        whole = Extent(scale=Fraction(1))
        extents = walk(graph.nodes, {"frame": (whole, whole)}, around)
        if any(each.scale != 1 or each.before or each.after for each in extents["stylized"]):
            raise refusal(path, "its output does not lie over its input")
        rows, columns = (math.lcm(*(both[axis].scale.numerator for both in extents.values())) for axis in (0, 1))
        return cls(graph, contract, around, extents, (rows, columns))

    def prepare(self, frame: Frame) -> Frame:
        """Extend a frame (H, W, 3) below and to the right, as the file does by itself; itself where nothing is missing.

        Raises StyleError: the file does not make the sides multiples of the network's stride.
        """
        prepared = _prepare(self.graph, self.contract, frame)
        if any(side % cell for side, cell in zip(prepared.shape[:2], self.cell, strict=True)):
            raise refusal(self.graph.path, f"it does not extend {frame.shape[:2]} to multiples of {self.cell}")
        return prepared

    @cached_property
    def density(self) -> dict[str, float]:
        """Numbers of each pixel value per pixel of the picture."""
        pixels = math.prod(self.around.shapes["stylized"]) / 3
        return {name: math.prod(shape) / pixels for name, shape in self.around.shapes.items()}

    def covers_picture(self, name: str) -> bool:
        """Whether a value is one of rows and columns (1, C, H, W) that lies exactly over the picture."""
        outside = [(each.before, each.after) for each in self.extents[name]]
        return len(self.around.shapes[name]) == 4 and outside == [(0, 0), (0, 0)]

    def macs(self, node: NodeProto) -> float:
        """Multiplications of a convolution per pixel of the picture."""
        # Each number made, or given for a transposed one, is multiplied with all of a kernel.
        if node.op_type not in {"Conv", "ConvTranspose"}:
            return 0.0
        weight = self.around.fixed[node.input[1]]
        return self.density[node.output[0] if node.op_type == "Conv" else node.input[0]] * int(weight[0].size)


def held_numbers(path: Path) -> float:
    """Numbers per pixel of the picture that a whole network holds at its fullest moment.

    Of one that cannot be painted in tiles, as far as its shapes can be inferred. Raises StyleError.
    """
    try:
        network = Tileable.load(path)
    except StyleError:
        return _inferred_numbers(onnx.load(path))
    return fullest(network.density, network.graph.nodes, ["stylized"])


def _inferred_numbers(model: ModelProto) -> float:
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        for place, side in enumerate(value.type.tensor_type.shape.dim):
            if not side.HasField("dim_value"):
                side.dim_value = _PROBE_SIDE if place else 1
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        if value.name not in stored
    }
    frame = next(shapes[value.name] for value in model.graph.input if len(shapes.get(value.name, [])) == 4)
    density = {name: math.prod(shape) * 3 / math.prod(frame) for name, shape in shapes.items()}
    return fullest(density, model.graph.node, [value.name for value in model.graph.output])


def evaluate_fixed(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """All values that do not depend on the frame, for the given `style_weights` and `strength` of one picture."""
    stored = initializers(graph.model)
    wanted = [*graph.fixed(), *graph.preparation.crops]
    computed = [name for name in wanted if name not in stored and name not in feeds]
    nodes = needed(graph.model.graph.node, computed, stored.keys() | feeds.keys())
    inputs = [value for value in graph.model.graph.input if value.name in feeds]
    # ONNX Runtime finds out the types of outputs by itself.
    part = build(nodes, inputs, [ValueInfoProto(name=name) for name in computed], stored, graph.opset)
    values = stored | dict(feeds) | (evaluate(part, feeds) if computed else {})
    return {name: values[name] for name in wanted}


def _read_contract(graph: Graph) -> Contract:
    model = graph.model
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [_port(value) for value in model.graph.input if value.name not in stored]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return read_contract(graph.path, inputs, [_port(value) for value in model.graph.output], metadata)


def _port(value: ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    sides = tuple(side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim)
    return Port(value.name, _DTYPES.get(tensor.elem_type, "another type"), sides)


def _prepare(graph: Graph, contract: Contract, frame: Frame) -> Frame:
    names = list(graph.preparation.pads)
    if not names:
        return frame
    nodes = needed(graph.model.graph.node, names, {"frame"})
    inputs = [value for value in graph.model.graph.input if value.name == "frame"]
    part = build(nodes, inputs, [ValueInfoProto(name=name) for name in names], initializers(graph.model), graph.opset)
    pads = evaluate(part, {"frame": to_layout(frame[None], contract)})
    for mode, name in zip(graph.preparation.modes, names, strict=True):
        top, left, bottom, right = (int(pads[name][place]) for place in (2, 3, 6, 7))
        if mode not in _PAD_MODES or top or left or pads[name][[0, 1, 4, 5]].any():
            raise refusal(graph.path, f"it extends the picture in a way of its own ({mode})")
        if bottom or right:
            frame = np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode)  # type: ignore[call-overload]
    return frame


def _probe(graph: Graph, contract: Contract, fixed: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """Run the network on a small picture and return the shapes of all its pixel values."""
    blank = _prepare(graph, contract, np.zeros((_PROBE_SIDE, _PROBE_SIDE, 3), np.uint8))
    names = [name for node in graph.nodes for name in node.output if graph.kinds[name] == "pixels"]
    inputs = [value for value in graph.model.graph.input if value.name == "frame"]
    part = build(graph.nodes, inputs, [ValueInfoProto(name=name) for name in names], fixed, graph.opset)
    feeds = {"frame": to_layout(blank[None], contract)}
    try:
        values = evaluate(part, feeds)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise refusal(graph.path, f"it fails on a test picture of {_PROBE_SIDE} pixels a side") from error
    return {name: value.shape for name, value in (values | feeds).items()}
