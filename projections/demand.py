"""Demand: how many units were sold on each day, what that is on average, and where it goes.

Pure functions over a daily series, exact to the last: fractions, which are rounded where they are
shown. Of the shop's days only full ones count, today never. Days without a sale are zeros, from the
first day on which anything was sold.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Literal, NamedTuple

from projections.clock import ShopClock
from projections.measured import Ask
from projections.read_model import Transaction
from projections.sales import SALES

Season = Literal["weekday", "month"]

WINDOWS = (7, 28, 90)  # days
PLACES = 6
_DAY = timedelta(days=1)


class Series(NamedTuple):
    """Units by day, from the first of them on."""

    first: date
    units: Sequence[int]

    def days(self) -> Iterable[tuple[date, int]]:
        return ((self.first + number * _DAY, units) for number, units in enumerate(self.units))


class Trend(NamedTuple):
    """The straight line that is nearest to a series, by least squares: how many units more are sold
    each day than the day before. No line goes through a single day."""

    days: int
    units: int
    slope: Fraction | None


class Part(NamedTuple):
    """A weekday or month: its days in a series, the units sold on them, and how much more a day of
    it sells than any day does; None where nothing was sold at all."""

    number: int  # ISO: Monday is 1, January is 1
    days: int
    units: int
    ratio: Fraction | None


def daily(units: Mapping[date, int], first: date, last: date, *, begun: bool = False) -> Series:
    """The days first..last; where it had not `begun` before them, from the first sale on."""
    start = first if begun else min((day for day, sold in units.items() if sold), default=None)
    if start is None or start > last:
        return Series(first, ())
    start = max(start, first)
    days = range((last - start).days + 1)
    return Series(start, [units.get(start + number * _DAY, 0) for number in days])


def moving(series: Series, window: int) -> list[Fraction | None]:
    """The mean of each day and those before it, so many together; None while there are fewer."""
    found = list[Fraction | None]()
    total = 0
    for number, units in enumerate(series.units):
        total += units - (series.units[number - window] if number >= window else 0)
        found.append(Fraction(total, window) if number >= window - 1 else None)
    return found


def trend(series: Series) -> Trend:
    """See Trend."""
    count, total = len(series.units), sum(series.units)
    if count < 2:
        return Trend(count, total, None)
    # Of days 0..n-1 the sum is n(n-1)/2, and that of their squares n(n-1)(2n-1)/6.
    days = count * (count - 1) // 2
    squares = days * (2 * count - 1) // 3
    products = sum(number * units for number, units in enumerate(series.units))
    slope = Fraction(count * products - days * total, count * squares - days * days)
    return Trend(count, total, slope)


def seasonality(series: Series, of: Season) -> list[Part]:
    """Each weekday or month that has a day in the series, by number."""
    parts: dict[int, list[int]] = {}
    for day, units in series.days():
        part = parts.setdefault(day.isoweekday() if of == "weekday" else day.month, [0, 0])
        part[0] += 1
        part[1] += units
    count, total = len(series.units), sum(series.units)
    return [
        Part(number, days, units, Fraction(units * count, days * total) if total else None)
        for number, (days, units) in sorted(parts.items())
    ]


def rounded(value: Fraction | int | None, places: int = PLACES) -> Decimal | None:
    """To so many decimal places, halves to the even digit. Exact before that, however large."""
    if value is None:
        return None
    scaled = round(value * 10**places)  # halves to even, for a fraction
    with localcontext(prec=len(str(scaled)) + places, rounding=ROUND_HALF_EVEN):
        return Decimal(scaled).scaleb(-places)


# From what is sold.


async def series_of(
    transaction: Transaction,
    clock: ShopClock,
    shop: str,
    first: date,
    last: date,
    *,
    by: str = "total",
    keys: Sequence[str] = (),
    top: int = 10,
    before: int = 0,
) -> dict[str, Series]:
    """A series for each of these keys, or for those `top` that sold most on these days: by key, and
    beginning so many days `before`. Of the `total` there is one, of key ''."""
    ask = Ask(shop, first, last, "total", () if by == "total" else (by,))
    if ask.by and not keys:
        keys = [key for key, _ in (await sold(transaction, clock, ask))[:top]]
    if ask.by:
        ask = ask._replace(only={by: sorted(set(keys))})
    first -= before * _DAY
    begun = await _first_months(transaction, clock, ask)
    # Whether it had begun before the first day may have to be seen from the days of its month.
    from_month = await _by_day(transaction, clock, ask._replace(first=first.replace(day=1)))
    found = {}
    for key in sorted(set(keys)) if ask.by else [""]:
        days = from_month.get(key, {})
        month = begun.get(key)
        this_month = any(units and day < first for day, units in days.items())
        had_begun = this_month or (month is not None and month < first.replace(day=1))
        units = {day: units for day, units in days.items() if day >= first}
        found[key] = daily(units, first, last, begun=had_begun)
    return found


async def sold(transaction: Transaction, clock: ShopClock, ask: Ask) -> list[tuple[str, int]]:
    """Units by key, of all currencies together: those that sold most first."""
    units: dict[str, int] = {}
    for row in await SALES.rows(transaction, clock, ask._replace(grain="total"), ("units",)):
        key = row.key[0] if row.key else ""
        units[key] = units.get(key, 0) + int(row.values["units"])
    return sorted(units.items(), key=lambda one: (-one[1], one[0]))


async def _first_months(transaction: Transaction, clock: ShopClock, ask: Ask) -> Mapping[str, date]:
    """The month of each key's first sale, up to the last day."""
    found: dict[str, date] = {}
    asked = ask._replace(first=None, grain="month")
    for row in await SALES.rows(transaction, clock, asked, ("units",)):
        if row.period is not None and row.values["units"]:
            found.setdefault(row.key[0] if row.key else "", row.period)
    return found


async def _by_day(
    transaction: Transaction, clock: ShopClock, ask: Ask
) -> Mapping[str, dict[date, int]]:
    found: dict[str, dict[date, int]] = {}
    for row in await SALES.rows(transaction, clock, ask._replace(grain="day"), ("units",)):
        days = found.setdefault(row.key[0] if row.key else "", {})
        assert row.period is not None
        days[row.period] = days.get(row.period, 0) + int(row.values["units"])
    return found
