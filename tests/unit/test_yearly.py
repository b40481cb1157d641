"""Rows beside those of a year before: which day is beside which, and that none is lost."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.reports.metrics import change, reports
from app.reports.yearly import beside, first_before, last_before, moved, year_before
from projections.measured import Ask, Grain, Measured

DAY = timedelta(days=1)
GRAINS: Sequence[Grain] = ("day", "week", "month", "quarter", "year")
BEGINS: Mapping[Grain, Any] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
    "quarter": lambda day: day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
    "year": lambda day: day.replace(day=1, month=1),
}


def counterpart(day: date, grain: Grain) -> date | None:
    """The day that one is beside a year later, by words of the calendar alone."""
    if grain == "week":
        year, week, weekday = day.isocalendar()
        text = f"{year + 1}-W{week:02d}-{weekday}"
        return date.fromisoformat(text) if week < 53 or _long(year + 1) else None
    if (day.month, day.day) == (2, 29):
        return None
    return date(day.year + 1, day.month, day.day)


def _long(year: int) -> bool:
    """Whether an ISO year has 53 weeks: the Thursday of its last is in it."""
    return date(year, 12, 31).weekday() == 3 or date(year, 1, 1).weekday() == 3


@pytest.mark.parametrize(
    ("day", "grain", "first", "last"),
    [
        ("2024-02-29", "day", "2023-03-01", "2023-02-28"),
        ("2025-02-28", "day", "2024-02-28", "2024-02-28"),
        ("2025-02-28", "total", "2024-02-28", "2024-02-29"),
        ("2026-12-31", "month", "2025-12-31", "2025-12-31"),
        ("2026-03-04", "week", "2025-03-05", "2025-03-05"),  # W10, a Wednesday
        ("2020-12-30", "week", "2019-12-30", "2019-12-29"),  # W53, which 2019 has not
    ],
)
def test_a_range_of_a_year_before(day: str, grain: Grain, first: str, last: str) -> None:
    told = date.fromisoformat(day)
    assert first_before(told, grain).isoformat() == first
    assert last_before(told, grain).isoformat() == last


@given(
    st.dictionaries(
        st.dates(date(2019, 1, 1), date(2025, 12, 31)), st.integers(1, 99), max_size=40
    ),
    st.sampled_from(GRAINS),
    st.dates(date(2020, 1, 1), date(2025, 12, 31)),
    st.integers(0, 800),
)
def test_a_row_is_there_for_each_period_of_both_years_and_has_all_of_it(
    sold: Mapping[date, int], grain: Grain, first: date, length: int
) -> None:
    """Whole periods, so that a day of a year before falls into the range or beside it, for good."""
    first = BEGINS[grain](first)
    last = first + timedelta(days=length)
    while last == first or BEGINS[grain](last + DAY) != last + DAY:
        last += DAY

    def rows(ask: Ask) -> list[Measured]:
        sums: dict[date, int] = {}
        for day, units in sold.items():
            if ask.first and ask.last and ask.first <= day <= ask.last:
                period = BEGINS[grain](day)
                sums[period] = sums.get(period, 0) + units
        return [Measured(day, (), "EUR", {"units": units}) for day, units in sorted(sums.items())]

    ask = Ask("main", first, last, grain)
    found = beside(rows(ask), rows(year_before(ask)), grain, open_end=False)
    now: dict[date, int] = {}
    before: dict[date, int] = {}
    for day, units in sold.items():
        if first <= day <= last:
            now[BEGINS[grain](day)] = now.get(BEGINS[grain](day), 0) + units
        if grain in ("month", "quarter", "year"):  # all of the period, its 29 February included
            later: date | None = BEGINS[grain](day).replace(year=day.year + 1)
        else:
            later = counterpart(BEGINS[grain](day), grain)
        if later and first <= later <= last:
            before[later] = before.get(later, 0) + units
    assert {one.row.period: one.row.values.get("units", 0) for one in found} == {
        period: now.get(period, 0) for period in {*now, *before}
    }
    assert {one.row.period: one.before["units"] for one in found if one.before} == before
    assert [one.row.period for one in found] == sorted({*now, *before})


@given(st.dates(date(1971, 1, 1), date(2998, 12, 31)), st.sampled_from(GRAINS))
def test_periods_and_those_of_a_year_before_belong_to_each_other(day: date, grain: Grain) -> None:
    period = BEGINS[grain](day)
    later = moved(period, grain, 1)
    assert later is None or moved(later, grain, -1) == period
    assert later == counterpart(period, grain) or grain in ("quarter", "year")


def test_where_the_calendar_has_no_such_period_nothing_is_said() -> None:
    leap = Measured(date(2024, 2, 29), (), "EUR", {"units": 3})
    (one,) = beside([leap], [], "day", open_end=False)
    assert (one.before, one.had_period) == ({}, False)
    assert beside([], [leap], "day", open_end=False) == []


def test_an_open_range_ends_with_what_there_is() -> None:
    march, april = (Measured(date(2025, n, 1), (), "EUR", {"units": n}) for n in (3, 4))
    now = Measured(date(2026, 3, 1), ("DE",), "EUR", {"units": 1})
    found = beside([now], [march, april], "month", open_end=True)
    assert [(one.row.period, one.row.key) for one in found] == [
        (date(2026, 3, 1), ()),
        (date(2026, 3, 1), ("DE",)),
    ]
    assert len(beside([now], [march, april], "month", open_end=False)) == 3


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [(3, 2, "0.5"), (1, 2, "-0.5"), (0, 2, "-1"), (1, 0, None), (None, 2, None), (2, None, None)],
)
def test_a_change_is_a_share_of_what_was_before(
    now: int | None, before: int | None, expected: str | None
) -> None:
    assert change(now, before) == (None if expected is None else Decimal(expected))
    assert change(2, -2) == 2, "it went up, whatever the sign"


def test_only_amounts_are_converted() -> None:
    asked = {report.name: report.asked for report in reports()}
    assert asked["orders"].model_validate({"into": "EUR"})
    with pytest.raises(ValidationError, match="into"):
        asked["new_customers"].model_validate({"into": "EUR"})


@pytest.mark.parametrize("asked", [{"grain": "hour"}, {"grain": "total"}])
def test_what_cannot_be_compared_is_refused(asked: Mapping[str, str]) -> None:
    net = next(report for report in reports() if report.name == "net")
    net.asked.model_validate({"compare": "year"})
    with pytest.raises(ValidationError, match="compare"):
        net.asked.model_validate({"compare": "year", **asked})
