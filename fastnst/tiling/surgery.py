"""Cutting an exported network's graph into parts that run on parts of a picture. onnx only: nothing is computed here.

Values of a graph are of three kinds:
- pixels: they depend on the frame's levels;
- sizes: they depend only on the shapes of pixel values;
- fixed: they do not depend on the frame: weights, constants, and what is made of `style_weights` and `strength`.

What an exported file does to make the sides multiples of its stride (Pad by sizes) and to undo it (Slice by sizes) is
taken out of the graph: `Preparation` says what it was, so that it can be done once, to the whole picture.

Nodes whose names begin with "weave" shuffle channels into the pixels of a picture, by moves that are quick but say
nothing of where a pixel comes from; one DepthToSpace and a Pad take their place here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from fastnst.backends.contract import PIXEL_SHUFFLE
from fastnst.errors import StyleError

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["pixels", "sizes", "fixed"]

MINIMUM_OPSET = 18
"""Reductions take their axes as an input since this one; exported files have it."""

_IR_VERSION = 10
_POINTWISE = frozenset({"Transpose", "Cast", "Add", "Sub", "Mul", "Div", "Identity"})


@dataclass(frozen=True)
class Norm:
    """An InstanceNormalization: scale (x - mean) / sqrt(variance + epsilon) + bias, over one picture's channel."""

    node: NodeProto
    source: str
    """Name of x, float32 (1, C, H, W)."""


@dataclass(frozen=True)
class Preparation:
    """How a file extends its input below and to the right, and cuts its output to size again."""

    modes: tuple[str, ...]
    """Modes of the Pad nodes, in order."""

    pads: tuple[str, ...]
    """Names of the values that hold their pads."""

    crops: tuple[str, ...]
    """Names of the values that hold the first row and column kept: none or one."""


@dataclass(frozen=True)
class Graph:
    """An exported network, sorted by kind of value, without its preparation."""

    path: Path
    model: ModelProto
    """The file, woven in one step."""

    opset: int
    kinds: dict[str, Kind]
    nodes: tuple[NodeProto, ...]
    """Nodes of pixels and sizes, each after those it needs."""

    norms: tuple[Norm, ...]
    preparation: Preparation

    def fixed(self) -> list[str]:
        """Names of the fixed values that the nodes take."""
        taken = {name for node in self.nodes for name in node.input if name and self.kinds[name] == "fixed"}
        return sorted(taken)


def load_graph(path: Path) -> Graph:
    """Read an exported network. Raises StyleError: it cannot be read, or cannot be painted in tiles."""
    model = _plainly_shuffled(_read(path))
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < MINIMUM_OPSET:
        raise refusal(path, f"it has opset {opset}, and {MINIMUM_OPSET} is needed. Export it again")
    kinds = _sort_values(path, model)
    nodes, preparation = _take_out_preparation(path, model, kinds)
    nodes = needed(nodes, ["stylized"], ["frame"])
    norms = tuple(Norm(node, node.input[0]) for node in nodes if node.op_type == "InstanceNormalization")
    return Graph(path, model, opset, kinds, tuple(nodes), norms, preparation)


def refusal(path: Path, reason: str) -> StyleError:
    """The error for a network that runs, but not in tiles."""
    return StyleError(f"{path}: cannot be stylized in tiles: {reason}; stylize smaller pictures, or without tiles")


def needed(nodes: Sequence[NodeProto], targets: Collection[str], known: Collection[str]) -> list[NodeProto]:
    """Those of `nodes` that compute `targets` from the values in `known`, in order."""
    wanted, chosen = set(targets) - set(known), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted.update(name for name in node.input if name not in known)
    return chosen[::-1]


def fullest(density: Mapping[str, float], nodes: Sequence[NodeProto], results: Collection[str]) -> float:
    """Numbers that a part holds at its fullest moment, where each value takes as many as `density` says."""
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    made = {name for node in nodes for name in node.output}
    held = {name: density.get(name, 0.0) for name in last if name not in made}
    most = 0.0
    for number, node in enumerate(nodes):
        held.update({name: density.get(name, 0.0) for name in node.output})
        most = max(most, sum(held.values()))
        held = {name: size for name, size in held.items() if last.get(name, -1) > number or name in results}
    return most


def build(
    nodes: Iterable[NodeProto],
    inputs: Iterable[ValueInfoProto],
    outputs: Iterable[ValueInfoProto],
    constants: Mapping[str, Array | TensorProto],
    opset: int = MINIMUM_OPSET,
) -> ModelProto:
    """Make a model of nodes, with those of the constants that they take."""
    nodes = list(nodes)
    taken = {name for node in nodes for name in node.input}
    stored = [_tensor(name, value) for name, value in constants.items() if name in taken]
    graph = helper.make_graph(nodes, "part", list(inputs), list(outputs), initializer=stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)


