"""The settings of the exact method, and the sizes that follow from them."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.exact import pyramid
from fastnst.exact.engine import optimize
from fastnst.exact.pyramid import (
    Footprint,
    Level,
    MemoryPlan,
    enlarge,
    measure_footprint,
    plan_levels,
    plan_memory,
    repaint,
)
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network


def plan(**changes: object) -> list[tuple[int, int]]:
    return [(level.long_side, level.steps) for level in plan_levels(OptimizeSettings(**changes))]


def test_levels_by_hand() -> None:
    # Each level is twice as large and gets half the steps.
    assert plan(size=800, pyramid_levels=3, steps=100) == [(200, 100), (400, 50), (800, 25)]
    assert plan(size=512, pyramid_levels=3, pyramid_factor=2**0.5, steps=100) == [(256, 100), (362, 71), (512, 50)]
    assert plan(size=512) == [(512, 300)]
    assert plan(size=64) == [(64, 300)]
    assert plan(size=1022) == [(1022, 300)]
    assert plan(size=1024) == [(512, 300), (1024, 150)]
    assert plan(size=4096) == [(512, 300), (1024, 150), (2048, 75), (4096, 38)]
    assert plan(size=2048, steps=1) == [(512, 1), (1024, 1), (2048, 1)]
    assert Level(8, 2) == Level(long_side=8, steps=2)


@pytest.mark.parametrize(
    "changes", [{"size": 64, "pyramid_levels": 8}, {"size": 64, "pyramid_levels": 4, "pyramid_factor": 1.001}]
)
def test_more_scales_than_pixels(changes: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"--pyramid-levels \d by a factor of .* pixels at the smallest; give fewer"):
        plan_levels(OptimizeSettings(**changes))


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


def test_defaults_are_valid_and_frozen_and_one_weight_is_enough() -> None:
    settings = OptimizeSettings()
    assert settings.optimizer == "lbfgs"
    assert settings.normalization == "balanced"
    with pytest.raises(AttributeError):
        settings.steps = 3
    OptimizeSettings(content_weight=0.0)
    OptimizeSettings(style_weight=0.0, init=Path("start.png"), style_size=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps is 0; expected at least 1"),
        ({"size": -1}, "--size is -1; expected at least 1"),
        ({"style_size": 0}, "--style-size is 0; expected at least 1"),
        ({"pyramid_levels": 0}, "--pyramid-levels is 0; expected at least 1"),
        ({"pyramid_factor": 1.0}, "--pyramid-factor is 1.0; expected a number above 1"),
        ({"history": 0}, "--history is 0; expected at least 1"),
        ({"save_every": -1}, "--save-every is -1; expected at least 0"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected a number above 0"),
        ({"learning_rate": math.nan}, "--learning-rate is nan; expected a number above 0"),
        ({"learning_rate_end": 0.0}, "--learning-rate-end is 0.0; expected a number above 0"),
        ({"learning_rate_steps": 0}, "--learning-rate-steps is 0; expected at least 1"),
        ({"stroke": 0.0}, "--stroke is 0.0; expected a number above 0"),
        ({"adam_beta1": 1.0}, "--adam-beta1 is 1.0; expected a number from 0 to below 1"),
        ({"adam_epsilon": math.inf}, "--adam-epsilon is inf; expected a number above 0"),
        ({"style_weight": -1.0}, "--style-weight is -1.0; expected 0 or more"),
        ({"content_weight": math.inf}, "--content-weight is inf; expected 0 or more"),
        ({"tv_weight": math.nan}, "--tv-weight is nan; expected 0 or more"),
        ({"content_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.0}, "all weights are 0"),
    ],
)
def test_impossible_settings(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        OptimizeSettings(**changes)


CPU = torch.device("cpu")


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, size=100, tv_weight=OptimizeSettings().tv_weight)


def square(long_side: int) -> tuple[int, int]:
    return long_side**2, long_side**2


@pytest.fixture
def empty_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "held_bytes", lambda: 0)


def test_what_a_step_keeps_grows_with_the_pixels_and_is_less_in_half_precision(settings: OptimizeSettings) -> None:
    loss = PerceptualLoss(load_loss_network(settings)[0], settings)
    footprint = measure_footprint(loss, None, CPU)
    # Channels kept at each pixel, float32: relu1_1 and relu1_2 with 64 each, pool1 with 64/4, relu2_1 with 128/4;
    # besides differences from references and the image itself; on the way back gradients of relu1_1 and relu2_1, and
    # of what goes into and comes out of the widest.
    kept = footprint.per_pixel - 4 * (64 + 32 + 2 * 64)
    assert 4 * (64 + 64 + 16 + 32) <= kept <= 1.3 * 4 * (64 + 64 + 16 + 32)
    # relu1_1 and relu2_1, and the widest again.
    assert footprint.reference_per_pixel == 4 * (64 + 32 + 64)
    loss = PerceptualLoss(load_loss_network(settings)[0], settings)
    assert measure_footprint(loss, torch.bfloat16, CPU).per_pixel < measure_footprint(loss, None, CPU).per_pixel


@pytest.mark.usefixtures("empty_process")
def test_a_plan_by_hand() -> None:
    # 10,000 pixels: 1000 bytes each for the step, and images of 12 bytes each: 9, 2 of lbfgs, 2 x 20 steps remembered.
    settings = OptimizeSettings(size=100, history=20, max_memory=1)
    plan = plan_memory(Footprint(5e5, 1000, 10), settings, square, CPU)
    assert plan == MemoryPlan(500_000 + 10_000 * (1000 + 12 * (9 + 2 + 40)), 10**9, 20)
    adam = plan_memory(Footprint(5e5, 1000, 10), replace(settings, optimizer="adam"), square, CPU)
    assert adam.peak_bytes == 500_000 + 10_000 * (1000 + 12 * (9 + 3))
    # Three steps remember no more than three.
    short = plan_memory(Footprint(5e5, 1000, 10), replace(settings, steps=3), square, CPU)
    assert short == MemoryPlan(500_000 + 10_000 * (1000 + 12 * (9 + 2 + 6)), 10**9, 20)
    # A style picture of a thousand times the pixels is dearer to measure than a step.
    large = plan_memory(Footprint(0, 1000, 10), settings, lambda side: (side**2, 1000 * side**2), CPU)
    assert large.peak_bytes == 12 * 10_000 + 1000 * 10_000 * (10 + 12)


@pytest.mark.usefixtures("empty_process")
def test_lbfgs_forgets_where_memory_is_short() -> None:
    footprint = Footprint(0, 1000, 10)
    settings = OptimizeSettings(size=100, history=20)
    whole = 10_000 * (1000 + 12 * (9 + 2 + 40))
    for less, history in ((0, 20), (1, 19), (2 * 12 * 10_000, 19), (2 * 12 * 10_000 + 1, 18), (3_600_000, 5)):
        plan = plan_memory(footprint, replace(settings, max_memory=(whole - less + 0.5) / 1e9), square, CPU)
        assert plan.history == history
        assert plan.peak_bytes <= whole - less


@pytest.mark.usefixtures("empty_process")
def test_what_does_not_fit_is_refused_with_what_would() -> None:
    footprint = Footprint(0, 1_000_000, 10)
    settings = OptimizeSettings(size=100, max_memory=4.9)
    with pytest.raises(SettingError) as caught:
        plan_memory(footprint, settings, square, CPU)
    message = str(caught.value)
    # 69 x 69 pixels of 1,000,252 bytes each are 4.76 GB, 70 x 70 are 4.90123.
    assert message == ("--size 100 takes about 10.00 GB of memory, 4.90 GB are allowed by --max-memory; --size 69 fits")
    plan_memory(footprint, replace(settings, size=69), square, CPU)
    with pytest.raises(SettingError, match=r"even --size 32 takes 1\.02 GB"):
        plan_memory(footprint, replace(settings, max_memory=0.5), square, CPU)


@pytest.mark.usefixtures("empty_process")
def test_an_enormous_size_is_refused_at_once() -> None:
    asked: list[int] = []

    def noted(size: int) -> tuple[int, int]:
        asked.append(size)
        return square(size)

    with pytest.raises(SettingError, match="--size 69 fits"):
        plan_memory(Footprint(0, 1_000_000, 10), OptimizeSettings(size=10**8, max_memory=4.9), noted, CPU)
    assert len(asked) < 100


def test_a_style_picture_too_large_for_any_photo(settings: OptimizeSettings, photos: Path, style_picture: Path) -> None:
    frames = read_frame(photos / "photo0.png"), read_frame(style_picture)
    with pytest.raises(SettingError) as caught:
        optimize(*frames, replace(settings, size=64, style_size=10**5, steps=2))
    first, even, remedy = re.findall(
        r"takes about ([\d.]+) GB|takes ([\d.]+) GB;|(give a smaller.*)", str(caught.value)
    )
    assert float(first[0]) == pytest.approx(float(even[1]), rel=0.01)
    assert remedy[2] == "give a smaller --style-size or --stroke"


@pytest.mark.usefixtures("empty_process")
def test_what_is_free_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    footprint, settings = Footprint(0, 1000, 10), OptimizeSettings(size=100)
    monkeypatch.setattr(pyramid, "available_memory", lambda: 10_000_000)
    with pytest.raises(SettingError, match=r"0\.01 GB are free"):
        plan_memory(footprint, settings, square, CPU)
    monkeypatch.setattr(pyramid, "available_memory", lambda: None)
    assert plan_memory(footprint, settings, square, CPU).limit_bytes is None


def test_optimize_tells_its_plan_first(settings: OptimizeSettings, photos: Path, style_picture: Path) -> None:
    told: list[object] = []
    frames = read_frame(photos / "photo0.png"), read_frame(style_picture)
    optimize(*frames, replace(settings, steps=2), on_plan=told.append, callback=told.append)
    assert isinstance(told[0], MemoryPlan)
    assert len(told) == 3
    with pytest.raises(SettingError, match="GB are allowed by --max-memory"):
        optimize(*frames, replace(settings, max_memory=0.01), callback=told.append)
    assert len(told) == 3


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process holds")
def test_the_estimate_is_near_the_peak(loss_weights: Path, photos: Path, style_picture: Path) -> None:
    code = f"""
import json
from pathlib import Path
from fastnst.exact.pyramid import held_bytes
from fastnst.exact.engine import optimize
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame
from fastnst.machine import peak_memory_mb

settings = OptimizeSettings(
    size=400, enlarge=True, style_size=64, pyramid_levels=1, steps=5, history=4, precision="float32",
    content_layers=("relu2_1",), style_layers=("relu1_1", "relu2_1"), loss_weights=Path("{loss_weights}"),
)
told = [held_bytes()]
frames = read_frame("{photos / "photo0.png"}"), read_frame("{style_picture}")
optimize(*frames, settings, on_plan=lambda plan: told.append(plan.peak_bytes))
print(json.dumps([*told, peak_memory_mb() * 2**20]))
"""
    # glibc keeps some of what is freed, now more, now less, unless pieces of a megabyte come from the system itself.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    before, estimate, peak = json.loads(ended.stdout)
    # Without Python and torch themselves, which were there before.
    assert 0.8 < (estimate - before) / (peak - before) < 1.25
