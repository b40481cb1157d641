"""Demand analysis: noise shows nothing, what was planted is found, censored days are no zeros."""

import csv
import gzip
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
from fastapi import Response
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.demand_forecasts import as_told, censored_days, joined
from ml_online.change_points import SHORTEST
from ml_online.demand_analysis import FEWEST_DAYS, MOST_DAYS, TooFewDays, analysed, trend
from projections.demand import Series

MONDAY = date(2026, 1, 5)
WEEK = np.array([1.0, 1, 1, 1.1, 1.4, 1.6, 0.5])


def noise(
    seed: int, days: int, spread: float = 0.2
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 100 * np.exp(np.random.default_rng(seed).normal(0, spread, days))


def of_week(days: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return WEEK[np.arange(days) % 7]


def test_days_for_much_of_which_there_was_none_to_sell_are_censored() -> None:
    first = date(2026, 3, 1)
    days = [first + timedelta(days=number) for number in range(6)]
    shares = {days[1]: 1.0, days[2]: 1.0, days[3]: 0.5, days[4]: 0.04}
    found = censored_days(Series(first, [3, 0, 2, 1, 1, 0]), {days[5]}, shares)
    # Who sells without any takes orders; what is sold out just before the end is hardly missed.
    assert found == [False, True, False, True, False, True]


def test_noise_has_a_trend_at_5_percent_in_5_percent_of_cases() -> None:
    found = [trend(noise(seed, 56)).p < 0.05 for seed in range(1_000)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.02)


def test_noise_has_no_season_and_no_change_in_nearly_all_cases() -> None:
    found = [analysed(MONDAY, list(noise(seed, 90))) for seed in range(200)]
    assert np.mean([one.weekly.significant for one in found]) < 0.07
    assert np.mean([bool(one.changes) for one in found]) < 0.03


def test_days_that_depend_on_one_another_are_no_trend() -> None:
    """A test that takes them for independent finds one in a third of these."""
    found = 0
    for seed in range(200):
        shocks = np.random.default_rng(seed).normal(0, 10, 170)
        values = np.zeros(170)
        for day in range(1, 170):
            values[day] = 0.6 * values[day - 1] + shocks[day]
        found += trend(100 + values[50:]).p < 0.05
    assert found / 200 < 0.12


def test_a_trend_is_found_with_its_slope_through_a_week() -> None:
    values = (noise(1, 180) + 0.5 * np.arange(180)) * of_week(180)
    found = analysed(MONDAY, list(values)).trend
    assert found.direction == "rising"
    assert found.p < 1e-6
    assert found.slope == pytest.approx(0.5, rel=0.3)
    assert analysed(MONDAY, list(values[::-1])).trend.direction == "falling"


def test_a_week_is_found_with_its_ratios_and_another_first_day_turns_it() -> None:
    values = list(noise(2, 140, 0.1) * of_week(140))
    found = analysed(MONDAY, values).weekly
    assert found.significant
    assert found.strength > 0.8
    assert list(found.factors) == pytest.approx(list(WEEK / WEEK.mean()), rel=0.06)
    turned = analysed(date(2026, 1, 6), values).weekly
    assert list(turned.factors) == pytest.approx([found.factors[-1], *found.factors[:-1]])


def test_a_year_is_spoken_of_once_there_are_two() -> None:
    days = np.arange(3 * 365)
    wave = 1 + 0.5 * np.cos(2 * np.pi * (days - 340) / 365)
    values = list(noise(3, len(days)) * wave)
    found = analysed(date(2023, 1, 1), values).yearly
    assert found is not None
    assert found.significant
    assert found.strength > 0.7
    middles = 1 + 0.5 * np.cos(2 * np.pi * (15 + 30.4 * np.arange(12) - 340) / 365)
    assert list(found.factors) == pytest.approx(list(middles), abs=0.07)
    assert analysed(date(2023, 1, 1), values[:729]).yearly is None
    flat = analysed(date(2023, 1, 1), list(noise(4, 3 * 365))).yearly
    assert flat is not None
    assert not flat.significant


@pytest.mark.parametrize(("factor", "spread"), [(1.5, 0.2), (2.0, 0.3), (0.6, 0.25)])
def test_a_planted_change_is_found_within_three_days(factor: float, spread: float) -> None:
    near = 0
    for seed in range(30):
        day = 40 + 4 * seed
        later = np.where(np.arange(200) >= day, factor, 1.0)
        values = noise(1_000 + seed, 200, spread) * of_week(200) * later
        found = analysed(MONDAY, list(values)).changes
        near += len(found) == 1 and abs(found[0].day - day) <= 3
        if found:
            assert found[0].after / found[0].before == pytest.approx(factor, rel=0.3)
    assert near >= 27


def test_two_changes_are_found_and_a_steady_climb_is_none() -> None:
    at = np.arange(210)
    steps = np.select([at < 70, at < 140], [1.0, 2.0], 0.8)
    found = analysed(MONDAY, list(noise(7, 210) * steps)).changes
    assert [change.day for change in found] == pytest.approx([70, 140], abs=3)
    assert analysed(MONDAY, list(noise(8, 210) * (1 + at / 100))).changes == []


def test_censored_days_take_no_part_and_their_demand_is_estimated() -> None:
    full = noise(11, 150, 0.1) * of_week(150)
    out = [40 <= day < 60 for day in range(150)]
    sold = [0.0 if gone else value for value, gone in zip(full, out, strict=True)]
    found = analysed(MONDAY, sold, out)
    assert found.censored == 20
    assert found.units == pytest.approx(sum(sold))
    assert found.demand == pytest.approx(full.sum(), rel=0.03)
    assert found.trend.direction == "none"
    assert found.changes == []
    assert list(found.weekly.factors) == pytest.approx(list(WEEK / WEEK.mean()), rel=0.08)
    assert analysed(MONDAY, sold).changes  # as zeros they would be a change


def test_what_was_sold_on_a_censored_day_is_the_least_that_was_wanted() -> None:
    values = [10.0] * 30
    values[12] = 25.0
    found = analysed(MONDAY, values, [day in (12, 20) for day in range(30)])
    assert found.demand == pytest.approx(29 * 10 + 25)


def test_a_closed_weekday_is_a_season_and_no_obstacle() -> None:
    values = noise(12, 120, 0.1) * np.where(np.arange(120) % 7 == 6, 0, 1)
    found = analysed(MONDAY, list(values))
    assert found.weekly.factors[6] == 0
    assert found.weekly.significant
    assert found.trend.direction == "none"
    assert found.changes == []


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=80),
    st.dates(date(2000, 1, 1), date(2030, 1, 1)),
)
@settings(max_examples=100, deadline=None)
def test_any_days_are_analysed_or_too_few(days: list[tuple[int, bool]], first: date) -> None:
    units, censored = [units for units, _ in days], [out for _, out in days]
    if censored.count(False) < FEWEST_DAYS:
        with pytest.raises(TooFewDays):
            analysed(first, units, censored)
        return
    found = analysed(first, units, censored)
    assert found.demand >= found.units - 1e-6 * found.units
    assert 0 <= found.trend.p <= 1
    assert 0 <= found.weekly.p <= 1
    assert 0 <= found.weekly.strength <= 1
    assert np.mean(found.weekly.factors) == pytest.approx(1)
    days_of = [0, *(change.day for change in found.changes), len(days)]
    assert all(later - before >= SHORTEST for before, later in pairwise(days_of))
    told = as_told(found, first)
    assert orjson.loads(orjson.dumps(told))["days"] == len(days)


