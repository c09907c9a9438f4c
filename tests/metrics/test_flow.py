"""Optical flow: the file form, following a flow, and where it can be trusted."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.io.images import read_frame
from fastnst.metrics.scenes import estimate_flow, find_visible, read_flow, still, warp

SHARED = Path(__file__).parents[3] / "shared"


def constant(height: int, width: int, across: float, down: float) -> np.ndarray:
    return np.full((height, width, 2), (across, down), np.float32)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft colors, so that a flow can be estimated on it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 2, width // 4 + 2, 3))
    fine = np.kron(coarse, np.ones((4, 4, 1)))
    soft = (fine[:-2, :-2] + fine[2:, :-2] + fine[:-2, 2:] + fine[2:, 2:]) / 4
    return soft[:height, :width].astype(np.uint8)


# Files


def test_read_flow_by_hand_and_as_opencv_writes_it(tmp_path: Path) -> None:
    # Two columns, one row: the pixels move by (1, -2) and (0.5, 4).
    file = tmp_path / "by_hand.flo"
    file.write_bytes(b"PIEH" + struct.pack("<ii", 2, 1) + struct.pack("<4f", 1, -2, 0.5, 4))
    assert read_flow(file).tolist() == [[[1, -2], [0.5, 4]]]
    flow = np.random.default_rng(0).normal(0, 3, (3, 5, 2)).astype(np.float32)
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), flow)
    np.testing.assert_array_equal(read_flow(tmp_path / "a.flo"), flow)
    file = tmp_path / "unknown.flo"
    file.write_bytes(b"PIEH" + struct.pack("<ii", 2, 1) + struct.pack("<4f", 1.6e9, 0, 0.5, 4))
    flow = read_flow(file)
    assert np.isnan(flow[0, 0]).all()
    assert flow[0, 1].tolist() == [0.5, 4]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an optical flow"),
        (b"JPEG" + bytes(40), "not an optical flow"),
        (b"PIEH" + struct.pack("<ii", 2, 1) + bytes(15), "cut short"),
        (b"PIEH" + struct.pack("<ii", 2, 1) + bytes(17), "damaged"),
        (b"PIEH" + struct.pack("<ii", -2, -1) + bytes(16), "damaged"),
        (b"PIEH" + struct.pack("<ii", 2**30, 2**30) + bytes(16), "damaged"),
    ],
)
def test_read_flow_refuses_what_is_no_whole_flow(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "bad.flo"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad.flo: .*{words}"):
        read_flow(file)


def test_read_flow_says_that_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.flo: No such file"):
        read_flow(tmp_path / "none.flo")


# Warping


def test_warp_by_hand() -> None:
    # Two channels. Half a pixel to the right and a quarter down from (0, 0):
    # 3/4 * (0 + 10)/2 + 1/4 * (20 + 40)/2 = 11.25 in the first, 7 everywhere in the second.
    second = np.array([[[0, 7], [10, 7]], [[20, 7], [40, 7]]], np.float32)
    warped, inside = warp(second, constant(2, 2, 0.5, 0.25))
    assert warped[0, 0].tolist() == [11.25, 7]
    assert inside.tolist() == [[True, False], [False, False]]


def test_warp_by_an_integer_shift_is_exact() -> None:
    wide = picture(24, 40)
    first, second = wide[2:22, 5:35], wide[:20, :30]
    # What is at (x, y) of the first is 5 to the right and 2 below in the second.
    warped, inside = warp(second, constant(20, 30, 5, 2))
    np.testing.assert_array_equal(warped[inside], first[inside].astype(np.float32))
    assert inside.sum() == 18 * 25


def test_warp_leaves_a_still_scene_and_its_arguments_alone_and_what_is_unknown_out() -> None:
    frame = picture(9, 11)
    warped, inside = warp(frame, still(9, 11))
    np.testing.assert_array_equal(warped, frame)
    assert inside.all()
    frame, flow = picture(6, 8), still(6, 8)
    flow[2, 3] = np.nan
    kept = frame.copy(), flow.copy()
    warped, inside = warp(frame, flow)
    assert not inside[2, 3]
    assert inside.sum() == 47
    assert np.isfinite(warped).all()
    np.testing.assert_array_equal(frame, kept[0])
    np.testing.assert_array_equal(flow, kept[1])


# Visibility


def test_a_flow_that_is_its_own_way_back_is_visible_up_to_the_border() -> None:
    visible = find_visible(constant(10, 12, 3, 0), constant(10, 12, -3, 0))
    assert visible[:, :9].all()
    assert not visible[:, 9:].any()


def test_what_the_way_back_does_not_bring_home_is_covered() -> None:
    # Forward everything moves by 4 to the right; in columns 10 to 13 of the second frame something still lies on top.
    forward, backward = constant(8, 24, 4, 0), constant(8, 24, -4, 0)
    backward[:, 10:14] = 0
    visible = find_visible(forward, backward)
    assert not visible[:, 6:10].any()
    assert visible[:, :6].all()
    assert visible[:, 10:20].all()


@pytest.mark.parametrize(("error", "expected"), [(0.7, True), (0.72, False)])
def test_the_threshold_of_a_still_scene_is_half_a_square_pixel(error: float, expected: bool) -> None:
    # |w + w'|^2 <= 0.01 (|w|^2 + |w'|^2) + 0.5 with w = 0 and w' = (error, 0): error^2 * 0.99 <= 0.5, error <= 0.7107.
    assert find_visible(still(4, 4), constant(4, 4, error, 0)).all() == expected


def test_motion_boundaries_are_left_out() -> None:
    # A step of 1 px in the horizontal flow: central differences of 1/2 beside it, and (1/2)^2 > 0.002 + 0.01 * 1.
    forward = still(6, 20)
    forward[:, 10:, 0] = 1
    visible = find_visible(forward, -forward)
    assert not visible[:, 9:11].any()
    assert visible[:, :9].all()
    assert visible[:, 11:19].all()


def test_unknown_flow_is_not_visible() -> None:
    forward = still(6, 8)
    forward[1, 1] = np.nan
    assert not find_visible(forward, still(6, 8))[1, 1]
    assert not find_visible(still(6, 8), forward)[1, 1]


# Estimating


def test_estimate_flow_finds_a_shift() -> None:
    wide = picture(90, 110)
    first, second = wide[3:83, 5:105], wide[:80, :100]
    flow = estimate_flow(first, second)
    assert flow.shape == (80, 100, 2)
    assert np.median(flow, axis=(0, 1)) == pytest.approx([5, 3], abs=0.1)


def test_estimate_flow_names_the_sizes_it_cannot_use() -> None:
    with pytest.raises(InputError, match="20x18 and 20x19"):
        estimate_flow(picture(18, 20), picture(19, 20))
    with pytest.raises(InputError, match="at least 16 px"):
        estimate_flow(picture(15, 20), picture(15, 20))


@pytest.mark.real
def test_estimated_flow_is_near_the_true_one_where_it_is_trusted() -> None:
    folder = SHARED / "flow" / "rubberwhale"
    if not folder.is_dir():
        pytest.skip("no ../shared/flow here")
    first, second = read_frame(folder / "frame10.png"), read_frame(folder / "frame11.png")
    true = read_flow(folder / "flow10.flo")
    assert np.isnan(true).any()
    forward, backward = estimate_flow(first, second), estimate_flow(second, first)
    visible = find_visible(forward, backward)
    error = np.linalg.norm(forward - true, axis=2)
    assert np.nanmean(error[visible]) < 0.1
    assert visible.mean() > 0.85
