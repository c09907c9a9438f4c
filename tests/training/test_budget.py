"""A training with a budget, on a clock of its own: every picture painted takes as long as the test says."""

import dataclasses
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from fastnst.losses.perceptual import Losses
from fastnst.training import engine
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.engine import TrainCallbacks
from fastnst.training.schedule import BudgetPlan, plan_budget
from fastnst.training.settings import TrainSettings

# Choosing


def planned(left_s: float, per_pixel: float = 1e-5, **changes: object) -> BudgetPlan:
    settings = TrainSettings(
        style=Path("x.png"), **{"crop_size": 256, "batch_size": 2, "statistics_over": "image", **changes}
    )  # type: ignore[arg-type]
    return plan_budget(settings, left_s, per_pixel, reserve_s=10)


def test_crops_batches_and_steps_by_hand() -> None:
    # 2 pictures of 256^2 at 1e-5 s a pixel: 1.31 s a step, 600 of them 786 s.
    found = planned(810)
    assert (found.crop, found.batch, found.steps) == (256, 2, 610)
    assert found.step_s == pytest.approx(1.31072)
    # 224^2 x 2 is 1.00 s a step: 602 s; 192^2 x 2 is 0.74 s: 443 s.
    assert (planned(620).crop, planned(500).crop) == (224, 192)
    assert planned(500).steps == int(490 / (2 * 192**2 * 1e-5))
    found = planned(60)
    assert (found.crop, found.batch) == (128, 1)
    assert "too few" not in found.words("1m")
    assert "too few" in planned(20).words("20s")
    assert planned(60, crop_size=96).crop == 96
    assert planned(1e6, crop_size=200).crop == 200


def test_batches_that_are_compared_or_shared_and_small_crops_are_allowed_for() -> None:
    # 200 steps of 3 pictures of 192^2 at 1e-5 s a pixel are 221 s, of 128^2 98 s.
    found = [planned(left_s, batch_size=3, statistics_over="batch") for left_s in (240, 110, 60, 12)]
    assert [(plan.crop, plan.batch) for plan in found] == [(192, 3), (128, 3), (128, 2), (128, 2)]
    settings = TrainSettings(style=Path("x.png"), crop_size=128, batch_size=6, statistics_over="image")
    batches = [plan_budget(settings, left_s, 1e-5, reserve_s=0, processes=2).batch for left_s in (1e6, 450, 200, 1)]
    assert batches == [6, 4, 2, 2]
    # Half of the time on crops of a quarter of the pixels: there 4 times as many steps, 2.5 times as many in all.
    whole, half = planned(1e5), planned(1e5, progressive_resizing=0.5)
    assert half.steps == pytest.approx(2.5 * whole.steps, rel=1e-3)


def test_steps_that_polish_are_allowed_for_and_small_crops_beside_them() -> None:
    settings = TrainSettings(
        style=Path("x.png"), crop_size=256, batch_size=2, loss_network="compact", fine_tune_fraction=0.25
    )
    whole, slow = 1e5 / (2 * 256**2 * 1e-5), 1e5 / (2 * 256**2 * 6e-5)
    found = plan_budget(settings, 1e5, 1e-5, 6e-5, reserve_s=0)
    assert found.steps == pytest.approx(0.75 * whole + 0.25 * slow, rel=1e-3)
    # Crops of a quarter of the pixels for half of the time: the polish, at the end, has none of them.
    found = plan_budget(dataclasses.replace(settings, progressive_resizing=0.5), 1e5, 1e-5, 6e-5, reserve_s=0)
    assert found.steps == pytest.approx(0.5 * 4 * whole + 0.25 * whole + 0.25 * slow, rel=1e-3)


def test_the_plan_is_one_line() -> None:
    said = planned(810).words("15m")
    assert (
        said == "Budget 15m: about 610 steps of 2 at 256 px, 1.3 s each here; 10 s are kept for measuring and export."
    )


# Keeping to it


class Clock:
    """Stands for time.monotonic: painting takes `per_pixel` seconds a pixel, forwards and backwards together."""

    now, per_pixel = 1000.0, 1e-4

    def painted(self, _: object, images: Tensor, _samples: range, losses: Losses) -> Losses:
        self.now += self.per_pixel * images[:, 0].numel()
        return losses


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, on_losses: Callable[..., None]) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    on_losses(clock.painted)
    return clock