def test_what_cannot_be_analysed_says_so() -> None:
    with pytest.raises(ValueError, match="flags"):
        analysed(MONDAY, [1.0] * 20, [True] * 19)
    with pytest.raises(ValueError, match="at most"):
        analysed(MONDAY, [1.0] * (MOST_DAYS + 1))


def test_the_motorcycle_sheet_has_no_trend_no_season_and_no_change(data: Path) -> None:
    units = Counter[date]()
    with gzip.open(data / "Royal_Enfield_Classic_350_2024_Sales.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            units[date.fromisoformat(row["Date"])] += int(row["Quantity_Sold"])
    first, last = min(units), max(units)
    days = range((last - first).days + 1)
    series = [units[date.fromordinal(first.toordinal() + day)] for day in days]
    found = analysed(first, series)
    assert found.trend.direction == "none"
    assert not found.weekly.significant
    assert found.weekly.strength < 0.05
    assert found.changes == []


# Joined with what the learner foretells.


def answered(status: int, body: object) -> Response:
    return Response(orjson.dumps(body), status)


def test_the_forecast_is_the_learners_in_units_or_the_reason_why_there_is_none() -> None:
    days: Sequence[object] = [{"date": "2026-03-01", "value": "3"}]
    units = answered(200, {"measure": "units", "forecasts": days})
    assert joined(units) == {"forecast": days, "no_forecast": None}
    money = joined(answered(200, {"measure": "net", "forecasts": days}))
    assert money == {"forecast": None, "no_forecast": "it is foretold in net alone"}
    unknown = joined(answered(404, {"detail": "no such series"}))
    assert unknown == {"forecast": None, "no_forecast": "no such series"}
