"""Where the values of a part lie over the picture, and how far in from a tile's edge they are right.

A part runs on a tile: a window of the picture that may end inside it. There the graph's own padding stands in for
pixels that the tile does not have, and convolutions carry the fault inwards, by the reach of their kernels. At the
picture's true border there is no fault: there the padding is what the whole picture has too.

All in one dimension: rows and columns are two walks. A window is a whole number of cells, the coarsest value's pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from onnx import NodeProto

from fastnst.backends.contract import PIXEL_SHUFFLE
from fastnst.tiling.surgery import Array, attributes, refusal

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Extent:
    """How one axis of a value lies over that of the window."""

    scale: Fraction
    """Side of a pixel of the value in pixels of the picture."""

    before: int = 0
    """Pixels of the value beyond the window's start: padding that no convolution has used up yet."""

    after: int = 0
    """The same beyond its end."""

    margin: int = 0
    """Pixels next to an end inside the picture that are wrong; those beyond it always are."""


@dataclass(frozen=True)
class Surroundings:
    """What the rules need to know of a network."""

    path: Path
    shapes: Shapes
    """Shapes of all values for one picture."""

    fixed: Mapping[str, Array]
    producers: Mapping[str, NodeProto]


Extents: TypeAlias = dict[str, tuple[Extent, Extent]]


def walk(nodes: Sequence[NodeProto], known: Mapping[str, tuple[Extent, Extent]], surroundings: Surroundings) -> Extents:
    """Extents, of rows and of columns, of all pixel values that `nodes` compute from those in `known`.

    Raises StyleError: an operator that cannot run on tiles, or that is used in a way that cannot.
    """
    extents: Extents = dict(known)
    for node in nodes:
        given = [extents[name] for name in node.input if name in extents]
        if not given or node.op_type in {"Shape", "Size"}:
            continue
        rule = _RULES.get(node.op_type)
        if rule is None:
            raise refusal(surroundings.path, f"it contains {node.op_type}")
        _check_operands(node, extents, surroundings)
        rows, columns = (_join(node, [both[axis] for both in given], surroundings) for axis in (0, 1))
        both = rule(node, rows, 0, surroundings), rule(node, columns, 1, surroundings)
        extents.update(dict.fromkeys(node.output, both))
    return extents


def _join(node: NodeProto, extents: Sequence[Extent], around: Surroundings) -> Extent:
    """The values that a node joins must lie alike; the largest margin counts."""
    first = extents[0]
    if any((each.scale, each.before, each.after) != (first.scale, first.before, first.after) for each in extents):
        raise refusal(around.path, f"{_title(node)} joins values of different sizes")
    return replace(first, margin=max(each.margin for each in extents))


def _check_operands(node: NodeProto, extents: Extents, around: Surroundings) -> None:
    """Beside pixels, an operand may be fixed and the same for every pixel: anything else would need cutting too."""
    for name in node.input:
        if not name or name in extents:
            continue
        if name not in around.fixed:
            if node.op_type not in _MADE_TO_SIZE:
                raise refusal(around.path, f"{_title(node)} computes with the picture's size")
        else:
            varies = node.op_type not in _PER_CHANNEL and any(side != 1 for side in around.fixed[name].shape[-2:])
            if node.op_type == "Concat" or (node.op_type in _POINTWISE and varies):
                raise refusal(around.path, f"{_title(node)} takes a fixed map")


def _title(node: NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]}"


def _same(_node: NodeProto, extent: Extent, _axis: int, _around: Surroundings) -> Extent:
    return extent


def _whole(node: NodeProto, extent: Extent, _axis: int, around: Surroundings) -> Extent:
    if extent.before or extent.after:
        raise refusal(around.path, f"{_title(node)} counts padding")
    return extent


def _along_channels(node: NodeProto, extent: Extent, _axis: int, around: Surroundings) -> Extent:
    axes = around.fixed[node.input[3]] if node.op_type == "Slice" and len(node.input) > 3 else None
    axis = [attributes(node).get("axis", 0)] if axes is None else axes.tolist()
    if axis not in ([1], [-3]):
        raise refusal(around.path, f"{_title(node)} works on axis {axis}")
    return extent


