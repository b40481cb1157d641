"""What an order costs: a pure function of its lines, the coupon, the taxes, the shipping, the time.

    subtotal + tax + shipping - discount = total

exactly. Prices do not include tax. Lines are exact, be a price as small as 0.001; rounded to the
currency's smallest amount are the discount of a percentage, once, and the tax of each rate, once
for all lines that have it, as an invoice shows it. Both are then shared over the lines by largest
remainder, so that the lines add up to them. What is taken off is taken off before taxes.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from msgspec import Struct

from app.domain.coupon import Coupon
from app.domain.currency import half_up, minor_unit
from app.domain.offer import Offer
from app.domain.refusal import Invalid
from app.domain.tax import SHIPPING, TaxRates
from streams.events import ShippingRate
from streams.money import LARGEST, Money, allocate


class PricedLine(Struct, frozen=True, omit_defaults=True):
    """A line as it is sold. Discount and tax are the whole line's; `price` is one unit's."""

    product_id: str
    variant: str
    name: str
    category: str | None
    price: Money
    quantity: int
    discount: Money
    tax: Money
    tax_rate: str | None


class Totals(Struct, frozen=True, omit_defaults=True):
    """What is paid: subtotal + tax + shipping - discount = total. `tax` is that of the lines and
    of the shipping."""

    currency: str
    lines: Sequence[PricedLine]
    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money
    shipping_tax: Money = Money(0)


def price(
    lines: Sequence[Offer],
    *,
    currency: str,
    country: str,
    coupon: Coupon | None,
    taxes: TaxRates | None,
    shipping: ShippingRate | None,
    now: datetime,
) -> Totals:
    """The totals of lines, none of them of fewer than one unit, with a coupon that was accepted,
    the country's taxes and the rate chosen for shipping. Raises Invalid where it is too much."""
    assert taxes is None or taxes.country == country
    assert shipping is None or shipping.currency == currency
    unit = minor_unit(currency)
    gross = [line.gross for line in lines]
    subtotal = sum(gross)
    _check_size(subtotal)
    discounts = _discounts(lines, gross, coupon, currency)
    net = [whole - off for whole, off in zip(gross, discounts, strict=True)]
    cost = shipping_cost(shipping, sum(net))
    rates = [taxes.rate(line.categories, now) if taxes else None for line in lines]
    shipping_rate = taxes.rate_of(SHIPPING, now) if taxes else None
    *line_taxes, shipping_tax = _taxes([*net, cost], [*rates, shipping_rate], unit)
    tax = sum(line_taxes) + shipping_tax
    discount = sum(discounts)
    total = subtotal + tax + cost - discount
    _check_size(total)
    return Totals(
        currency,
        [
            PricedLine(
                line.product_id,
                line.variant,
                line.name,
                line.category,
                line.price,
                line.quantity,
                Money(off),
                Money(line_tax),
                rate,
            )
            for line, off, line_tax, rate in zip(lines, discounts, line_taxes, rates, strict=True)
        ],
        Money(subtotal),
        Money(discount),
        Money(cost),
        Money(tax),
        Money(total),
        Money(shipping_tax),
    )


def shipping_cost(shipping: ShippingRate | None, goods: int) -> int:
    """What shipping costs for goods of this value, after what is taken off."""
    if shipping is None or (shipping.free_from is not None and goods >= shipping.free_from):
        return 0
    return shipping.amount


def _check_size(amount: int) -> None:
    if amount > LARGEST:
        raise Invalid("too_much", "more than an order can be worth", "quantity")


def _discounts(
    lines: Sequence[Offer], gross: Sequence[int], coupon: Coupon | None, currency: str
) -> list[int]:
    """What is taken off each line: never more than it costs."""
    if coupon is None:
        return [0] * len(lines)
    unit = minor_unit(currency)
    held = [
        whole if coupon.holds_for(line) else 0 for line, whole in zip(lines, gross, strict=True)
    ]
    discount = coupon.discount(sum(held), currency)
    # In whole coins where that can be, so that each line's share can be given back.
    step = unit if all(amount % unit == 0 for amount in (discount, *held)) else 1
    shares = allocate(discount // step, [whole // step for whole in held])
    return [share * step for share in shares]


def _taxes(net: Sequence[int], rates: Sequence[str | None], unit: int) -> list[int]:
    """The tax of each amount: rounded once for each rate, and shared over what has it."""
    found = [0] * len(net)
    of_rate: dict[str, list[int]] = defaultdict(list)
    for place, rate in enumerate(rates):
        if rate is not None:
            of_rate[rate].append(place)
    for rate, places in of_rate.items():
        share = Fraction(rate)
        base = [net[place] for place in places]
        tax = half_up(sum(base) * share.numerator, share.denominator, unit)
        for place, part in zip(places, allocate(tax // unit, base), strict=True):
            found[place] = part * unit
    return found
