"""Synthetic motion: the flow is what the pixels really do."""

import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.io.images import Frame
from fastnst.metrics.scenes import MOTIONS, Motion, estimate_flow, moving_scene, moving_scenes, noisy_scene, warp


def ramp(height: int, width: int) -> Frame:
    """Red is the column, green the row, twice each: a picture that says where its pixels come from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([2 * columns, 2 * rows, 0 * rows], axis=2).astype(np.uint8)


def waves(height: int, width: int) -> Frame:
    rows, columns = np.mgrid[:height, :width]
    soft = [np.sin(columns / 5) * np.cos(rows / 7), np.sin(rows / 6), np.cos((rows + columns) / 9)]
    return (127 + 100 * np.stack(soft, axis=2)).astype(np.uint8)


def test_a_translation_moves_the_picture_to_the_right_and_down_by_hand() -> None:
    # A window of 80 x 64 in a picture of 100 x 80, both about their middle pixels: the first pixel is (10, 8).
    scene = moving_scene("ramp", ramp(80, 100), Motion("move", shift=(3, 1)), frames=3, long_side=80)
    assert [frame.shape for frame in scene.frames] == [(64, 80, 3)] * 3
    assert scene.frames[0][0, 0].tolist() == [2 * 10, 2 * 8, 0]
    assert scene.frames[1][0, 0].tolist() == [2 * 7, 2 * 7, 0]
    assert scene.frames[2][0, 0].tolist() == [2 * 4, 2 * 6, 0]
    assert len(scene.flows) == 2
    np.testing.assert_array_equal(scene.flows[0], np.full((64, 80, 2), (3, 1)))
    # What moves out on the right and below is not visible.
    assert scene.visible[0].sum() == 77 * 63
    assert not scene.visible[0][:, 77:].any()


def test_a_zoom_moves_pixels_away_from_the_middle_by_hand() -> None:
    scene = moving_scene("ramp", ramp(80, 100), Motion("grow", zoom=1.1), frames=2, long_side=80)
    # The middle pixel, (40, 32), stays; 10 to the right of it is 11 to the right in the next frame.
    assert scene.flows[0][32, 40] == pytest.approx([0, 0], abs=1e-6)
    assert scene.flows[0][32, 50] == pytest.approx([1, 0], abs=1e-5)
    assert scene.flows[0][22, 40] == pytest.approx([0, -1], abs=1e-5)


def test_a_quarter_turn_is_clockwise_by_hand() -> None:
    scene = moving_scene("ramp", ramp(100, 100), Motion("turn", degrees=90), frames=2, long_side=80)
    # 10 to the right of the middle (40, 40) goes to 10 below it: from (50, 40) to (40, 50).
    assert scene.flows[0][40, 50] == pytest.approx([-10, 10], abs=1e-4)
    assert scene.frames[1][50, 40].tolist() == scene.frames[0][40, 50].tolist()


@pytest.mark.parametrize("motion", [*MOTIONS, Motion("all", shift=(1.3, -0.7), zoom=1.02, degrees=-1.5)])
def test_warping_each_frame_back_gives_the_one_before(motion: Motion) -> None:
    scene = moving_scene("waves", waves(120, 160), motion, frames=4, long_side=128)
    for first, second, flow, visible in zip(scene.frames, scene.frames[1:], scene.flows, scene.visible, strict=False):
        warped, _ = warp(second, flow)
        assert np.abs(warped - first)[visible].max() < 4.5  # twice resampled and rounded
        unwarped = np.abs(second.astype(int) - first)[visible].mean()
        assert np.abs(warped - first)[visible].mean() < 0.5 * unwarped


def test_whole_pixels_are_not_resampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    scene = moving_scene("noise", noise, MOTIONS[0], frames=3, long_side=88)
    warped, _ = warp(scene.frames[1], scene.flows[0])
    np.testing.assert_array_equal(warped[scene.visible[0]], scene.frames[0][scene.visible[0]])


def test_the_flow_agrees_with_an_estimated_one() -> None:
    scene = moving_scene("waves", waves(150, 150), Motion("turn", degrees=2), frames=2, long_side=120)
    estimated = estimate_flow(scene.frames[0], scene.frames[1])
    inner = (slice(20, -20), slice(20, -20))
    assert np.abs(estimated - scene.flows[0])[inner].mean() < 0.1


def test_a_motion_that_leaves_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="6 frames of move leave the picture"):
        moving_scene("ramp", ramp(80, 100), Motion("move", shift=(3, 0)), frames=6, long_side=80)


def test_noise_has_the_strength_asked_for_and_is_that_of_its_seed() -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    scene = noisy_scene("grey", grey, frames=3, long_side=80)
    # Rounding to whole levels adds 1/12: sqrt(4 + 1/12) = 2.02.
    assert [frame.std() for frame in scene.frames] == pytest.approx([2.02] * 3, rel=0.03)
    difference = scene.frames[1].astype(int) - scene.frames[0]
    assert difference.std() == pytest.approx(2.02 * np.sqrt(2), rel=0.03)
    assert not scene.flows[0].any()
    assert scene.visible[0].all()
    grey = np.full((20, 20, 3), 128, np.uint8)
    first, again = (noisy_scene("grey", grey, frames=2, long_side=20, seed=1) for _ in range(2))
    other = noisy_scene("grey", grey, frames=2, long_side=20, seed=2)
    np.testing.assert_array_equal(first.frames[1], again.frames[1])
    assert (first.frames[1] != other.frames[1]).any()


def test_moving_scenes_shows_each_picture_in_each_motion() -> None:
    scenes = moving_scenes([("a", waves(100, 130)), ("b", waves(130, 100))], frames=2, long_side=96)
    assert [scene.name for scene in scenes[:4]] == ["a translation", "a zoom", "a rotation", "a"]
    assert [scene.kind for scene in scenes[3:5]] == ["noise", "synthetic motion"]
    assert len(scenes) == 8
    assert max(scenes[0].frames[0].shape) == max(scenes[3].frames[0].shape) == 96
