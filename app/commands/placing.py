"""The command that places an order: out of a cart, or of lines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.commands.execute import Answer
from app.commands.ordering import Party, answer
from app.commands.work import Raced, Work
from app.domain import coupon as coupons
from app.domain import ordering, shipping, shopping, stock
from app.domain.account import ACCOUNT
from app.domain.cart import CART, Cart
from app.domain.coupon import COUPON
from app.domain.offer import Offer
from app.domain.order import ORDER
from app.domain.ordering import Purchase
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown, together
from app.domain.shipping import REST, SHIPPING_RATES
from app.domain.shopping import Shopper
from app.domain.stock import STOCK, Stock
from app.queries.quote import OnSale, found, on_sale, prices, quote
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

    @property
    def destination(self) -> str | None:
        """The country that it is sent to."""
        address = self.shipping_address
        return self.country or (address.country if address else None)


async def place_order(work: Work, party: Party, new: NewOrder) -> Answer:
    """One order, with its stock set aside, its coupon redeemed and its cart closed: or nothing,
    and all that is at fault is told together. Raises Refusal."""
    cart = await _cart(work, party, new)
    wishes = _wishes(new, cart)
    sales = await on_sale(work, [wish.variant for wish in wishes])
    offers, currency, faults = _offers(sales, wishes, cart.currency if cart else new.currency)
    faults += [*await _of_request(work, new, party), *_of_cart(cart, sales)]
    faults += await _of_shipping(work, new, currency)
    person, customer = _whose(party, new, cart)
    code = coupons.code_of(new.coupon) if new.coupon else cart.coupon if cart else None
    # From here on things are locked, in the order of AGGREGATES.
    coupon = (await work.load(COUPON, [code])).get(code) if code else None
    if cart and await work.find(CART, cart.cart_id) != cart:
        raise Raced  # it was changed at this moment
    await work.load(ORDER, [new.order_id])
    stocks = await work.load(STOCK, [wish.variant for wish in wishes])
    faults += _of_stock(stocks, wishes)
    if code and len(offers) == len(wishes):
        denied = coupons.refusal(coupon, offers, currency=currency, customer=customer, now=work.now)
        faults += [denied] if denied else []
    if faults:
        raise together(faults)
    totals = await quote(
        work,
        offers,
        currency=currency,
        country=new.destination or "",
        coupon=coupon,
        method=new.shipping_method,
        now=work.now,
    )
    work.tell(*ordering.place(_purchase(new, cart, code), totals), person=person)
    for wish in wishes:
        work.tell(*stock.reserve(stocks[wish.variant], new.order_id, wish.quantity))
    if coupon:
        redeemed = coupons.redeem(coupon, new.order_id, totals.discount, currency)
        work.tell(*redeemed, person=customer)
    if cart:
        work.tell(*shopping.check_out(cart, new.order_id), person=cart.customer)
    return answer(work, new.order_id, 201)


def _purchase(new: NewOrder, cart: Cart | None, code: str | None) -> Purchase:
    return Purchase(
        new.order_id,
        new.payment_method,
        new.destination or "",
        new.shipping_method,
        cart.cart_id if cart else None,
        code,
        new.email,
        new.shipping_address,
    )


def _whose(party: Party, new: NewOrder, cart: Cart | None) -> tuple[str, str | None]:
    """The person that an order is of, and the customer where that is one."""
    if party.guest:
        return party.person, None
    carts = cart.customer if cart else None
    customer = (new.user_id or carts) if party.staff else party.person
    return customer or (cart.cart_id if cart else new.order_id), customer


# What is asked for.


async def _cart(work: Work, party: Party, new: NewOrder) -> Cart | None:
    """The cart that is ordered, if it is one that can be. Raises Unknown, Invalid, Conflict."""
    if (new.cart_id is None) == (not new.lines):
        raise Invalid("one_of", "an order is made of a cart, or of lines", "cart_id")
    if new.cart_id is None:
        if party.guest:
            raise Invalid("needed", "guests order what is in their cart", "cart_id")
        return None
    cart = (await work.look(CART, [new.cart_id])).get(new.cart_id)
    if cart is None or not party.staff:
        guest_of, customer = (party.person, None) if party.guest else (None, party.person)
        cart = shopping.owned(cart, new.cart_id, Shopper(guest_of, customer))
    shopping.check_out(cart, new.order_id)
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


def _offers(
    sales: Mapping[str, OnSale], wishes: Sequence[Wish], currency: str | None
) -> tuple[list[Offer], str, list[Refusal]]:
    """What each variant costs at this moment, the currency, and what is not for sale in it."""
    offers: list[Offer] = []
    faults: list[Refusal] = []
    for variant, quantity, field in wishes:
        try:
            sale = found(sales, variant, f"{field}.variant")
            offers.append(sale.offer(variant, quantity, f"{field}.variant"))
        except Refusal as refusal:
            faults.append(refusal)
            continue
        currency = currency or sale.product.currency
        if sale.product.currency != currency:
            reason = f"{variant!r} is sold in {sale.product.currency}, not in {currency}"
            faults.append(Conflict("currency", reason, f"{field}.variant"))
    return offers, currency or "", faults


# What may be at fault.


async def _of_request(work: Work, new: NewOrder, party: Party) -> list[Refusal]:
    """Where it is to go, how it is to be paid, and whose it is to be."""
    faults: list[Refusal] = []
    address = new.shipping_address
    if new.destination is None:
        faults.append(Invalid("needed", "expected the country it is sent to", "country"))
    if address and address.country != new.destination:
        reason = f"the order is for {new.country}, its address is in {address.country}"
        faults.append(Invalid("country", reason, "shipping_address.country"))
    if new.payment_method not in ordering.METHODS:
        reason = f"expected one of {', '.join(ordering.METHODS)}"
        faults.append(Invalid("payment_method", reason, "payment_method"))
    if new.user_id is not None and (party.staff or new.user_id != party.person):
        account = (await work.look(ACCOUNT, [new.user_id])).get(new.user_id)
        if account is None or account.closed_at is not None or not party.staff:
            faults.append(Unknown("unknown", f"there is no user {new.user_id!r}", "user_id"))
    return faults


async def _of_shipping(work: Work, new: NewOrder, currency: str) -> list[Refusal]:
    if new.destination is None or not currency:
        return []
    rates = await work.look(SHIPPING_RATES, [new.destination, REST])
    own, rest = rates.get(new.destination), rates.get(REST)
    try:
        shipping.choose(own, rest, new.shipping_method, currency)
    except Refusal as refusal:
        return [refusal]
    return []


def _of_cart(cart: Cart | None, sales: Mapping[str, OnSale]) -> list[Refusal]:
    """Nobody pays a price that they have not seen."""
    try:
        if cart:
            shopping.check_prices(cart, prices(sales))
    except Refusal as refusal:
        return [refusal]
    return []


def _of_stock(stocks: Mapping[str, Stock], wishes: Sequence[Wish]) -> list[Refusal]:
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