def float_value(name: str, *shape: int | str | None) -> ValueInfoProto:
    """Describe an input or output of float32."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def normalized_by(norm: NodeProto, mean: str, variance: str) -> NodeProto:
    """An InstanceNormalization by given statistics, float32 (C,): ONNX's BatchNormalization is that formula."""
    epsilon = attributes(norm).get("epsilon", 1e-5)
    return helper.make_node("BatchNormalization", [*norm.input, mean, variance], list(norm.output), epsilon=epsilon)


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of a node by name, texts decoded."""
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def initializers(model: ModelProto) -> dict[str, Array]:
    """Stored tensors of a model by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _read(path: Path) -> ModelProto:
    try:
        model = onnx.load_model(path, load_external_data=False)
        outside = any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
        if not outside:
            onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network; expected a file that fastnst export wrote") from error
    if outside:
        raise StyleError(f"{path}: its weights are in another file; expected one file, as fastnst export writes it")
    return model


def _plainly_shuffled(model: ModelProto) -> ModelProto:
    """Put one DepthToSpace, a Pad and a Transpose in the place of the nodes that shuffle pixels as uint8."""
    shuffle = [node for node in model.graph.node if node.name.startswith(PIXEL_SHUFFLE)]
    if not any(node.op_type == "Reshape" for node in shuffle):
        return model
    first = next(node for node in shuffle if node.op_type == "Reshape")
    border = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "weave:border")
    plain = ModelProto()
    plain.CopyFrom(model)
    del plain.graph.node[:]
    plain.graph.node.extend(node for node in model.graph.node if not node.name.startswith(PIXEL_SHUFFLE))
    place = next(k for k, node in enumerate(plain.graph.node) if first.input[0] in node.output) + 1
    made = (
        helper.make_node("DepthToSpace", [first.input[0]], ["weave:inner"], name=PIXEL_SHUFFLE, blocksize=2),
        helper.make_node("Pad", ["weave:inner", border.name], ["weave:planes"], mode="edge"),
        helper.make_node("Transpose", ["weave:planes"], [shuffle[-1].output[0]], perm=[0, 2, 3, 1]),
    )
    for node in reversed(made):
        plain.graph.node.insert(place, node)
    plain.graph.initializer.append(border)
    return plain


def _tensor(name: str, value: Array | TensorProto) -> TensorProto:
    return value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)


def _sort_values(path: Path, model: ModelProto) -> dict[str, Kind]:
    names = {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer}
    kinds: dict[str, Kind] = dict.fromkeys(names | {""}, "fixed")
    if "frame" not in kinds or not any(value.name == "stylized" for value in model.graph.output):
        raise StyleError(f"{path}: not a network of fastnst; expected the input 'frame' and the output 'stylized'")
    kinds["frame"] = "pixels"
    for node in model.graph.node:
        if node.domain not in {"", "ai.onnx"} or any(entry.HasField("g") or entry.graphs for entry in node.attribute):
            raise refusal(path, f"it contains {node.op_type}")
        given = {kinds.get(name, "fixed") for name in node.input}
        kind: Kind = "pixels" if "pixels" in given else "sizes" if "sizes" in given else "fixed"
        if kind == "pixels" and node.op_type in {"Shape", "Size"}:
            kind = "sizes"
        kinds.update(dict.fromkeys(node.output, kind))
    return kinds


def _take_out_preparation(
    path: Path, model: ModelProto, kinds: Mapping[str, Kind]
) -> tuple[list[NodeProto], Preparation]:
    nodes: list[NodeProto] = []
    taken: list[NodeProto] = []
    instead: dict[str, str] = {}
    for given in model.graph.node:
        if given.op_type in {"Pad", "Slice"} and any(kinds[name] == "sizes" for name in given.input[1:]):
            _check_place(path, model, kinds, given)
            taken.append(given)
            instead[given.output[0]] = instead.get(given.input[0], given.input[0])
        elif kinds[given.output[0]] != "fixed":
            node = NodeProto()
            node.CopyFrom(given)
            node.input[:] = [instead.get(name, name) for name in given.input]
            nodes.append(node)
    pads = [node for node in taken if node.op_type == "Pad"]
    crops = tuple(node.input[1] for node in taken if node.op_type == "Slice")
    modes = tuple(str(attributes(node).get("mode", "constant")) for node in pads)
    return nodes, Preparation(modes, tuple(node.input[1] for node in pads), crops)


def _check_place(path: Path, model: ModelProto, kinds: Mapping[str, Kind], sized: NodeProto) -> None:
    """Pads may only come before, and crops only after, all that mixes pixels."""
    if sized.op_type == "Pad":
        others = needed(model.graph.node, [sized.input[0]], {"frame"})
        allowed = _POINTWISE | {"Pad"}
    else:
        reached = {sized.output[0]}
        others = []
        for node in model.graph.node:
            if reached.intersection(node.input):
                reached.update(node.output)
                others.append(node)
        allowed = _POINTWISE | {"Clip", "Round", "Min", "Max"}
    wrong = [node.op_type for node in others if kinds[node.output[0]] == "pixels" and node.op_type not in allowed]
    if wrong:
        raise refusal(path, f"it has a {sized.op_type} by the picture's size next to {wrong[0]}")
