"""Means with 95 % intervals."""

import math

import pytest

from fastnst.report.blocks import mean_interval, paired_interval, t_quantile


def test_interval_by_hand() -> None:
    # s = sqrt((1 + 0 + 1) / 2) = 1, t(2) = 4.3027, so the margin is 4.3027 / sqrt(3).
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.margin == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert (interval.low, interval.high, interval.count) == (2 - interval.margin, 2 + interval.margin, 3)


def test_one_value_has_no_bounds() -> None:
    assert mean_interval([0.5]).margin == math.inf


def test_equal_values_leave_no_doubt() -> None:
    assert mean_interval([0.25] * 5).margin == 0


def test_paired_interval_sees_a_constant_lead_through_any_spread() -> None:
    interval = paired_interval([1.0, 11.0, 101.0], [2.0, 12.0, 102.0])
    assert (interval.mean, interval.margin) == (-1, 0)


def test_paired_interval_wants_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_interval([1.0], [1.0, 2.0])


@pytest.mark.parametrize("degrees", [1, 2, 7, 30, 31, 48, 500])
def test_quantiles_are_those_of_scipy(degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), abs=1e-4)
