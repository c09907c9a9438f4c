"""Where values lie over the picture, and how far in from a tile's edge they are right."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper

from fastnst.errors import StyleError
from fastnst.tiling.geometry import Extent, Surroundings, slide, spread, walk

WHOLE = Extent(Fraction(1))
RIGHT = (WHOLE, WHOLE)


def around(shapes: dict[str, tuple[int, ...]], *nodes: NodeProto, **fixed: np.ndarray) -> Surroundings:
    return Surroundings(Path("net.onnx"), shapes, fixed, {name: node for node in nodes for name in node.output})


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "pads", "expected"),
    [
        # A kernel of 3 with padding 1 reads one pixel beyond either side.
        (WHOLE, 3, 1, (1, 1), Extent(Fraction(1), margin=1)),
        (WHOLE, 9, 1, (4, 4), Extent(Fraction(1), margin=4)),
        (WHOLE, 1, 1, (0, 0), WHOLE),
        # At stride 2, pixel 0 reads -1, 0, 1 and is wrong; the last, n/2 - 1, reads n - 3 .. n - 1 and is right.
        (WHOLE, 3, 2, (1, 1), Extent(Fraction(2), margin=1)),
        # Two wrong pixels: 0 reads -1 .. 1, 1 reads 1 .. 3, 2 reads 3 .. 5.
        (Extent(Fraction(1), margin=2), 3, 2, (1, 1), Extent(Fraction(2), margin=2)),
        # Four pixels at a time, none shared.
        (WHOLE, 4, 4, (0, 0), Extent(Fraction(4))),
        (Extent(Fraction(2), margin=5), 4, 4, (0, 0), Extent(Fraction(8), margin=2)),
        # Kernel 4, stride 2, padding 1: pixel i reads 2 i - 1 .. 2 i + 2.
        (WHOLE, 4, 2, (1, 1), Extent(Fraction(2), margin=1)),
        # Padded more than the kernel needs, or less.
        (WHOLE, 3, 1, (3, 3), Extent(Fraction(1), 2, 2, 1)),
        (WHOLE, 3, 1, (0, 0), Extent(Fraction(1), -1, -1, 1)),
        # Padding only behind, as some frameworks do it at stride 2: pixel i reads 2 i .. 2 i + 2.
        (WHOLE, 3, 2, (0, 1), Extent(Fraction(2), margin=1)),
    ],
)
def test_sliding_kernels(extent: Extent, kernel: int, stride: int, pads: tuple[int, int], expected: Extent) -> None:
    assert slide(extent, kernel - 1, stride, pads) == expected


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "pads", "expected"),
    [
        # Two pixels for one, none shared.
        (Extent(Fraction(2)), 2, 2, (0, 0), WHOLE),
        (Extent(Fraction(2), margin=3), 2, 2, (0, 0), Extent(Fraction(1), margin=6)),
        # Kernel 4, stride 2, padding 1: pixel i goes to 2 i - 1 .. 2 i + 2, so that pixel -1 is missing in 0.
        (Extent(Fraction(2)), 4, 2, (1, 1), Extent(Fraction(1), margin=1)),
        # Wrong are 0 and 1: they go to -1 .. 4.
        (Extent(Fraction(2), margin=2), 4, 2, (1, 1), Extent(Fraction(1), margin=5)),
        # One pixel more on either side, whose four are cut off but for those that lie over the picture.
        (Extent(Fraction(2), 1, 1, 0), 4, 2, (3, 3), Extent(Fraction(1), margin=1)),
        # Nothing is cut off.
        (Extent(Fraction(2)), 4, 2, (0, 0), Extent(Fraction(1), 1, 1, 1)),
        # Kernel 3, stride 2: pixel i goes to 2 i .. 2 i + 2, one more behind than before.
        (Extent(Fraction(2)), 3, 2, (0, 0), Extent(Fraction(1), 0, 1, 1)),
        # As a convolution.
        (WHOLE, 3, 1, (1, 1), Extent(Fraction(1), margin=1)),
    ],
)
def test_spreading_kernels(extent: Extent, kernel: int, stride: int, pads: tuple[int, int], expected: Extent) -> None:
    assert spread(extent, kernel - 1, stride, pads) == expected


def test_padding_is_used_up_by_the_convolution_after_it() -> None:
    pad = helper.make_node("Pad", ["x", "pads"], ["padded"], mode="reflect")
    conv = helper.make_node("Conv", ["padded", "kernel"], ["y"])
    shapes = {"x": (1, 2, 8, 8), "padded": (1, 2, 10, 12), "y": (1, 2, 8, 8)}
    pads, kernel = np.array([0, 0, 1, 2, 0, 0, 1, 2]), np.zeros((2, 2, 3, 5))
    extents = walk([pad, conv], {"x": RIGHT}, around(shapes, pads=pads, kernel=kernel))
    assert extents["padded"] == (Extent(Fraction(1), 1, 1), Extent(Fraction(1), 2, 2))
    assert extents["y"] == (Extent(Fraction(1), margin=1), Extent(Fraction(1), margin=2))


def test_margins_add_up_and_scale() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["half"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["half", "kernel"], ["more"], dilations=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("DepthToSpace", ["more"], ["full"], blocksize=2),
        helper.make_node("Concat", ["full", "x"], ["both"], axis=1),
    ]
    shapes = {"half": (1, 4, 4, 4), "more": (1, 4, 4, 4), "full": (1, 1, 8, 8)}
    extents = walk(nodes, {"x": RIGHT}, around(shapes, kernel=np.zeros((4, 4, 3, 3))))
    assert extents["half"][0] == Extent(Fraction(2), margin=1)
    assert extents["more"][0] == Extent(Fraction(2), margin=3)
    assert extents["full"][0] == Extent(Fraction(1), margin=6)
    assert extents["both"][0] == Extent(Fraction(1), margin=6)


@pytest.mark.parametrize(
    ("attributes", "margin"),
    [
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 6),
        ({"mode": "nearest"}, 6),
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, 9),
    ],
)
def test_enlarging(attributes: dict[str, str], margin: int) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **attributes)
    surroundings = around({"x": (1, 2, 8, 8), "y": (1, 2, 24, 24)}, scales=np.array([1, 1, 3, 3]))
    extent = Extent(Fraction(6), margin=2)
    assert walk([node], {"x": (extent, extent)}, surroundings)["y"][0] == Extent(Fraction(2), margin=margin)


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, 16),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 16),
        ({"mode": "cubic"}, 16),
        ({"mode": "nearest"}, 12),
        ({"mode": "nearest"}, 4),
    ],
)
def test_resizing_that_does_not_fit_tiles(attributes: dict[str, str], side: int) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **attributes)
    surroundings = around({"x": (1, 2, 8, 8), "y": (1, 2, side, side)}, scales=np.ones(4))
    with pytest.raises(StyleError, match="is not by a whole factor"):
        walk([node], {"x": RIGHT}, surroundings)


def folds(
    middle: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...], made: tuple[int, ...]
) -> tuple[list[NodeProto], Surroundings]:
    nodes = [
        helper.make_node("Reshape", ["x", "six"], ["folded"]),
        helper.make_node("Transpose", ["folded"], ["swapped"], perm=order),
        helper.make_node("Reshape", ["swapped", "four"], ["y"]),
    ]
    shapes = {"x": shape, "folded": middle, "swapped": tuple(middle[axis] for axis in order), "y": made}
    return nodes, around(shapes, *nodes, six=np.array(middle), four=np.array(made))


def test_pixel_shuffles_as_torch_writes_them() -> None:
    extent = Extent(Fraction(1), margin=5)
    nodes, surroundings = folds((1, 3, 4, 2, 6, 2), (0, 1, 3, 5, 2, 4), (1, 3, 8, 12), (1, 12, 4, 6))
    assert walk(nodes, {"x": (extent, extent)}, surroundings)["y"][1] == Extent(Fraction(2), margin=3)
    nodes, surroundings = folds((1, 3, 2, 2, 8, 12), (0, 1, 4, 2, 5, 3), (1, 12, 8, 12), (1, 3, 16, 24))
    assert walk(nodes, {"x": (extent, extent)}, surroundings)["y"][1] == Extent(Fraction(1, 2), margin=10)


def test_other_reshapes_are_refused() -> None:
    # Rows are folded, columns are not.
    nodes, surroundings = folds((1, 3, 4, 2, 12, 1), (0, 1, 3, 5, 2, 4), (1, 3, 8, 12), (1, 6, 4, 12))
    with pytest.raises(StyleError, match="Reshape y changes"):
        walk(nodes, {"x": RIGHT}, surroundings)


def test_values_of_different_sizes_do_not_join() -> None:
    conv = helper.make_node("Conv", ["x", "kernel"], ["y"])
    add = helper.make_node("Add", ["x", "y"], ["z"])
    surroundings = around({"y": (1, 2, 6, 6)}, kernel=np.zeros((2, 2, 3, 3)))
    with pytest.raises(StyleError, match="Add z joins values of different sizes"):
        walk([conv, add], {"x": RIGHT}, surroundings)


def test_normalising_padding_is_refused() -> None:
    pad = helper.make_node("Pad", ["x", "pads"], ["padded"])
    norm = helper.make_node("InstanceNormalization", ["padded", "s", "b"], ["y"])
    surroundings = around({}, pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), s=np.ones(2), b=np.ones(2))
    with pytest.raises(StyleError, match="InstanceNormalization y counts padding"):
        walk([pad, norm], {"x": RIGHT}, surroundings)
