import pytest

from fastnst.errors import SettingError
from fastnst.training.schedule import Clock, ScheduleProgress, StepSchedule, TimeSchedule, in_words
from fastnst.training.settings import seconds_in


def test_steps_by_hand() -> None:
    pace = StepSchedule(200)
    assert pace.warm_up == 0.25
    assert pace.at(50, Clock(elapsed_s=1e9)) == ScheduleProgress(0.25, 0.255, 200, finished=False)
    assert pace.at(200, Clock()).finished


def test_time_by_hand() -> None:
    # 110 s, of which 10 are kept and 20 had gone before the first step: 80 s of steps.
    pace = TimeSchedule(110, 10)
    assert pace.at(0, Clock(20, 20, 2)) == ScheduleProgress(0.0, 0.025, 40, finished=False)
    half = pace.at(7, Clock(60, 20, 4))  # slower than planned: half the time, and ten more steps
    assert half == ScheduleProgress(0.5, 0.55, 17, finished=False)


def test_a_step_that_would_not_fit_is_not_begun() -> None:
    pace = TimeSchedule(110, 10)
    assert not pace.at(5, Clock(96, 20, 4)).finished
    assert pace.at(5, Clock(97, 20, 4)).finished


def test_one_step_is_made_however_short_the_time() -> None:
    pace = TimeSchedule(5, 10)
    first = pace.at(0, Clock(7, 7, 2))
    assert (first.finished, first.steps) == (False, 1)
    assert pace.at(1, Clock(9, 7, 2)).finished


def test_time_that_was_lost_counts() -> None:
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
