import pytest
import torch
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.exact.pyramid import Level, enlarge, plan_levels, repaint
from fastnst.exact.settings import OptimizeSettings


def plan(**changes: object) -> list[tuple[int, int]]:
    return [(level.long_side, level.steps) for level in plan_levels(OptimizeSettings(**changes))]


def test_levels_by_hand() -> None:
    # Each level is twice as large and gets half the steps.
    assert plan(size=800, scales=3, steps=100) == [(200, 100), (400, 50), (800, 25)]
    assert plan(size=512, scales=3, scale_factor=2**0.5, steps=100) == [(256, 100), (362, 71), (512, 50)]


def test_scales_follow_from_the_size() -> None:
    assert plan(size=512) == [(512, 300)]
    assert plan(size=64) == [(64, 300)]
    assert plan(size=1022) == [(1022, 300)]
    assert plan(size=1024) == [(512, 300), (1024, 150)]
    assert plan(size=4096) == [(512, 300), (1024, 150), (2048, 75), (4096, 38)]


def test_every_level_has_a_step() -> None:
    assert plan(size=2048, steps=1) == [(512, 1), (1024, 1), (2048, 1)]


@pytest.mark.parametrize("changes", [{"size": 64, "scales": 8}, {"size": 64, "scales": 4, "scale_factor": 1.001}])
def test_more_scales_than_pixels(changes: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"--scales \d by a factor of .* pixels at the smallest; give fewer scales"):
        plan_levels(OptimizeSettings(**changes))


def test_levels_are_values() -> None:
    assert Level(8, 2) == Level(long_side=8, steps=2)


def test_enlarging_keeps_a_slope() -> None:
    # Pixels of width 1 and 1/2 over the same ground: away from the edges the slope halves.
    ramp = torch.arange(8.0).expand(1, 2, 6, 8)
    enlarged = enlarge(ramp, (12, 16))
    assert enlarged.shape == (1, 2, 12, 16)
    assert_close(enlarged[0, 0, 3, 4:12], torch.arange(1.75, 5.5, 0.5))


def test_repainting_lays_the_change_over_the_larger_photo() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 8, 12, generator=generator) / 2
    small = enlarge(photo, (4, 6)).clamp(0, 1)
    # Nothing changed: the photo itself, with all its detail. Brighter by 1/4 everywhere: the photo, brighter by 1/4.
    assert_close(repaint(small, small, photo), photo)
    assert_close(repaint(small + 0.25, small, photo), photo + 0.25)
    assert repaint(small + 9, small, photo).max() == 1
