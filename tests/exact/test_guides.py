import numpy as np
import torch

from fastnst.exact.regions import region_positions

SIZES = {"relu1_1": (16, 32), "relu2_1": (8, 16), "relu3_1": (4, 8)}


def halves(height: int = 16, width: int = 32) -> np.ndarray:
    """Left half 0, right half 1."""
    labels = np.zeros((height, width), np.int64)
    labels[:, width // 2 :] = 1
    return labels


def columns(positions: torch.Tensor, width: int) -> list[int]:
    return sorted(set((positions % width).tolist()))


def test_without_a_guard_every_position_belongs_to_one_region() -> None:
    found = region_positions(halves(), 2, SIZES, 0.0)
    for layer, (height, width) in SIZES.items():
        assert columns(found[0][layer], width) == list(range(width // 2))
        assert sorted(torch.cat([part[layer] for part in found]).tolist()) == list(range(height * width))


def test_the_guard_leaves_out_what_sees_the_neighbour_by_hand() -> None:
    # relu1_1: one mean over 3: the column at the border sees 2/3. relu2_1: two means over 3: weights 1 2 3 2 1 of 9,
    # so that the column at the border sees 6/9, the next one 8/9. relu3_1: three means: 1 3 6 7 6 3 1 of 27.
    found = region_positions(halves(), 2, SIZES, 0.7)
    assert columns(found[0]["relu1_1"], 32) == list(range(15))
    assert columns(found[1]["relu1_1"], 32) == list(range(17, 32))
    assert columns(found[0]["relu2_1"], 16) == list(range(7))
    assert columns(found[0]["relu3_1"], 8) == [0, 1, 2]  # the border sees 17/27, the next 23/27
    stricter = region_positions(halves(), 2, SIZES, 0.9)
    assert columns(stricter[0]["relu2_1"], 16) == list(range(6))


def test_the_pictures_own_border_is_no_border_of_a_region() -> None:
    found = region_positions(np.zeros((16, 32), np.int64), 1, SIZES, 1.0)
    assert all(len(found[0][layer]) == height * width for layer, (height, width) in SIZES.items())


def test_a_small_region_falls_back_to_what_sees_it_most() -> None:
    labels = np.zeros((16, 32), np.int64)
    labels[4:8, 8:16] = 1
    found = region_positions(labels, 2, SIZES, 0.9)
    assert len(found[1]["relu1_1"]) == 2 * 6  # less a margin of one
    assert found[1]["relu3_1"].tolist() == [8 + 2, 8 + 3]
    assert all(set(found[0][layer].tolist()).isdisjoint(found[1][layer].tolist()) for layer in SIZES)


def test_a_region_too_small_for_a_layer_is_left_out_there() -> None:
    labels = np.zeros((16, 32), np.int64)
    labels[5:7, 9:11] = 1  # in no layer's area the most, but the first's
    found = region_positions(labels, 3, SIZES, 0.5)
    assert len(found[1]["relu1_1"]) == 4
    assert "relu3_1" not in found[1]
    assert found[2] == {}


def test_sizes_that_halve_unevenly() -> None:
    found = region_positions(halves(17, 31), 2, {"relu1_1": (17, 31), "relu2_1": (8, 15)}, 0.0)
    assert len(found[0]["relu2_1"]) + len(found[1]["relu2_1"]) == 8 * 15


def test_what_a_region_fills_just_as_much_as_the_guard_asks_for_is_safe() -> None:
    # All of it, at 1.0: what sees the neighbour goes, what sees none of it stays.
    found = region_positions(halves(), 2, SIZES, 1.0)
    assert columns(found[0]["relu1_1"], 32) == list(range(15))
    assert columns(found[1]["relu1_1"], 32) == list(range(17, 32))
    assert columns(found[0]["relu2_1"], 16) == list(range(6))
    assert columns(found[0]["relu3_1"], 8) == [0]
