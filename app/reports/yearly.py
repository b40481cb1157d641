"""Rows beside those of the same period a year before.

A day's is the same date, a week's the ISO week of the same number, a month's the same month. A
range is moved as its ends are: the last day of a month stays one, but where days are compared.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from projections.measured import Ask, Grain, Measured

_DAY = timedelta(days=1)

Values = Mapping[str, Decimal | int]


class Beside(NamedTuple):
    """A row, and what there was a year before: no values where there was nothing. `had_period` is
    whether the year before has such a period at all."""

    row: Measured
    before: Values
    had_period: bool


def year_before(ask: Ask) -> Ask:
    """The same question about the year before."""
    first = ask.first and first_before(ask.first, ask.grain)
    last = ask.last and last_before(ask.last, ask.grain)
    return ask._replace(first=first, last=last)


def first_before(day: date, grain: Grain) -> date:
    """Where a range begins a year before; what that has not is passed over."""
    if grain == "week":
        year, week, weekday = day.isocalendar()
        found = _of_week(year - 1, week, weekday)
        return found or date.fromisocalendar(year, 1, 1)
    return _of_year(day, day.year - 1) or date(day.year - 1, 3, 1)


def last_before(day: date, grain: Grain) -> date:
    """Where a range ends a year before."""
    if grain == "week":
        year, week, weekday = day.isocalendar()
        return _of_week(year - 1, week, weekday) or date.fromisocalendar(year, 1, 1) - _DAY
    following = day + _DAY
    if grain != "day" and following.day == 1:
        return following.replace(year=following.year - 1) - _DAY
    return _of_year(day, day.year - 1) or date(day.year - 1, 2, 28)


def _of_year(day: date, year: int) -> date | None:
    """The same date in another year, if that has it."""
    try:
        return day.replace(year=year)
    except ValueError:
        return None


def _of_week(year: int, week: int, weekday: int) -> date | None:
    try:
        return date.fromisocalendar(year, week, weekday)
    except ValueError:
        return None


def moved(period: date | None, grain: Grain, years: int) -> date | None:
    """The same period so many years later; None where that year has none. A total stays."""
    if period is None:
        return None
    if grain == "week":
        year, week, weekday = period.isocalendar()
        return _of_week(year + years, week, weekday)
    return _of_year(period, period.year + years)


def beside(
    now: Sequence[Measured], before: Sequence[Measured], grain: Grain, *, open_end: bool
) -> list[Beside]:
    """Rows of both years, by period, key and currency; one that is in one year alone is there, too.

    Where the range has no end, it ends with the last period of which there is anything.
    """
    rows = {(row.period, row.key, row.currency): row for row in now}
    earlier: dict[tuple[date | None, tuple[str, ...], str], Values] = {}
    latest = max((row.period for row in now if row.period), default=date.min)
    for row in before:
        period = moved(row.period, grain, 1)
        gone = period is None and row.period is not None
        if not gone and not (open_end and period and period > latest):
            earlier[period, row.key, row.currency] = row.values
    found = []
    for key in sorted({*rows, *earlier}, key=lambda one: (one[0] or date.min, *one[1:])):
        row = rows.get(key) or Measured(*key, {})
        had = key[0] is None or moved(key[0], grain, -1) is not None
        found.append(Beside(row, earlier.get(key, {}), had))
    return found