def _transpose(node: NodeProto, extent: Extent, _axis: int, around: Surroundings) -> Extent:
    if tuple(attributes(node).get("perm", ())) not in {(0, 3, 1, 2), (0, 2, 3, 1), _UNSHUFFLE, _SHUFFLE}:
        raise refusal(around.path, f"{_title(node)} moves the sides")
    return extent


def _pad(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    mode = attributes(node).get("mode", "constant")
    pads = around.fixed.get(node.input[1])
    if pads is None or pads.size != 8 or pads[[0, 1, 4, 5]].any() or mode == "wrap" or len(node.input) > 3:
        raise refusal(around.path, f"{_title(node)} ({mode}) is not one of rows and columns by fixed numbers")
    return replace(extent, before=extent.before + int(pads[2 + axis]), after=extent.after + int(pads[6 + axis]))


def _window(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    """Convolution and pooling."""
    given = attributes(node)
    if given.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"} or given.get("ceil_mode", 0):
        raise refusal(around.path, f"{_title(node)} pads by itself")
    if node.op_type == "Conv" and node.input[1] not in around.fixed:
        raise refusal(around.path, f"the weights of {_title(node)} depend on the picture")
    kernel = around.fixed[node.input[1]].shape[2:] if node.op_type == "Conv" else given["kernel_shape"]
    reach = (kernel[axis] - 1) * given.get("dilations", [1, 1])[axis]
    pads = given.get("pads", [0, 0, 0, 0])
    return slide(extent, reach, given.get("strides", [1, 1])[axis], (pads[axis], pads[2 + axis]))


def slide(extent: Extent, reach: int, stride: int, pads: tuple[int, int]) -> Extent:
    """The extent of what a kernel makes that spans `reach` + 1 pixels and moves by `stride`.

    Pixel i of the result reads from stride * i - start to stride * i - start + reach; `start` is chosen so that the
    kernel's middle comes next to its own place.
    """
    outside = extent.before + pads[0]
    before = (2 * (outside - reach // 2) + stride) // (2 * stride)
    start = outside - stride * before
    after = (outside + extent.after + pads[1] - reach - 1) // stride + 1 - before
    first = -(-(extent.margin + start) // stride)
    last = -(-(extent.margin + reach - start + 1) // stride) - 1
    return Extent(extent.scale * stride, before, after, max(first, last, 0))


def _transposed(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    """Transposed convolution."""
    given = attributes(node)
    shaped = "output_shape" in given or any(given.get("output_padding", ()))
    if given.get("auto_pad", "NOTSET") != "NOTSET" or shaped or node.input[1] not in around.fixed:
        raise refusal(around.path, f"{_title(node)} pads by itself or takes its weights from the picture")
    kernel = around.fixed[node.input[1]].shape[2 + axis]
    reach = (kernel - 1) * given.get("dilations", [1, 1])[axis]
    pads = given.get("pads", [0, 0, 0, 0])
    return spread(extent, reach, given.get("strides", [1, 1])[axis], (pads[axis], pads[2 + axis]))


def spread(extent: Extent, reach: int, stride: int, pads: tuple[int, int]) -> Extent:
    """The extent of what a transposed kernel makes: pixel i of the value goes to stride * i - start ... + reach.

    `start` is chosen so that the kernel's middle lies over the pixels that stand for i; `pads` are cut off.
    """
    start = (reach + 1 - stride) // 2
    before = stride * extent.before + start - pads[0]
    after = stride * (extent.after - 1) + reach + 1 - start - pads[1]
    margin = max(stride * (extent.margin - 1) + reach + 1 - start, stride * extent.margin + start, 0)
    return Extent(extent.scale / stride, before, after, margin)


def _resize(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    given = attributes(node)
    way = given.get("mode", "nearest"), given.get("coordinate_transformation_mode", "half_pixel")
    rounding = given.get("nearest_mode", "round_prefer_floor")
    inner, outer = (around.shapes[name][2 + axis] for name in (node.input[0], node.output[0]))
    # Each of these puts `factor` whole pixels in place of one; the linear ones read its neighbours too.
    nearest = way[0] == "nearest" and (way[1], rounding) in _NEAREST
    linear = way in {("linear", "half_pixel"), ("linear", "pytorch_half_pixel")}
    if outer % inner or not (nearest or linear):
        raise refusal(around.path, f"{_title(node)} ({' '.join(way)}, {inner} to {outer}) is not by a whole factor")
    factor = outer // inner
    extent = replace(extent, margin=extent.margin + 1) if linear else extent
    return _enlarge(extent, factor)


def _enlarge(extent: Extent, factor: int) -> Extent:
    return Extent(extent.scale / factor, extent.before * factor, extent.after * factor, extent.margin * factor)


def _shrink(extent: Extent, factor: int) -> Extent:
    return Extent(extent.scale * factor, margin=-(-extent.margin // factor))


def _depth_to_space(node: NodeProto, extent: Extent, _axis: int, _around: Surroundings) -> Extent:
    enlarged = _enlarge(extent, attributes(node)["blocksize"])
    if not node.name.startswith(PIXEL_SHUFFLE):
        return enlarged
    # Its places lie between those that `slide` counts them for and the next ones.
    return replace(enlarged, before=enlarged.before - 1, after=enlarged.after + 1, margin=enlarged.margin + 1)


def _space_to_depth(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    return _shrink(_whole(node, extent, axis, around), attributes(node)["blocksize"])


def _reshape(node: NodeProto, extent: Extent, axis: int, around: Surroundings) -> Extent:
    """Torch writes pixel (un)shuffle as Reshape to six axes, Transpose, Reshape to four."""
    given, made = around.shapes[node.input[0]], around.shapes[node.output[0]]
    if given == made or (len(given), len(made)) == (4, 6):
        return extent
    swap = around.producers.get(node.input[0])
    fold = around.producers.get(swap.input[0]) if swap is not None and swap.op_type == "Transpose" else None
    if len(made) == 4 and swap is not None and fold is not None and fold.op_type == "Reshape":
        (batch, channels, height, width), middle = around.shapes[fold.input[0]], around.shapes[fold.output[0]]
        order = tuple(attributes(swap)["perm"])
        block = middle[3] if len(middle) == 6 else 0
        unshuffled = (batch, channels, height // max(block, 1), block, width // max(block, 1), block)
        shuffled = (batch, channels // max(block, 1) ** 2, block, block, height, width)
        if order == _UNSHUFFLE and middle == unshuffled and made[1] == channels * block**2:
            return _shrink(_whole(node, extent, axis, around), block)
        if order == _SHUFFLE and middle == shuffled and made[1] == channels // block**2:
            return _enlarge(extent, block)
    raise refusal(around.path, f"{_title(node)} changes {given} to {made}")


_UNSHUFFLE = (0, 1, 3, 5, 2, 4)
_SHUFFLE = (0, 1, 4, 2, 5, 3)
_NEAREST = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}

_MADE_TO_SIZE = frozenset({"Reshape", "Resize"})
_PER_CHANNEL = frozenset({"BatchNormalization"})
_POINTWISE = _PER_CHANNEL | frozenset(
    "Abs Add Cast Celu Clip Div Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Min Mish Mul Neg "  # noqa: SIM905
    "PRelu Pow Reciprocal Relu Round Selu Sigmoid Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu".split()
)

_Rule: TypeAlias = Callable[[NodeProto, Extent, int, Surroundings], Extent]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_POINTWISE, _same),
    **dict.fromkeys(("Concat", "Split", "Slice", "Gather"), _along_channels),
    **dict.fromkeys(("Conv", "AveragePool", "MaxPool"), _window),
    "ConvTranspose": _transposed,
    "InstanceNormalization": _whole,
    "Transpose": _transpose,
    "Pad": _pad,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Reshape": _reshape,
}
