"""Whole networks whose normalisation statistics are inputs, or inputs and outputs. onnx only.

The file's own contract stays: `frame` in, `stylized` out, any size. Normalisation k, in the order of the graph, adds
the inputs `mean:k` and `variance:k`, float32 (C,): the statistics to normalise by. The steady form also has the input
`share`, float32 (), and the outputs `mean:k:used` and `variance:k:used`.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from fastnst.runtime.statistics import Numbers, Statistics
from fastnst.runtime.surgery import Array, float_value, normalized_by

_AXES = {"axes:columns": [3], "axes:rest": [0, 2], "axes:sides": [1, 2]}


def paint_form(model: ModelProto) -> ModelProto:
    """A network that normalises by given statistics: it paints any part of a picture as it paints the whole."""
    return _with_norms(model, _given)


def steady_form(model: ModelProto) -> ModelProto:
    """A network that moves given statistics towards its own frame's by `share`, paints by these, and gives them back.

    A share of 1 is the plain network, and measures; 0 is the paint form; in between, fed with what it gave for the
    frame before, it follows a film with a running average. Of a batch, the statistics are those of all its frames.
    """
    form = _with_norms(model, _following)
    form.graph.input.append(float_value("share"))
    stored = (numpy_helper.from_array(np.array(axes, np.int64), name) for name, axes in _AXES.items())
    form.graph.initializer.extend(stored)
    count = sum(node.op_type == "InstanceNormalization" for node in model.graph.node)
    form.graph.output.extend(float_value(f"{name}:used", None) for k in range(count) for name in _names(k))
    return form


def statistics_feeds(statistics: Statistics, share: float | None = None) -> dict[str, Array]:
    """Statistics as inputs of a form; with the share, of a steady one."""
    feeds: dict[str, Array] = {} if share is None else {"share": np.array(share, np.float32)}
    for k, pair in enumerate(zip(statistics.means, statistics.variances, strict=True)):
        feeds.update(zip(_names(k), (values.astype(np.float32) for values in pair), strict=True))
    return feeds


def blank_statistics(form: ModelProto) -> Statistics:
    """Statistics of the right shapes, all 0: for the first frame, which takes a share of 1."""
    sides = {value.name: value.type.tensor_type.shape.dim for value in form.graph.input}
    zeros: list[Numbers] = []
    while f"mean:{len(zeros)}" in sides:
        zeros.append(np.zeros(sides[f"mean:{len(zeros)}"][0].dim_value))
    return Statistics(tuple(zeros), tuple(zeros))


def statistics_used(outputs: Mapping[str, Array]) -> Statistics:
    """The statistics among the outputs, by name, of a steady form."""
    pairs: list[tuple[Numbers, ...]] = []
    while f"mean:{len(pairs)}:used" in outputs:
        pairs.append(tuple(outputs[f"{name}:used"].astype(np.float64) for name in _names(len(pairs))))
    return Statistics(tuple(mean for mean, _ in pairs), tuple(variance for _, variance in pairs))


def _names(k: int) -> tuple[str, str]:
    return f"mean:{k}", f"variance:{k}"


def _with_norms(model: ModelProto, replacement: Callable[[NodeProto, int], Iterator[NodeProto]]) -> ModelProto:
    form = ModelProto()
    form.CopyFrom(model)
    del form.graph.node[:]
    channels = _lengths(model)
    k = 0
    for node in model.graph.node:
        if node.op_type == "InstanceNormalization":
            form.graph.node.extend(replacement(node, k))
            form.graph.input.extend(float_value(name, channels[node.input[1]]) for name in _names(k))
            k += 1
        else:
            form.graph.node.append(node)
    return form


def _lengths(model: ModelProto) -> dict[str, int]:
    """Lengths of all values of one axis, as far as they can be told: scales of normalisations, above all."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sides = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.input)}
    lengths = {name: shape[0].dim_value for name, shape in sides.items() if len(shape) == 1}
    return lengths | {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 1}


def _given(node: NodeProto, k: int) -> Iterator[NodeProto]:
    yield normalized_by(node, *_names(k))


def _following(node: NodeProto, k: int) -> Iterator[NodeProto]:
    x = node.input[0]
    mean, variance = _names(k)
    yield from _mean(x, f"{mean}:own")
    yield helper.make_node("Unsqueeze", [f"{mean}:own", "axes:sides"], [f"{mean}:wide"])
    yield helper.make_node("Sub", [x, f"{mean}:wide"], [f"{mean}:off"])
    yield helper.make_node("Mul", [f"{mean}:off", f"{mean}:off"], [f"{variance}:squares"])
    yield from _mean(f"{variance}:squares", f"{variance}:own")
    for name in (mean, variance):
        yield helper.make_node("Sub", [f"{name}:own", name], [f"{name}:ahead"])
        yield helper.make_node("Mul", [f"{name}:ahead", "share"], [f"{name}:step"])
        yield helper.make_node("Add", [name, f"{name}:step"], [f"{name}:used"])
    yield normalized_by(node, f"{mean}:used", f"{variance}:used")


def _mean(given: str, made: str) -> Iterator[NodeProto]:
    """Mean by channel; rows first: means of means round far less than one over all pixels."""
    yield helper.make_node("ReduceMean", [given, "axes:columns"], [f"{made}:rows"], keepdims=0)
    yield helper.make_node("ReduceMean", [f"{made}:rows", "axes:rest"], [made], keepdims=0)
