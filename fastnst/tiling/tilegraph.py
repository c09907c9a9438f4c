"""The graph of one pass over tiles.

It takes windows of the maps that the pass reads (`kept:NAME`, float16, or `frame`) and the tile's own place in the
window (`begin`, `end`, in cells). It gives, over the tile's own pixels only, what the pass measures (`sum:NAME`,
`squares:NAME`, (C,)) and keeps (`kept:NAME`), or `stylized` over the whole window.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from fastnst.backends.backend import Array
from fastnst.tiling.passes import Pass
from fastnst.tiling.statistics import Numbers
from fastnst.tiling.surgery import build, float_value, normalized_by
from fastnst.tiling.tileable import Tileable

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

    Args:
        network: the network.
        each: the pass.
        measured: mean and variance, (C,), of the sources of all normalisations in the pass.
        shifts: numbers that were taken off the maps it reads, (C,); those it measures have the input `shift:NAME`.
        fixed: values that do not depend on the frame.
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
