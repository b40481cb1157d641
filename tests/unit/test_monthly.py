"""Monthly forecasts: honest of one month, and better than the seasonal naive of many."""

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.month_series import simulated
from loadtests.months import evaluated
from ml_online.daily import QUANTILES
from ml_online.month_model import HISTORY
from ml_online.monthly import (
    HORIZON,
    MENDED,
    SCORED,
    MonthForecast,
    MonthlyForecaster,
    calendar_month,
    forecast_months,
    naive_error,
    ordinal,
    seasonal_naive,
)

JANUARY = ordinal(2020, 1)
JUDGED = 4_242  # a seed that chose nothing


def closed(series: dict[str, list[float]], first: int = JANUARY) -> MonthlyForecaster:
    forecaster = MonthlyForecaster()
    for number in range(max(map(len, series.values()))):
        values = {key: found[number] for key, found in series.items() if number < len(found)}
        forecaster.close(first + number, values)
    return forecaster


def saved(forecaster: MonthlyForecaster) -> str:
    return json.dumps(list(forecaster.state()))


def again(forecaster: MonthlyForecaster) -> MonthlyForecaster:
    found = MonthlyForecaster()
    found.restore(json.loads(saved(forecaster)))
    return found


def shop(months: int, seed: int = 1) -> dict[str, list[float]]:
    random = Random(seed)
    return {
        key: [max(0.0, 100 + 30 * (n % 12 == 11) + random.gauss(0, 10)) for n in range(months)]
        for key in ("a", "b", "c")
    }


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=140), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_of_any_months_the_quantiles_rise_and_nothing_is_below_zero(
    values: list[float], first_month: int
) -> None:
    found = forecast_months(values, HORIZON, first_month)
    assert found.point.shape == (HORIZON,)
    assert found.quantiles.shape == (HORIZON, len(QUANTILES))
    assert np.isfinite(found.point).all()
    assert np.isfinite(found.quantiles).all()
    assert (found.point >= 0).all()
    assert (found.quantiles[:, 0] >= 0).all()
    assert (np.diff(found.quantiles, axis=1) >= 0).all()
    assert found.seasonal == (len(values) >= 24)


@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_months_that_are_not_known_or_below_zero_are_no_obstacle(
    values: list[float], first_month: int
) -> None:
    if all(np.isnan(values)):
        with pytest.raises(ValueError, match="takes a month"):
            forecast_months(values, 6, first_month)
        return
    found = forecast_months(values, 6, first_month)
    assert np.isfinite(found.point).all()
    assert (np.diff(found.quantiles, axis=1) >= 0).all()


def test_one_month_is_answered_with_itself_and_a_wide_interval() -> None:
    found = forecast_months([200.0], 12, 3)
    assert found.point == pytest.approx(np.full(12, 200.0))
    assert not found.seasonal
    low, high = found.quantiles[:, QUANTILES.index(0.1)], found.quantiles[:, QUANTILES.index(0.9)]
    assert low[0] < 130
    assert high[0] > 300
    assert (np.diff(high - low) > 0).all()  # and the wider, the farther ahead


def test_intervals_narrow_as_months_are_known() -> None:
    random = Random(3)
    values = [random.gauss(100, 5) for _ in range(48)]

    def width(months: int) -> float:
        found = forecast_months(values[:months], 1, 1).quantiles[0]
        return float(found[QUANTILES.index(0.9)] - found[QUANTILES.index(0.1)])

    assert width(2) > 1.5 * width(6) > 1.5 * width(48)


def test_a_season_that_is_there_is_found_and_one_that_is_not_is_not() -> None:
    random = Random(5)
    shape = [1, 1, 1, 1, 1, 1, 0.7, 0.7, 1, 1, 1.3, 2.3]
    seasonal = [100 * shape[n % 12] * random.uniform(0.97, 1.03) for n in range(48)]
    found = forecast_months(seasonal, 12, 1).point
    assert found == pytest.approx(100 * np.array(shape), rel=0.12)
    noise = [random.gauss(100, 10) for _ in range(48)]
    flat = forecast_months(noise, 12, 1).point
    assert flat.std() < 5
    shifted = forecast_months(seasonal[5:], 12, 6).point  # told by the calendar, not by the count
    assert shifted == pytest.approx(100 * np.array(shape), rel=0.12)


def test_a_trend_goes_on_and_fades() -> None:
    found = forecast_months([100 + 5 * n for n in range(36)], 24, 1).point
    assert found[0] == pytest.approx(280, rel=0.03)
    assert (np.diff(found) > 0).all()
    assert found[23] <= 280 + 5 * 23
    assert found[23] > 300


def test_a_long_history_is_no_longer_than_what_takes_part() -> None:
    values = shop(HISTORY + 30)["a"]
    whole = forecast_months(values, 24, 1)
    kept = forecast_months(values[-HISTORY:], 24, (30 % 12) + 1)
    assert np.array_equal(whole.point, kept.point)
    assert np.array_equal(whole.quantiles, kept.quantiles)


def test_it_is_better_than_the_seasonal_naive_by_15_percent_and_its_intervals_hold() -> None:
    series = list(simulated(JUDGED, 25, HORIZON + 24, HORIZON + 120))
    found = evaluated(series)
    assert found.mase < 0.85 * found.naive_mase
    assert found.coverage_80 == pytest.approx(0.8, abs=0.06)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.04)


def test_of_short_histories_it_is_no_worse_and_its_intervals_hold() -> None:
    series = list(simulated(JUDGED, 25, HORIZON + 3, HORIZON + 23))
    found = evaluated(series)
    assert found.mase < found.naive_mase
    assert found.coverage_80 == pytest.approx(0.8, abs=0.09)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.05)


# Learned month by month.


