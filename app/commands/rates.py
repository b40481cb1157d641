"""What the staff says of taxes and shipping."""

from collections.abc import Sequence

from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Work
from app.domain import shipping, tax
from app.domain.shipping import SHIPPING_RATES
from app.domain.tax import TAX_RATES
from streams.events import ShippingRate, TaxRate


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
