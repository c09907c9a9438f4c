"""Passes, what is kept between them, and where the tiles lie."""

from itertools import chain

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from fastnst.errors import StyleError
from fastnst.tiling.painting import TileGrid
from fastnst.tiling.planning import Passes, TilingPlan, make_plan, norm_levels
from fastnst.tiling.tileable import Tileable

# Two normalisations one after the other with a residual sum, and one beside them, at half size.
GRAPH = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <
    int64[8] ring = {0, 0, 1, 1, 0, 0, 1, 1}, float[4] twice = {1, 1, 2, 2}
> {
    planes = Transpose <perm = [0, 3, 1, 2]> (frame)
    image = Cast <to = 1> (planes)
    c0 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (image, k0)
    n0 = InstanceNormalization (c0, s, b)
    padded = Pad <mode = "reflect"> (n0, ring)
    c1 = Conv (padded, k1)
    n1 = InstanceNormalization (c1, s, b)
    sum = Add (n0, n1)
    large = Resize <mode = "nearest"> (sum, , twice)
    c2 = Conv (large, k2)
    beside = Conv <pads = [1, 1, 1, 1]> (image, k3)
    n2 = InstanceNormalization (beside, t, t)
    raw = Add (c2, n2)
    whole = Cast <to = 2> (raw)
    stylized = Transpose <perm = [0, 2, 3, 1]> (whole)
}"""
KERNELS = {"k0": (8, 3, 3, 3), "k1": (8, 8, 3, 3), "k2": (3, 8, 1, 1), "k3": (3, 3, 3, 3)}
PIXELS = 1000 * 1000


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Tileable:
    model = parser.parse_model('<ir_version: 10, opset_import: ["" : 18]>' + GRAPH)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 0.1, shape) for name, shape in KERNELS.items()}
    tensors |= {"s": np.ones(8), "b": np.zeros(8), "t": np.ones(3)}
    for name, values in tensors.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    onnx.save(model, path)
    return Tileable.load(path)


def convolutions(plan: TilingPlan) -> list[list[str]]:
    return [[node.output[0] for node in each.nodes if node.op_type == "Conv"] for each in plan.passes]


def test_norms_by_level(network: Tileable) -> None:
    levels = [[norm.source for norm in level] for level in norm_levels(network)]
    assert levels == [["c0", "beside"], ["c1"]]


def test_numbers_and_multiplications_per_pixel(network: Tileable) -> None:
    assert network.cell == (2, 2)
    assert network.density["frame"] == 3
    assert network.density["c0"] == 8 / 4
    by_name = {node.output[0]: node for node in network.graph.nodes}
    assert network.macs(by_name["c0"]) == 2 * 27
    assert network.macs(by_name["n0"]) == 0


def test_with_room_nothing_is_computed_twice(network: Tileable) -> None:
    plan = make_plan(network, PIXELS, room=1e9, disk=0)
    assert sorted(chain(*convolutions(plan))) == ["beside", "c0", "c1", "c2"]
    assert convolutions(plan)[-1] == ["c2"]
    assert [[norm.source for norm in each.norms] for each in plan.passes] == [["c0", "beside"], ["c1"], []]
    assert plan.disk == 0


def test_without_room_everything_is_computed_again(network: Tileable) -> None:
    plan = make_plan(network, PIXELS, room=0, disk=0)
    assert convolutions(plan) == [["c0", "beside"], ["c0", "c1"], ["c0", "c1", "c2", "beside"]]
    assert all(each.reads == ("frame",) and each.writes == () for each in plan.passes)
    assert plan.memory == plan.disk == 0


def test_maps_that_are_kept_are_read_and_not_made_again(network: Tileable) -> None:
    kept = frozenset(["c0", "c1"])
    passes = Passes(network, norm_levels(network)).keeping(kept)
    assert [each.reads for each in passes] == [("frame",), ("c0",), ("c0", "c1", "frame")]
    assert [each.writes for each in passes] == [("c0",), ("c1",), ()]


@pytest.mark.parametrize("room", [0, 3e6, 5e6, 9e6, 1e9])
def test_plans_stay_within_room_and_disk(network: Tileable, room: float) -> None:
    plan = make_plan(network, PIXELS, room, disk=5e6)
    assert plan.memory <= room
    assert plan.disk <= 5e6


def test_more_room_costs_no_more_time(network: Tileable) -> None:
    times = [make_plan(network, PIXELS, room, disk=0).elapsed_s for room in (0, 4e6, 8e6, 1e9)]
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


def test_a_pass_reaches_as_far_as_its_kernels(network: Tileable) -> None:
    first, second, last = make_plan(network, PIXELS, room=1e9, disk=0).passes
    assert first.halo == second.halo == (2, 2)
    # A kernel of 1 after the maps that were kept.
    assert last.halo == (0, 0)


def test_a_picture_that_is_not_extended_is_refused(network: Tileable) -> None:
    """This graph has no pads by size: odd sides do not fit its stride."""
    assert network.prepare(np.zeros((66, 80, 3), np.uint8)).shape == (66, 80, 3)
    with pytest.raises(StyleError, match="does not extend"):
        network.prepare(np.zeros((65, 80, 3), np.uint8))


@pytest.mark.parametrize("size", [(4, 4), (64, 64), (68, 4000), (1000, 1500), (4320, 7680)])
@pytest.mark.parametrize("workers", [1, 3])
def test_tiles_cover_the_picture(size: tuple[int, int], workers: int) -> None:
    grid = TileGrid.over(size, (4, 4), tile=250, workers=workers)
    for edges, side in ((grid.rows, size[0]), (grid.columns, size[1])):
        widths = np.diff(edges)
        assert (edges[0], edges[-1]) == (0, side)
        assert widths.min() > 0
        assert widths.max() <= 250
        assert widths.max() - widths.min() <= 4
        assert not (np.array(edges) % 4).any()
    tiles = len(grid.columns) - 1
    assert tiles == 1 or tiles % workers == 0
