"""The size that holds the frame rate, with painting times made up."""

import itertools

import pytest

from fastnst.webcam.inference_thread import Size, SizeKeeper, sizes_below

CAMERA = (720, 1280)


def run(keeper: SizeKeeper, seconds: float, ms_per_megapixel: float, *, begin_s: float = 0, fps: float = 30) -> list:
    """Paint for a while in a time that goes by the number of pixels; gives (time, size) at each change."""
    now_s, changes = begin_s, []
    while now_s < begin_s + seconds:
        size = keeper.size
        elapsed_ms = ms_per_megapixel * size[0] * size[1] / 1e6
        now_s += max(elapsed_ms / 1000, 1 / fps)
        keeper.note(elapsed_ms, now_s)
        if keeper.size != size:
            changes.append((now_s, keeper.size))
    return changes


def keeper(camera: Size = CAMERA, fps: float = 30, long_side: int | None = None) -> SizeKeeper:
    made = SizeKeeper(fps, long_side=long_side)
    made.fit(camera)
    return made


def test_sizes_by_hand() -> None:
    # 16:9: 160 x 90 -> 96; 176 x 99 -> 96; 192 x 108 -> 112. The camera's own size is last, whatever it is.
    assert sizes_below((117, 208)) == [(96, 160), (96, 176), (112, 192), (117, 208)]
    assert sizes_below((208, 117))[:2] == [(160, 96), (176, 96)]
    assert sizes_below((100, 120)) == [(100, 120)]
    assert all(side % 16 == 0 for size in sizes_below(CAMERA)[:-1] for side in size)


def test_a_quick_network_paints_at_the_cameras_size_within_a_second() -> None:
    sizes = keeper()
    changes = run(sizes, 1, ms_per_megapixel=15)
    assert sizes.size == CAMERA
    assert len(changes) == 1


def test_a_slow_network_is_given_what_it_can_paint_in_time() -> None:
    sizes = keeper()
    run(sizes, 10, ms_per_megapixel=300)
    painted_ms = 300 * sizes.size[0] * sizes.size[1] / 1e6
    assert 0.6 * 30 < painted_ms <= 30


def test_a_steady_load_changes_nothing_any_more() -> None:
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=300)
    assert run(sizes, 100, ms_per_megapixel=300, begin_s=5) == []


def test_the_size_falls_quickly_and_grows_again_when_there_is_room() -> None:
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=100)
    before = sizes.size
    falls = run(sizes, 3, ms_per_megapixel=400, begin_s=5)
    assert falls[0][0] < 5.5
    fallen = sizes.size
    assert fallen < before
    grows = run(sizes, 10, ms_per_megapixel=100, begin_s=8)
    assert fallen < grows[0][1]
    assert sizes.size == before


def test_just_over_the_budget_falls_by_a_step_and_just_under_stays() -> None:
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(20):
        sizes.note(29.9, number / 30)  # the budget is 0.9 / 30 s = 30 ms
    assert sizes.size == (480, 640)
    for number in range(20):
        sizes.note(30.1, 1 + number / 30)
    assert sizes.size < (480, 640)


def test_three_far_too_slow_pictures_are_enough_but_the_first_of_a_size_does_not_count() -> None:
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(3):
        sizes.note(200.0, number / 5)
    assert sizes.size == (480, 640)
    sizes.note(200.0, 1)
    assert sizes.size < (480, 640)


def test_single_slow_pictures_change_nothing() -> None:
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(60):
        sizes.note(200.0 if number % 5 == 0 else 25.0, number / 30)
    assert sizes.size == (480, 640)


def test_never_below_the_smallest_nor_above_the_camera() -> None:
    slow, quick = keeper(), keeper()
    run(slow, 20, ms_per_megapixel=100_000)
    assert slow.size == (96, 160)
    run(quick, 20, ms_per_megapixel=0.001)
    assert quick.size == CAMERA


def test_growing_that_had_to_be_taken_back_is_tried_less_and_less_often() -> None:
    # Four times as slow above 640 pixels: larger sizes look affordable from below and are not.
    sizes, now_s, grown = keeper(), 0.0, []
    while now_s < 120:
        before = sizes.size
        elapsed_ms = before[0] * before[1] / 1e6 * (80 if max(before) <= 640 else 320)
        now_s += max(elapsed_ms / 1000, 1 / 30)
        sizes.note(elapsed_ms, now_s)
        if sizes.size > before:
            grown.append(now_s)
    pauses = [later - earlier for earlier, later in itertools.pairwise(grown)]
    assert len(grown) < 10
    assert pauses[-1] > 2 * pauses[1]


def test_a_fixed_size_stays() -> None:
    sizes = keeper(long_side=320)
    assert sizes.size == (180, 320)
    run(sizes, 5, ms_per_megapixel=100_000)
    assert sizes.size == (180, 320)
    assert keeper((100, 120), long_side=320).size == (100, 120)


def test_another_camera_has_other_sizes() -> None:
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=100)
    sizes.fit((480, 640))
    assert max(sizes.size) <= 640
    assert sizes.size in sizes_below((480, 640))
    sizes.fit((480, 640))


@pytest.mark.parametrize("restart", [True, False])
def test_another_network_may_grow_at_once(restart: bool) -> None:
    sizes = keeper()
    run(sizes, 10, ms_per_megapixel=3000)
    sizes._may_grow_s = 1000.0
    if restart:
        sizes.restart()
    changes = run(sizes, 1, ms_per_megapixel=10, begin_s=10)
    assert bool(changes) is restart
