"""What the staff says of taxes, shipping, and what currencies are worth."""

from collections.abc import Sequence

from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Work
from app.domain import currency_rate, shipping, tax
from app.domain.currency_rate import CURRENCY_RATE_YEARS, SaidRate
from app.domain.shipping import SHIPPING_RATES
from app.domain.tax import TAX_RATES
from streams.events import CurrencyRatesChanged, ShippingRate, TaxRate


async def set_tax_rates(work: Work, call: Call, country: str, rates: Sequence[TaxRate]) -> Answer:
    """All tax rates of a country."""
    await work.find(TAX_RATES, country)
    check_version(call, work.version(TAX_RATES, country))
    work.tell(*tax.change(country, rates))
    return Answer(shown(work.state(TAX_RATES, country)), version=work.version(TAX_RATES, country))


async def set_shipping_rates(
    work: Work, call: Call, country: str, rates: Sequence[ShippingRate]
) -> Answer:
    """All shipping rates of a country, or of the rest."""
    await work.find(SHIPPING_RATES, country)
    check_version(call, work.version(SHIPPING_RATES, country))
    work.tell(*shipping.change(country, rates))
    return Answer(
        shown(work.state(SHIPPING_RATES, country)), version=work.version(SHIPPING_RATES, country)
    )


async def say_currency_rates(work: Work, said: Sequence[SaidRate]) -> Answer:
    """Rates of some days, of any pairs of currencies: all of them, or none. The answer says how
    many of them are news."""
    years = currency_rate.by_year(said)
    states = await work.load(CURRENCY_RATE_YEARS, [year.id for year in years])
    news = 0
    for year, rates in years.items():
        for told in currency_rate.say(states.get(year.id), year, rates):
            assert isinstance(told, CurrencyRatesChanged)
            work.tell(told)
            news += len(told.rates)
    return Answer({"said": len(said), "changed": news})
