"""The command that places an order: out of a cart, or of lines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.commands.execute import Answer
from app.commands.ordering import Party, answer
from app.commands.work import Raced, Work
from app.domain import coupon as coupons
from app.domain import ordering, shipping, shopping, stock
from app.domain.cart import CART, Cart
from app.domain.coupon import COUPON, Coupon
from app.domain.offer import Offer, offer
from app.domain.order import ORDER
from app.domain.ordering import Purchase
from app.domain.pricing import Totals, price
from app.domain.product import PRODUCT
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown, together
from app.domain.shipping import REST, SHIPPING_RATES
from app.domain.shopping import Shopper
from app.domain.stock import STOCK, Stock
from app.domain.tax import TAX_RATES
from streams.events import Address


class Wish(NamedTuple):
    """Some units of a variant, and where in the request they are asked for."""

    variant: str
    quantity: int
    field: str


class NewOrder(NamedTuple):
    """What is asked for: a cart, or lines; of whom, where it goes, and how it is paid."""

    order_id: str
    payment_method: str
    cart_id: str | None = None
    lines: Sequence[tuple[str, int]] = ()
    user_id: str | None = None
    currency: str | None = None
    country: str | None = None
    coupon: str | None = None
    shipping_method: str | None = None
    shipping_address: Address | None = None
    email: str | None = None


class Found(NamedTuple):
    """What was found of the lines that were asked for: those that are for sale, and the faults."""

    offers: Sequence[Offer]
    currency: str
    faults: Sequence[Refusal]


async def place_order(work: Work, party: Party, new: NewOrder) -> Answer:
    """One order, with its stock set aside, its coupon redeemed and its cart closed: or nothing,
    with all that is at fault. Raises Refusal."""
    cart = await _cart(work, party, new)
    wishes = _wishes(new, cart)
    found = await _offers(work, wishes, cart.currency if cart else new.currency)
    person, customer = _whose(party, new, cart)
    code = coupons.code_of(new.coupon) if new.coupon else cart.coupon if cart else None
    coupon = (await work.load(COUPON, [code])).get(code) if code else None
    if cart and await work.find(CART, cart.cart_id) != cart:
        raise Raced  # it was changed at this moment
    await work.load(ORDER, [new.order_id])
    stocks = await work.load(STOCK, [wish.variant for wish in wishes])
    faults = [*found.faults, *_short(stocks, wishes), *_of_request(new, party)]
    if code and found.offers:
        refusal = coupons.refusal(
            coupon, found.offers, currency=found.currency, customer=customer, now=work.now
        )
        faults += [refusal] if refusal else []
    totals = await _totals(work, new, found, coupon, faults)
    purchase = Purchase(
        new.order_id,
        new.payment_method,
        country_of(new) or "",
        new.shipping_method,
        cart.cart_id if cart else None,
        code,
        new.email,
        new.shipping_address,
    )
    work.tell(*ordering.place(purchase, totals), person=person)
    for wish in wishes:
        work.tell(*stock.reserve(stocks[wish.variant], new.order_id, wish.quantity))
    if coupon:
        redeemed = coupons.redeem(coupon, new.order_id, totals.discount, totals.currency)
        work.tell(*redeemed, person=customer)
    if cart:
        work.tell(*shopping.check_out(cart, new.order_id), person=cart.customer)
    return answer(work, new.order_id, 201)


def _whose(party: Party, new: NewOrder, cart: Cart | None) -> tuple[str, str | None]:
    """The person that an order is of, and the customer where that is one."""
    if party.guest:
        return party.person, None
    carts = cart.customer if cart else None
    customer = (new.user_id or carts) if party.staff else party.person
    return customer or (cart.cart_id if cart else new.order_id), customer


async def _cart(work: Work, party: Party, new: NewOrder) -> Cart | None:
    """Raises Unknown, Invalid, Conflict."""
    if (new.cart_id is None) == (not new.lines):
        raise Invalid("one_of", "an order is made of a cart, or of lines", "cart_id")
    if new.cart_id is None:
        return None
    cart = (await work.look(CART, [new.cart_id])).get(new.cart_id)
    shopper = Shopper(party.person, None) if party.guest else Shopper(None, party.person)
    if not (party.staff and cart):
        shopping.owned(cart, new.cart_id, shopper)
    assert cart is not None
    shopping.check_out(cart, new.order_id)  # it can be, as far as is known by now
    return cart


def _wishes(new: NewOrder, cart: Cart | None) -> Sequence[Wish]:
    """Raises Invalid."""
    lines = [(line.variant, line.quantity) for line in cart.lines] if cart else new.lines
    variants = [variant for variant, _ in lines]
    twice = [
        Invalid("twice", "it is asked for twice", f"lines.{place}.variant")
        for place, variant in enumerate(variants)
        if variant in variants[:place]
    ]
    if twice:
        raise together(twice)
    return [Wish(*line, f"lines.{place}") for place, line in enumerate(lines)]


async def _offers(work: Work, wishes: Sequence[Wish], currency: str | None) -> Found:
    """What each variant costs at this moment."""
    stocks = await work.look(STOCK, [wish.variant for wish in wishes])
    products = await work.look(PRODUCT, sorted({one.product_id for one in stocks.values()}))
    offers: list[Offer] = []
    faults: list[Refusal] = []
    for variant, quantity, field in wishes:
        held = stocks.get(variant)
        product = products.get(held.product_id) if held else None
        try:
            offers.append(offer(product, variant, quantity, f"{field}.variant"))
        except Refusal as refusal:
            faults.append(refusal)
            continue
        assert product is not None
        currency = currency or product.currency
        if product.currency != currency:
            reason = f"{variant!r} is sold in {product.currency}, not in {currency}"
            faults.append(Conflict("currency", reason, f"{field}.variant"))
    return Found(offers, currency or "", faults)


def _short(stocks: Mapping[str, Stock], wishes: Sequence[Wish]) -> list[Refusal]:
    """What there is too little of."""
    return [
        Conflict(
            "out_of_stock",
            f"{held.available} of {variant!r} are available, {quantity} were asked for",
            f"{field}.quantity",
        )
        for variant, quantity, field in wishes
        if (held := stocks.get(variant)) and held.available < quantity
    ]


def country_of(new: NewOrder) -> str | None:
    address = new.shipping_address
    return new.country or (address.country if address else None)


def _of_request(new: NewOrder, party: Party) -> list[Refusal]:
    """What is at fault whatever there is in the shop."""
    faults: list[Refusal] = []
    address = new.shipping_address
    if country_of(new) is None:
        faults.append(Invalid("needed", "where is it sent to?", "country"))
    if address and new.country and address.country != new.country:
        reason = f"the order is for {new.country}, its address is in {address.country}"
        faults.append(Invalid("country", reason, "shipping_address.country"))
    if new.payment_method not in ordering.METHODS:
        reason = f"expected one of {', '.join(ordering.METHODS)}"
        faults.append(Invalid("payment_method", reason, "payment_method"))
    if new.user_id not in (None, party.person) and not party.staff:
        faults.append(Unknown("unknown", f"there is no user {new.user_id!r}", "user_id"))
    return faults


async def _totals(
    work: Work,
    new: NewOrder,
    found: Found,
    coupon: Coupon | None,
    faults: Sequence[Refusal],
) -> Totals:
    """What it costs. Raises Refusal, with all faults."""
    country, faults = country_of(new) or "", [*faults]
    rates = await work.look(SHIPPING_RATES, [country, REST])
    chosen = None
    try:
        chosen = shipping.choose(
            rates.get(country), rates.get(REST), new.shipping_method, found.currency
        )
    except Refusal as refusal:
        faults.append(refusal)
    if faults:
        raise together(faults)
    taxes = await work.look(TAX_RATES, [country])
    return price(
        found.offers,
        currency=found.currency,
        country=country,
        coupon=coupon,
        taxes=taxes.get(country),
        shipping=chosen,
        now=work.now,
    )