def test_what_is_served_is_what_the_history_says() -> None:
    series = shop(40)
    forecaster = closed(series, first=ordinal(2019, 6))
    for key, values in series.items():
        served, expected = forecaster.forecast(key, 12), forecast_months(values, 12, 6)
        assert np.array_equal(served.point, expected.point)
        assert np.array_equal(served.quantiles, expected.quantiles)


def test_scores_are_those_of_what_was_answered_before_each_month() -> None:
    series = shop(50)
    forecaster = MonthlyForecaster()
    answers: list[MonthForecast] = []
    for number in range(50):
        forecaster.close(JANUARY + number, {key: found[number] for key, found in series.items()})
        answers.append(forecaster.forecast("b"))
    actual = np.array(series["b"])
    for score in forecaster.scores("b"):
        h = score.horizon
        origins = range(50 - h)
        errors = [abs(actual[o + h] - answers[o].point[h - 1]) for o in origins]
        naive = [abs(actual[o + h] - seasonal_naive(actual[None, : o + 1], h)[0]) for o in origins]
        assert score.pairs == len(errors)
        assert score.mae["tillstream"] == pytest.approx(np.mean(errors))
        assert score.mae["seasonal_naive"] == pytest.approx(np.mean(naive))
        scales = [naive_error(actual[None, : o + 1])[0] for o in origins]
        scaled = [e / s for e, s in zip(errors, scales, strict=True) if not np.isnan(s)]
        assert score.mase["tillstream"] == pytest.approx(np.mean(scaled))
        ends = [answers[o].quantiles[h - 1] for o in origins]
        hits = [q[1] <= actual[o + h] <= q[5] for o, q in zip(origins, ends, strict=True)]
        assert score.coverage_80 == pytest.approx(np.mean(hits))


def test_it_begins_in_the_middle_of_others_and_asking_changes_nothing() -> None:
    forecaster = closed({"old": [10.0] * 30})
    forecaster.close(JANUARY + 30, {"old": 10.0, "new": 70.0})
    before = saved(forecaster)
    assert forecaster.forecast("new", 3).point == pytest.approx([70.0] * 3)
    assert len(forecaster.history("new")) == 1
    assert forecaster.scores("new")[0].pairs == 0
    assert "new" in forecaster
    assert "none" not in forecaster
    with pytest.raises(KeyError):
        forecaster.forecast("none")
    assert saved(forecaster) == before


def test_a_killed_one_goes_on_bit_for_bit() -> None:
    series = shop(40)
    whole = closed(series)
    part = again(closed({key: values[:25] for key, values in series.items()}))
    for number in range(25, 40):
        part.close(JANUARY + number, {key: values[number] for key, values in series.items()})
    assert saved(part) == saved(whole)
    assert saved(again(whole)) == saved(whole)


@pytest.mark.parametrize("back", [0, 1, MENDED - 1])
def test_a_correction_mends_history_and_the_scores_of_its_month(back: int) -> None:
    right = shop(40)
    wrong = {key: list(values) for key, values in right.items()}
    wrong["a"][39 - back] += 500
    forecaster = closed(wrong)
    before = {score.horizon: score for score in forecaster.scores("a")}
    errors = {h: abs(wrong["a"][39 - back] - _made(wrong["a"], 39 - back, h)) for h in SCORED}
    mended = {h: abs(right["a"][39 - back] - _made(wrong["a"], 39 - back, h)) for h in SCORED}
    forecaster.correct(JANUARY + 39 - back, "a", right["a"][39 - back])
    assert forecaster.history("a") == pytest.approx(right["a"])
    for score in forecaster.scores("a"):
        old = before[score.horizon].mae["tillstream"]
        assert old is not None
        difference = (mended[score.horizon] - errors[score.horizon]) / score.pairs
        assert score.mae["tillstream"] == pytest.approx(old + difference)
    assert np.array_equal(forecaster.forecast("a").point, closed(right).forecast("a").point)


def _made(values: list[float], month: int, horizon: int) -> float:
    known = values[: month - horizon + 1]
    return float(forecast_months(known, horizon, 1).point[horizon - 1])


def test_a_correction_of_what_nobody_knew_or_of_long_ago_does_no_harm() -> None:
    forecaster = closed(shop(10))
    forecaster.correct(JANUARY + 4, "late", 30.0)
    assert forecaster.history("late")[0] == 30.0
    before = saved(forecaster)
    forecaster.correct(JANUARY - 1, "a", 1.0)
    forecaster.correct(JANUARY + 10, "a", 1.0)
    assert saved(forecaster) == before


def test_months_that_are_left_out_are_unknown_and_time_does_not_run_back() -> None:
    forecaster = closed(shop(10))
    forecaster.close(JANUARY + 12, {"a": 100.0})
    assert np.isnan(forecaster.history("a")[10:12]).all()
    assert calendar_month(forecaster.last) == 1
    assert np.isfinite(forecaster.forecast("a").point).all()
    with pytest.raises(ValueError, match="does not follow"):
        forecaster.close(JANUARY + 12, {})
    forecaster.close(JANUARY + 500, {"a": 7.0})
    assert list(forecaster.history("a")) == [7.0]


def test_what_is_kept_is_bounded() -> None:
    def size(months: int) -> int:
        return len(saved(closed({"a": [100.0] * months})))

    assert size(HISTORY + 12) <= size(HISTORY + 2)


def test_a_thousand_series_close_together() -> None:
    random = np.random.default_rng(2)
    values = random.lognormal(3, 1, (30, 1000))
    forecaster = closed({f"s{n}": list(values[:, n]) for n in range(1000)})
    assert forecaster.scores("s7")[0].pairs == 29
    served = forecaster.forecast("s7")
    alone = forecast_months(list(values[:, 7]), 24, 1)
    assert np.array_equal(served.point, alone.point)
