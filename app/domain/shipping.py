"""What shipping to a country costs, by method."""

from collections.abc import Sequence

from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.currency import minor_unit
from app.domain.refusal import Invalid
from streams.events import Data, ShippingRate, ShippingRatesChanged

REST = "*"
"""In a country's place: all that have no rates of their own."""


class ShippingRates(Struct, frozen=True, omit_defaults=True):
    """All methods by which a country is shipped to."""

    country: str
    rates: Sequence[ShippingRate] = ()


def change(country: str, rates: Sequence[ShippingRate]) -> list[Data]:
    """Sets a country's rates. Raises Invalid."""
    if len({(rate.method, rate.currency) for rate in rates}) < len(rates):
        raise Invalid("twice", "a method has one rate in a currency", "rates")
    for rate in rates:
        if rate.amount % minor_unit(rate.currency):
            reason = f"smaller than what can be paid in {rate.currency}"
            raise Invalid("too_small", reason, "rates.amount")
    return [ShippingRatesChanged(country=country, rates=list(rates))]


def methods(
    own: ShippingRates | None, rest: ShippingRates | None, currency: str
) -> Sequence[ShippingRate]:
    """By what a country can be shipped to, given its own rates and those of the rest."""
    found = own if own and own.rates else rest
    return [rate for rate in found.rates if rate.currency == currency] if found else []


def choose(
    own: ShippingRates | None, rest: ShippingRates | None, method: str | None, currency: str
) -> ShippingRate | None:
    """The rate of a method; None where the shop has told no rates at all. Raises Invalid."""
    if method is None and not (own and own.rates) and not (rest and rest.rates):
        return None
    there = methods(own, rest, currency)
    for rate in there:
        if rate.method == method:
            return rate
    named = ", ".join(sorted(rate.method for rate in there)) or "none"
    raise Invalid(
        "shipping_method", f"name one that there is, in {currency}: {named}", "shipping_method"
    )


def evolve(_: ShippingRates | None, told: Told) -> ShippingRates:
    """The rates after one more event."""
    assert isinstance(told.data, ShippingRatesChanged)
    return ShippingRates(told.data.country, told.data.rates)


SHIPPING_RATES = Aggregate(
    "shipping_rates",
    ShippingRates,
    evolve,
    {ShippingRatesChanged: lambda data: data.country},
)
