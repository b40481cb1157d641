"""Demand and stock against it: means, lines, seasons, cover and shares, by their definitions."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections import demand
from projections.demand import Series, daily, moving, rounded, seasonality, trend
from projections.sell_through import Level, cover, sell_through, slowest

FIRST = date(2024, 2, 20)  # of a leap year
DAY = timedelta(days=1)

units = st.one_of(st.integers(0, 5), st.integers(0, 10**12))
series = st.builds(Series, st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.lists(units))


def test_days_without_a_sale_are_zeros_from_the_first_sale_on() -> None:
    told = {FIRST + 2 * DAY: 3, FIRST + 4 * DAY: 1, FIRST - DAY: 9, FIRST + DAY: 0}
    inside = {day: sold for day, sold in told.items() if day >= FIRST}
    last = FIRST + 5 * DAY
    assert daily(inside, FIRST, last) == Series(FIRST + 2 * DAY, [3, 0, 1, 0])
    assert daily(inside, FIRST, last, begun=True) == Series(FIRST, [0, 0, 3, 0, 1, 0])
    assert daily(told, FIRST, last) == Series(FIRST, [0, 0, 3, 0, 1, 0])
    assert daily({}, FIRST, last).units == ()
    assert daily({last: 1}, FIRST, FIRST).units == ()


@given(series, st.integers(1, 9))
def test_a_moving_mean_is_that_of_the_days_up_to_each(of: Series, window: int) -> None:
    found = moving(of, window)
    assert len(found) == len(of.units)
    for number, mean in enumerate(found):
        days = of.units[max(0, number - window + 1) : number + 1]
        assert mean == (Fraction(sum(days), window) if len(days) == window else None)


@given(series)
def test_no_line_is_nearer_than_the_trend(of: Series) -> None:
    found = trend(of)
    count = len(of.units)
    assert (found.days, found.units) == (count, sum(of.units))
    if found.slope is None:
        assert count < 2
        return
    middle, mean = Fraction(count - 1, 2), Fraction(sum(of.units), count)

    def distance(slope: Fraction) -> Fraction:
        errors = (sold - (mean + slope * (number - middle)) for number, sold in enumerate(of.units))
        return sum((error * error for error in errors), Fraction(0))

    least, step = distance(found.slope), Fraction(1, 1000)
    assert distance(found.slope - step) > least < distance(found.slope + step)


def test_a_trend_is_how_many_more_are_sold_each_day() -> None:
    assert trend(Series(FIRST, [1, 3, 5, 7])).slope == 2
    assert trend(Series(FIRST, [4, 4, 4])).slope == 0
    assert trend(Series(FIRST, [0, 0, 3, 1])).slope == Fraction(3, 5)
    assert trend(Series(FIRST, [7])).slope is None


@pytest.mark.parametrize("of", ["weekday", "month"])
@given(series)
def test_a_season_is_its_days_mean_by_that_of_all(of: demand.Season, over: Series) -> None:
    days = defaultdict(list)
    for number, sold in enumerate(over.units):
        day = over.first + number * DAY
        days[day.isoweekday() if of == "weekday" else day.month].append(sold)
    found = seasonality(over, of)
    assert [(part.number, part.days, part.units) for part in found] == [
        (number, len(sold), sum(sold)) for number, sold in sorted(days.items())
    ]
    for part in found:
        if not sum(over.units):
            assert part.ratio is None
            continue
        mean = Fraction(sum(over.units), len(over.units))
        assert part.ratio == Fraction(part.units, part.days) / mean
    if sum(over.units):  # weighted by their days, the parts are a whole
        whole = sum(part.days * part.ratio for part in found if part.ratio is not None)
        assert whole == len(over.units)


@given(st.fractions(-(10**30), 10**30), st.integers(0, 8))
def test_rounding_is_to_the_nearest_however_large(value: Fraction, places: int) -> None:
    found = rounded(value, places)
    assert found is not None
    assert abs(Fraction(found) - value) <= Fraction(1, 2 * 10**places)
    assert found.as_tuple().exponent == -places


def test_halves_are_rounded_to_the_even_digit() -> None:
    assert rounded(Fraction(5, 10**7)) == Decimal("0")
    assert rounded(Fraction(15, 10**7)) == Decimal("0.000002")
    assert rounded(None) is None


# Stock against it.


def level(on_hand: int, reserved: int = 0) -> Level:
    return Level("p", on_hand, on_hand - reserved)


def test_what_runs_out_first_comes_first_and_what_is_not_sold_last() -> None:
    levels = {"a": level(10), "b": level(9, 3), "c": level(0), "d": level(5, 7), "e": level(1)}
    found = cover(levels, {"a": 28, "b": 56, "c": 1, "d": 4, "sold out": 3})
    assert [(one.key, one.units, one.days) for one in found] == [
        ("c", 1, 0),
        ("d", 4, 0),
        ("b", 56, 3),
        ("a", 28, 10),
        ("e", 0, None),
    ]


def test_sell_through_is_of_what_was_sold_and_is_there() -> None:
    levels = {"a": level(10), "b": level(0), "c": level(5), "d": level(-2)}
    found = sell_through(levels, {"a": 30, "gone": 4, "d": 3})
    assert [(one.key, one.on_hand, one.units, one.share) for one in found] == [
        ("d", 0, 3, 1),
        ("gone", 0, 4, 1),
        ("a", 10, 30, Fraction(3, 4)),
        ("c", 5, 0, 0),
        ("b", 0, 0, None),
    ]


def test_what_is_never_sold_comes_first_where_there_is_most_of_it() -> None:
    levels = {"a": level(10), "b": level(90), "c": level(5)}
    assert slowest(levels, {"c": 2, "gone": 0, "best": 9}) == [
        ("b", 0, 90),
        ("a", 0, 10),
        ("gone", 0, 0),
        ("c", 2, 5),
        ("best", 9, 0),
    ]
