"""What variants cost at this moment, and what lines of them come to."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from app.domain import offer as offers
from app.domain import shipping
from app.domain.category import CATEGORY
from app.domain.coupon import Coupon
from app.domain.offer import Offer
from app.domain.pricing import Totals, price
from app.domain.product import PRODUCT, Product
from app.domain.refusal import Unknown
from app.domain.shipping import REST, SHIPPING_RATES
from app.domain.stock import STOCK
from app.domain.tax import TAX_RATES
from app.queries.states import Looks
from streams.events import ShippingRate
from streams.money import Money


class OnSale(NamedTuple):
    """A variant as it is now: its product, how many units there are of it, and the categories that
    the product's stands in, the nearest first."""

    product: Product
    available: int
    within: Sequence[str] = ()

    def offer(self, variant: str, quantity: int, field: str = "variant") -> Offer:
        """So many of it. Raises Unknown, Conflict."""
        return offers.offer(self.product, variant, quantity, field, self.within)

    def price(self, variant: str) -> Money | None:
        """Of one unit; None where it is not for sale any more."""
        found = self.product.variant(variant)
        return found.price if found and not self.product.delisted else None


async def on_sale(
    states: Looks, variants: Sequence[str], *, priced: bool = True
) -> Mapping[str, OnSale]:
    """Variants as they are now; those that there never were are not among them. The categories
    above theirs are looked for where they are to be `priced`: taxes and coupons ask for them."""
    stocks = await states.look(STOCK, variants)
    products = await states.look(PRODUCT, sorted({one.product_id for one in stocks.values()}))
    categories = {one.category for one in products.values() if one.category}
    above = await _above(states, categories) if priced else {}
    return {
        variant: OnSale(product, stock.available, above.get(product.category or "", ()))
        for variant, stock in stocks.items()
        if (product := products.get(stock.product_id))
    }


async def _above(states: Looks, categories: Collection[str]) -> Mapping[str, Sequence[str]]:
    """For each category those that it stands in, the nearest first. Read level by level."""
    parents: dict[str, str | None] = {}
    while missing := {*categories, *filter(None, parents.values())} - parents.keys():
        there = await states.look(CATEGORY, sorted(missing))
        parents |= {one: there[one].parent if one in there else None for one in missing}
    found: dict[str, list[str]] = {}
    for category in categories:
        line = found[category] = []
        while (above := parents[line[-1] if line else category]) and above not in line:
            line.append(above)
    return found


def found(sales: Mapping[str, OnSale], variant: str, field: str = "variant") -> OnSale:
    """Raises Unknown."""
    if variant not in sales:
        raise Unknown("unknown", f"there is no variant {variant!r}", field)
    return sales[variant]


def prices(sales: Mapping[str, OnSale]) -> Mapping[str, Money]:
    """Of what is for sale, by variant."""
    told = {variant: sale.price(variant) for variant, sale in sales.items()}
    return {variant: price for variant, price in told.items() if price is not None}


def offered(sales: Mapping[str, OnSale], wanted: Iterable[tuple[str, int]]) -> list[Offer]:
    """Variants and quantities of what is for sale, at the present prices."""
    return [
        sales[variant].offer(variant, quantity)
        for variant, quantity in wanted
        if variant in sales and sales[variant].price(variant) is not None
    ]


async def shipping_methods(states: Looks, country: str, currency: str) -> Sequence[ShippingRate]:
    """By what a country is shipped to."""
    rates = await states.look(SHIPPING_RATES, [country, REST])
    return shipping.methods(rates.get(country), rates.get(REST), currency)


async def quote(
    states: Looks,
    lines: Sequence[Offer],
    *,
    currency: str,
    country: str,
    coupon: Coupon | None,
    method: str | None,
    now: datetime,
) -> Totals:
    """What lines come to, sent to a country by a method, with a coupon that was accepted.

    Raises Invalid.
    """
    taxes = await states.look(TAX_RATES, [country])
    rates = await states.look(SHIPPING_RATES, [country, REST])
    return price(
        lines,
        currency=currency,
        country=country,
        coupon=coupon,
        taxes=taxes.get(country),
        shipping=shipping.choose(rates.get(country), rates.get(REST), method, currency),
        now=now,
    )
