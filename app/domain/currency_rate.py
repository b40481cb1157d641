"""What one currency is worth in another, day by day, as the shop's staff says it.

An aggregate is a pair of currencies in one year, so that a state stays small however long rates are
told each day.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Invalid
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.events import CurrencyRate, CurrencyRatesChanged, Data


class Pair(NamedTuple):
    """1 unit of `currency` is so much `into` another; the other way round is another pair."""

    currency: str
    into: str


class Year(NamedTuple):
    """A pair's rates of one year."""

    pair: Pair
    year: int

    @property
    def id(self) -> str:
        """`USD-EUR-2026`."""
        return f"{self.pair.currency}-{self.pair.into}-{self.year}"


class SaidRate(NamedTuple):
    """A rate from a day on; None withdraws what was said of that day."""

    pair: Pair
    day: date
    rate: str | None


class CurrencyRateYear(Struct, frozen=True):
    """What was said last of each of its days."""

    currency: str
    into: str
    rates: Mapping[str, str] = {}


def by_year(said: Iterable[SaidRate]) -> dict[Year, list[SaidRate]]:
    """What is said, by what it is about, in order. Raises Invalid."""
    found: dict[Year, list[SaidRate]] = {}
    for number, one in enumerate(said):
        _check(one, f"rates.{number}")
        found.setdefault(Year(one.pair, one.day.year), []).append(one)
    for year, rates in found.items():
        if len({one.day for one in rates}) < len(rates):
            raise Invalid("twice", f"a day of {year.id} is named twice", "rates")
    return dict(sorted(found.items()))


def _check(said: SaidRate, field: str) -> None:
    if said.pair.currency == said.pair.into:
        raise Invalid("same", "a currency is always worth itself", f"{field}.into")
    if not EARLIEST_YEAR <= said.day.year <= LATEST_YEAR:
        raise Invalid("day", f"not between {EARLIEST_YEAR} and {LATEST_YEAR}", f"{field}.day")
    if said.rate is not None and not Decimal(said.rate):
        raise Invalid("rate", "what is worth nothing has no rate", f"{field}.rate")


def say(state: CurrencyRateYear | None, year: Year, said: Sequence[SaidRate]) -> list[Data]:
    """The rates of some days, past ones too; nothing where all of that was said before."""
    known = state.rates if state else {}
    news = [
        CurrencyRate(day=one.day.isoformat(), rate=one.rate)
        for one in sorted(said)
        if not _same(known.get(one.day.isoformat()), one.rate)
    ]
    return [CurrencyRatesChanged(**year.pair._asdict(), rates=news)] if news else []


def _same(known: str | None, said: str | None) -> bool:
    """`0.9` is `0.90`."""
    if known is None or said is None:
        return known is said
    return Decimal(known) == Decimal(said)


def evolve(state: CurrencyRateYear | None, told: Told) -> CurrencyRateYear:
    """The rates after one more event."""
    data = told.data
    assert isinstance(data, CurrencyRatesChanged)
    said = {one.day: one.rate for one in data.rates}
    rates = {**(state.rates if state else {}), **said}
    kept = {day: rate for day, rate in sorted(rates.items()) if rate is not None}
    return CurrencyRateYear(data.currency, data.into, kept)


def _id(data: CurrencyRatesChanged) -> str:
    return Year(Pair(data.currency, data.into), int(data.rates[0].day[:4])).id


CURRENCY_RATE_YEARS = Aggregate(
    "currency_rate_years", CurrencyRateYear, evolve, {CurrencyRatesChanged: _id}
)
