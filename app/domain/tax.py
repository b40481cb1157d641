"""A country's tax rates, by category and time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import combinations

from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Invalid
from streams.events import Data, TaxRate, TaxRatesChanged

SHIPPING = "shipping"
"""The category whose rate is that of shipping, which is not taxed where it has none."""

_EVER = datetime.max.replace(tzinfo=UTC)
_NEVER = datetime.min.replace(tzinfo=UTC)


class TaxRates(Struct, frozen=True, omit_defaults=True):
    """All rates of a country, past and future ones among them."""

    country: str
    rates: Sequence[TaxRate] = ()

    def rate(self, categories: Sequence[str], now: datetime) -> str | None:
        """The rate for a product by its categories, most specific first; else the country's."""
        for category in (*categories, None):
            if found := self.rate_of(category, now):
                return found
        return None

    def rate_of(self, category: str | None, now: datetime) -> str | None:
        """The rate told of this category alone, at this moment."""
        of_category = (rate for rate in self.rates if rate.category == category)
        return next((rate.rate for rate in of_category if _holds(rate, now)), None)


def _holds(rate: TaxRate, now: datetime) -> bool:
    return (rate.valid_from or _NEVER) <= now < (rate.valid_until or _EVER)


def change(country: str, rates: Sequence[TaxRate]) -> list[Data]:
    """Sets a country's rates, none of which hold for the same at the same time. Raises Invalid."""
    for rate in rates:
        if Fraction(rate.rate) > 1:
            raise Invalid("rate", 'expected a share of the price, such as "0.19"', "rates.rate")
        if rate.valid_from and rate.valid_until and rate.valid_from >= rate.valid_until:
            raise Invalid("no_time", "it ends before it begins", "rates.valid_until")
    for one, other in combinations(rates, 2):
        if one.category == other.category and _overlap(one, other):
            told = "all others" if one.category is None else repr(one.category)
            raise Invalid("overlap", f"two rates for {told} hold at the same time", "rates")
    return [TaxRatesChanged(country=country, rates=list(rates))]


def _overlap(one: TaxRate, other: TaxRate) -> bool:
    begins = max(one.valid_from or _NEVER, other.valid_from or _NEVER)
    return begins < min(one.valid_until or _EVER, other.valid_until or _EVER)


def evolve(_: TaxRates | None, told: Told) -> TaxRates:
    """The rates after one more event."""
    assert isinstance(told.data, TaxRatesChanged)
    return TaxRates(told.data.country, told.data.rates)


TAX_RATES = Aggregate("tax_rates", TaxRates, evolve, {TaxRatesChanged: lambda data: data.country})
