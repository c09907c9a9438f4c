import dataclasses
from pathlib import Path

import pytest

from fastnst.training.schedule import Clock, Schedule, Stage, StepSchedule
from fastnst.training.settings import TrainSettings


@pytest.fixture
def settings() -> TrainSettings:
    return TrainSettings(style=Path("waves.png"), learning_rate=1.0, steps=150)


def rate(step: int, settings: TrainSettings) -> float:
    pace = StepSchedule(settings.steps)
    return Schedule(settings).learning_rate(pace.at(step, Clock()), pace.warm_up)


def test_learning_rate_by_hand(settings: TrainSettings) -> None:
    assert rate(0, settings) == pytest.approx(1 / 50)
    assert rate(49, settings) == pytest.approx(1.0)
    assert rate(100, settings) == pytest.approx(0.5)  # half of the 100 steps after the warm-up
    assert 0 < rate(149, settings) < 1e-3


def test_a_short_training_warms_up_all_the_way(settings: TrainSettings) -> None:
    short = dataclasses.replace(settings, steps=4)
    assert [rate(step, short) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_constant_learning_rate_has_no_warm_up(settings: TrainSettings) -> None:
    constant = dataclasses.replace(settings, lr_schedule="constant", learning_rate=0.3)
    assert {rate(step, constant) for step in range(150)} == {0.3}


def test_what_is_polished_has_a_course_of_its_own(settings: TrainSettings) -> None:
    # 150 steps through compact, 50 of warm-up and 100 down; then 50, of which 5 are warm-up, from half of the rate.
    polished = dataclasses.replace(settings, steps=200, loss_network="compact", fine_tune=0.25)
    before = [rate(step, settings) for step in range(150)]
    assert [rate(step, polished) for step in range(150)] == pytest.approx(before)
    after = [rate(step, polished) for step in range(150, 200)]
    assert after[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    assert after[5:] == sorted(after[5:], reverse=True)
    assert 0 < after[-1] < 2e-3
    assert not Schedule(polished).fine_tunes(149 / 200)
    assert Schedule(polished).fine_tunes(150 / 200)


def test_small_crops_come_first(settings: TrainSettings) -> None:
    settings = dataclasses.replace(
        settings, crop_size=192, batch_size=2, progressive_resizing=0.4, progressive_batch_size=6
    )
    schedule, pace = Schedule(settings), StepSchedule(10)
    assert [schedule.stage(pace.at(step, Clock()).done) for step in range(10)] == [Stage(96, 6)] * 4 + [
        Stage(192, 2)
    ] * 6


@pytest.mark.parametrize(("crop", "small"), [(256, 128), (192, 96), (224, 112), (160, 80), (96, 64), (64, 64)])
def test_the_small_crop_is_half_the_side_in_steps_that_suit_every_network(
    settings: TrainSettings, crop: int, small: int
) -> None:
    first = Schedule(dataclasses.replace(settings, crop_size=crop, progressive_resizing=0.5)).stage(0.0)
    assert first == Stage(small, settings.batch_size)


def test_without_small_first_all_steps_are_alike(settings: TrainSettings) -> None:
    schedule = Schedule(settings)
    assert schedule.stage(0.0) == schedule.stage(0.999) == Stage(settings.crop_size, settings.batch_size)
