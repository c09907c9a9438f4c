"""Steps, learning rate and crops of a training, how far it is, and what an update costs."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastnst.errors import SettingError
from fastnst.losses.perceptual import Losses
from fastnst.models.network import StyleNetwork
from fastnst.training.run import Stopwatch
from fastnst.training.schedule import (
    Clock,
    Schedule,
    ScheduleProgress,
    Stage,
    StepSchedule,
    TimeSchedule,
    in_words,
    multiply_adds_per_pixel,
)
from fastnst.training.settings import TrainSettings, seconds_in


@pytest.fixture
def settings() -> TrainSettings:
    return TrainSettings(style=Path("waves.png"), learning_rate=1.0, steps=150)


def rate(step: int, settings: TrainSettings) -> float:
    pace = StepSchedule(settings.steps)
    return Schedule(settings).learning_rate(pace.at(step, Clock()), pace.warm_up)


def test_learning_rates_by_hand(settings: TrainSettings) -> None:
    assert rate(0, settings) == pytest.approx(1 / 50)
    assert rate(49, settings) == pytest.approx(1.0)
    assert rate(100, settings) == pytest.approx(0.5)  # half of the 100 steps after the warm-up
    assert 0 < rate(149, settings) < 1e-3
    short = dataclasses.replace(settings, steps=4)
    assert [rate(step, short) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    constant = dataclasses.replace(settings, lr_schedule="constant", learning_rate=0.3)
    assert {rate(step, constant) for step in range(150)} == {0.3}


def test_what_is_polished_has_a_course_of_its_own(settings: TrainSettings) -> None:
    # 150 steps through compact, 50 of warm-up and 100 down; then 50, of which 5 are warm-up, from half of the rate.
    polished = dataclasses.replace(settings, steps=200, loss_network="compact", fine_tune_fraction=0.25)
    before = [rate(step, settings) for step in range(150)]
    assert [rate(step, polished) for step in range(150)] == pytest.approx(before)
    after = [rate(step, polished) for step in range(150, 200)]
    assert after[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    assert after[5:] == sorted(after[5:], reverse=True)
    assert 0 < after[-1] < 2e-3
    assert not Schedule(polished).fine_tunes(149 / 200)
    assert Schedule(polished).fine_tunes(150 / 200)


@pytest.mark.parametrize(("crop", "small"), [(256, 128), (192, 96), (224, 112), (160, 80), (96, 64), (64, 64)])
def test_the_small_crop_is_half_the_side_in_steps_that_suit_every_network(
    settings: TrainSettings, crop: int, small: int
) -> None:
    first = Schedule(dataclasses.replace(settings, crop_size=crop, progressive_resizing=0.5)).stage(0.0)
    assert first == Stage(small, settings.batch_size)


def test_small_crops_come_first_where_they_are_asked_for(settings: TrainSettings) -> None:
    schedule = Schedule(settings)
    assert schedule.stage(0.0) == schedule.stage(0.999) == Stage(settings.crop_size, settings.batch_size)
    settings = dataclasses.replace(
        settings, crop_size=192, batch_size=2, progressive_resizing=0.4, progressive_batch_size=6
    )
    schedule, pace = Schedule(settings), StepSchedule(10)
    assert [schedule.stage(pace.at(step, Clock()).done) for step in range(10)] == [Stage(96, 6)] * 4 + [
        Stage(192, 2)
    ] * 6


def test_steps_and_time_by_hand() -> None:
    pace = StepSchedule(200)
    assert pace.warm_up == 0.25
    assert pace.at(50, Clock(elapsed_s=1e9)) == ScheduleProgress(0.25, 0.255, 200, finished=False)
    assert pace.at(200, Clock()).finished
    # 110 s, of which 10 are kept and 20 had gone before the first step: 80 s of steps.
    pace = TimeSchedule(110, 10)
    assert pace.at(0, Clock(20, 20, 2)) == ScheduleProgress(0.0, 0.025, 40, finished=False)
    half = pace.at(7, Clock(60, 20, 4))  # slower than planned: half the time, and ten more steps
    assert half == ScheduleProgress(0.5, 0.55, 17, finished=False)
    pace = TimeSchedule(110, 10)
    assert not pace.at(5, Clock(96, 20, 4)).finished
    assert pace.at(5, Clock(97, 20, 4)).finished
    pace = TimeSchedule(5, 10)
    first = pace.at(0, Clock(7, 7, 2))
    assert (first.finished, first.steps) == (False, 1)
    assert pace.at(1, Clock(9, 7, 2)).finished
    pace = TimeSchedule(100, 0)
    assert pace.at(3, Clock(250, 0, 1)) == ScheduleProgress(1.0, 1.0, 3, finished=True)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("2h", 7200), ("1.5H", 5400), (" 3 m", 180)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "-3m", "0s", "20 min", "1h30m", ""])
def test_what_is_no_duration_is_one_line(text: str) -> None:
    with pytest.raises(SettingError, match="expected a time like 90s, 20m or 2h"):
        seconds_in(text)


def test_times_in_words() -> None:
    assert [in_words(seconds) for seconds in (7.4, 99, 120, 3000, 5400, 9000)] == [
        *("7 s", "99 s", "2 min", "50 min", "90 min", "2 h 30 min")
    ]


class OneConvolution(StyleNetwork):
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.layer(image)
        return result


def test_a_convolution_by_hand() -> None:
    # Forwards 3 * 3 * 9 = 81 multiply-adds a pixel, and as many for the weights' gradient; none for the picture's.
    def judge(paint: StyleNetwork, images: Tensor, samples: range) -> tuple[Losses, Tensor]:
        stylized = paint(images)
        return Losses(stylized.square().mean(), {}), stylized

    network = OneConvolution()
    assert multiply_adds_per_pixel(network, judge) == 162  # type: ignore[arg-type]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_steps_parts_add_up_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 11.0, 13.0, 16.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    watch = Stopwatch(torch.device("cpu"))
    watch.lap("before the first step")
    assert watch.parts == {}
    watch.start()
    for part in ("data", "network", "loss", "network"):
        watch.lap(part)
    assert watch.parts == {"data": 1.0, "network": 2.0 + 4.0, "loss": 3.0}


def test_a_gpu_is_waited_for_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    watch = Stopwatch(torch.device("cuda"))
    timed = []
    for _ in range(51):
        watch.start()
        watch.lap("data")
        timed.append(bool(watch.parts))
    assert [i for i, was in enumerate(timed) if was] == [0, 25, 50]
    assert len(waits) == 6