@pytest.fixture
def settings(tiny: TrainSettings) -> TrainSettings:
    usual = TrainSettings(style=tiny.style)
    return dataclasses.replace(
        tiny, batch_size=1, budget="60s", preview_every=10_000, checkpoint_every_s=1e9, steps=usual.steps
    )


@pytest.mark.parametrize("factor", [4.0, 0.5])
def test_it_ends_in_time_however_the_machine_changes(
    settings: TrainSettings, photos: Path, tmp_path: Path, clock: Clock, scalars: Callable[..., Any], factor: float
) -> None:
    began, notes, steps = clock.now, [], []

    def change(progress: engine.TrainProgress) -> None:
        steps.append(progress.steps)
        if clock.now > began + 20:
            clock.per_pixel = 1e-4 * factor

    calls = TrainCallbacks(on_step=change, on_note=notes.append)
    result = engine.run_training(settings, photos, tmp_path, callbacks=calls)
    took = clock.now - began
    # 25 s are kept for what follows; a step takes 0.41 s, the slow one 1.6 s.
    assert 60 - 25 - 2 * 0.41 * factor - 0.5 <= took <= 60 - 25 + 0.1
    assert notes[0].startswith("Budget 60s: about 8")
    assert abs(steps[0] - 80) < 6  # 33 s of 0.41 s each, less the three that were timed
    assert len(steps) == result.steps == steps[-1]
    assert len(steps) == pytest.approx({4.0: 55, 0.5: 117}[factor], abs=6)
    found = [rate for _, rate in scalars(tmp_path, "train/learning_rate")]
    assert max(found) > 0.9 * settings.learning_rate
    assert found[-1] < 0.02 * settings.learning_rate  # it has come down to the end all the same
    assert found[found.index(max(found)) :] == sorted(found[found.index(max(found)) :], reverse=True)


def test_a_resumed_training_keeps_what_is_left(
    settings: TrainSettings, photos: Path, tmp_path: Path, clock: Clock, train_until: Callable[..., None]
) -> None:
    began, large = clock.now, dataclasses.replace(settings, crop_size=256)  # the plan takes 128
    train_until(large, tmp_path, at=8)
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as opened:
        spent = json.loads(opened.metadata()["progress"])["elapsed_s"]
    clock.now += 5000  # the night between
    again, notes = clock.now, []
    calls = TrainCallbacks(on_note=notes.append)
    result = engine.run_training(large, photos, tmp_path, resume=True, callbacks=calls)
    assert notes[0].startswith("Going on with ")
    assert notes[1] == f"Budget 60s: {60 - spent:.0f} s are left."
    assert result.settings.crop_size == 128
    assert 30 < spent + clock.now - again <= 60 - 25 + 0.1  # a step takes 1.6 s
    assert clock.now - began > 5000


def test_a_training_whose_time_is_up_is_measured_as_it_stands(
    settings: TrainSettings, photos: Path, tmp_path: Path, clock: Clock, train_until: Callable[..., None]
) -> None:
    train_until(settings, tmp_path, at=3)
    began = clock.now
    result = engine.run_training(settings, photos, tmp_path, resume=True, began=began - 1000)
    assert (result.steps, result.losses["step"]) == (2, 2)


def test_small_crops_take_their_part_of_the_time(
    settings: TrainSettings, photos: Path, tmp_path: Path, clock: Clock
) -> None:
    staged = dataclasses.replace(settings, crop_size=128, progressive_resizing=0.5, progressive_crop_size=64)
    seen: list[tuple[float, float]] = []
    calls = TrainCallbacks(on_step=lambda progress: seen.append((clock.now, progress.done)))
    engine.run_training(staged, photos, tmp_path, callbacks=calls)
    took = [later[0] - earlier[0] for earlier, later in pairwise(seen)]
    small = [step_s for step_s in took if step_s < 1]
    assert small == took[: len(small)]  # first
    assert sum(small) == pytest.approx(0.5 * sum(took), rel=0.1)


def test_a_short_budget_on_a_slow_machine_still_gives_a_network(
    settings: TrainSettings, photos: Path, tmp_path: Path, clock: Clock
) -> None:
    clock.per_pixel = 1.0
    result = engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks())
    assert result.steps == 1
    assert torch.isfinite(next(result.network.parameters())).all()
    assert result.losses["step"] == 1
