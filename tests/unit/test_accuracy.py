"""The figures that forecasts are judged by, against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_online import accuracy
from ml_online.accuracy import Array
from ml_online.daily import QUANTILES

NAN = math.nan


def of(*rows: list[float]) -> Array:
    """Series [series, day]."""
    return np.array(rows, dtype=np.float64)


# Of a season of 2: differences 3−1, 6−2, 4−3 and 2−6 are 2, 4, 1, −4.
PAST = of([1, 2, 3, 6, 4, 2], [5, 5, 5, 5, 5, 5], [NAN, NAN, 1, NAN, 4, 1])


def test_the_scale_is_the_seasonal_naives_error_in_sample() -> None:
    found = accuracy.seasonal_error(PAST, season=2)
    assert found.tolist() == [11 / 4, 0, 3]
    squared = accuracy.seasonal_error(PAST, season=2, power=2)
    assert squared.tolist() == [37 / 4, 0, 9]


def test_of_fewer_days_than_a_season_there_is_no_scale() -> None:
    assert np.isnan(accuracy.seasonal_error(of([1, 2, 3]))).all()


def test_mase_and_rmsse() -> None:
    was, foretold = of([10, 20, NAN], [1, 1, 1]), of([12, 16, 99], [1, 2, 3])
    assert accuracy.mase(was, foretold, np.array([2.0, 0.5])).tolist() == [1.5, 2.0]
    found = accuracy.rmsse(was, foretold, np.array([2.5, 5 / 3]))
    assert found == pytest.approx([2.0, 1.0])


def test_a_series_that_never_changed_has_no_mase() -> None:
    was, foretold = of([1, 2], [1, 2]), of([1, 1], [1, 1])
    found = accuracy.mase(was, foretold, np.array([0.0, 1.0]))
    assert np.isnan(found[0])
    assert found[1] == 0.5


def test_wape_is_a_share_of_all_that_was() -> None:
    assert accuracy.wape(of([10, 0], [NAN, 30]), of([5, 5], [7, 20])) == 0.5
    assert math.isnan(accuracy.wape(of([0, 0]), of([1, 1])))


def test_r_squared_is_zero_for_the_mean_and_one_for_the_truth() -> None:
    was = of([1, 2, 3], [10, 20, 30])
    mean = np.repeat(was.mean(axis=1, keepdims=True), 3, axis=1)
    assert accuracy.r_squared(was, mean) == 0
    assert accuracy.r_squared(was, was) == 1
    # Missed by 1 of a variance of 2, and by nothing of 200: by itself, and in units of ten times.
    missed = of([1, 2, 4], [10, 20, 30])
    assert accuracy.r_squared(was, missed) == pytest.approx(1 - 1 / 202)
    assert accuracy.r_squared(was, missed, np.array([1.0, 10.0])) == pytest.approx(1 - 1 / 4)
    assert math.isnan(accuracy.r_squared(of([3, 3]), of([1, 2])))


def test_pinball_costs_more_on_the_side_that_is_rarer() -> None:
    assert accuracy.pinball(of([10]), of([6]), 0.9).item() == pytest.approx(3.6)
    assert accuracy.pinball(of([6]), of([10]), 0.9).item() == pytest.approx(0.4)


def test_the_interval_score_is_width_and_what_misses_cost() -> None:
    was, low, high = of([5, 1, 12]), of([2, 2, 2]), of([8, 8, 8])
    found = accuracy.interval_score(was, low, high, 0.8)
    assert found.tolist() == [pytest.approx([6, 6 + 10 * 1, 6 + 10 * 4])]


def test_coverage_counts_the_ends_and_nothing_unknown() -> None:
    was = of([2, 8, 9, NAN])
    assert accuracy.coverage(was, np.full((1, 4), 2.0), np.full((1, 4), 8.0)) == 2 / 3
    assert math.isnan(accuracy.coverage(of([NAN]), of([0]), of([1])))


def test_crps_of_quantiles_that_all_are_one_value_is_its_error() -> None:
    quantiles = np.full((1, 2, len(QUANTILES)), 4.0)
    assert accuracy.crps(of([1, 9]), quantiles, QUANTILES) == pytest.approx(of([3, 5]), rel=0.02)


def test_crps_comes_near_to_that_of_the_distribution() -> None:
    levels = tuple((np.arange(400) + 0.5) / 400)
    quantiles = np.array(levels)[None, None, :]
    # Of a uniform between 0 and 1, at 0: the integral of (1 − x)² is a third.
    assert accuracy.crps(of([0]), quantiles, levels).item() == pytest.approx(1 / 3, abs=1e-3)


def test_one_series_says_nothing_of_others() -> None:
    assert all(map(math.isnan, accuracy.bootstrap_mean(np.array([1.0, NAN]))))


def test_resampled_means_hold_the_mean_and_are_the_same_again() -> None:
    values = np.random.default_rng(1).gamma(2, 1, 200)
    low, high = accuracy.bootstrap_mean(values, seed=3)
    assert low < values.mean() < high
    # As wide as the normal approximation says, for the mean of two hundred.
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(200), rel=0.15)
    assert (low, high) == accuracy.bootstrap_mean(values, seed=3)


amounts = st.integers(0, 10**6).map(float)
tables = arrays(np.float64, (3, 5), elements=amounts)


@given(was=tables, foretold=tables, unit=st.floats(0.01, 100))
def test_scaled_errors_know_no_units(was: Array, foretold: Array, unit: float) -> None:
    scale = np.array([1.0, 2.0, 3.0])
    found = accuracy.mase(was, foretold, scale)
    assert accuracy.mase(was * unit, foretold * unit, scale * unit) == pytest.approx(found)
    assert (accuracy.rmsse(was, foretold, scale**2) >= found * (1 - 1e-9)).all()


@given(was=amounts, low=amounts, width=amounts, level=st.floats(0.1, 0.99))
def test_an_interval_score_is_two_pinballs(
    was: float, low: float, width: float, level: float
) -> None:
    ends = of([low]), of([low + width])
    score = accuracy.interval_score(of([was]), *ends, level).item()
    below = (1 - level) / 2
    both = accuracy.pinball(of([was]), ends[0], below) + accuracy.pinball(
        of([was]), ends[1], 1 - below
    )
    assert score == pytest.approx(both.item() * 2 / (1 - level), rel=1e-6, abs=1e-6)
    assert score >= width * (1 - 1e-9)


@given(
    values=arrays(np.float64, 50, elements=amounts, unique=True),
    level=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_no_value_has_less_pinball_than_the_quantile(values: Array, level: float) -> None:
    def loss(guess: float) -> float:
        return float(accuracy.pinball(values, np.full(50, guess), level).mean())

    best = loss(float(np.quantile(values, level, method="inverted_cdf")))
    assert all(best <= loss(float(other)) * (1 + 1e-9) + 1e-9 for other in values)
