"""What is decided about carts, and a cart against a plain model of one."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.domain import shopping
from app.domain.aggregate import Told
from app.domain.cart import CART, Cart, Status
from app.domain.offer import Offer
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown
from app.domain.shopping import MOST_DENIALS, MOST_LINES, MOST_UNITS, Shopper
from streams import money
from streams.events import (
    CartAbandoned,
    CartCheckedOut,
    CartMerged,
    CartOpened,
    CartRepriced,
    CartRevived,
    CouponApplied,
    CouponDenied,
    CouponRemoved,
    Data,
    Line,
    ProductAdded,
    ProductRemoved,
)
from streams.money import LARGEST, Money
from tests.deciding import NOW, given

HOUR = timedelta(hours=1)
OPENED = CartOpened(cart_id="c")


def eur(text: str) -> Money:
    return Money(money.parse(text))


def mug(quantity: int = 1, price: str = "9.90", variant: str = "blue") -> Offer:
    return Offer("mug", variant, "Mug", eur(price), quantity, "kitchen")


def _said(quantity: int, price: str, variant: str) -> dict[str, Any]:
    return {
        "product_id": "mug",
        "variant": variant,
        "name": "Mug",
        "category": "kitchen",
        "price": eur(price),
        "quantity": quantity,
    }


def added(
    quantity: int = 1,
    price: str = "9.90",
    variant: str = "blue",
    cart: str = "c",
    currency: str = "EUR",
) -> ProductAdded:
    return ProductAdded(cart_id=cart, currency=currency, **_said(quantity, price, variant))


def removed(
    quantity: int = 1, price: str = "9.90", variant: str = "blue", cart: str = "c"
) -> ProductRemoved:
    return ProductRemoved(cart_id=cart, currency="EUR", **_said(quantity, price, variant))


def line(quantity: int = 1, price: str = "9.90", variant: str = "blue") -> Line:
    return Line(**_said(quantity, price, variant))


ABANDONED = CartAbandoned(cart_id="c", products=[line()], value=eur("9.90"), currency="EUR")
REVIVED = CartRevived(cart_id="c")
APPLIED = CouponApplied(cart_id="c", coupon_id="SAVE", discount=eur("1"))
CHECKED_OUT = CartCheckedOut(cart_id="c", order_id="o")
MERGED = CartMerged(cart_id="c", into_cart_id="own")


def test_a_line_is_added_at_its_present_price() -> None:
    given(CART, OPENED).when(shopping.add, mug(2), "EUR", 5).then(added(2))


def test_more_of_a_line_takes_all_of_it_to_the_present_price() -> None:
    dearer = added(1, "12")
    given(CART, OPENED, added(2)).when(shopping.add, mug(1, "12"), "EUR", 5).then(dearer)
    state = given(CART, OPENED, added(2), dearer).state
    assert state is not None
    assert [(one.quantity, one.price) for one in state.lines] == [(3, eur("12"))]


@pytest.mark.parametrize("quantity", [0, -1, -(10**9)])
def test_no_units_are_none_to_add_or_to_have(quantity: int) -> None:
    filled = given(CART, OPENED, added(2))
    filled.when(shopping.add, mug(quantity), "EUR", 5).refused(Invalid, "quantity")
    filled.when(shopping.change, mug(quantity), "blue", quantity, 5).refused(Invalid, "quantity")


def test_a_line_has_no_more_units_than_are_available() -> None:
    filled = given(CART, OPENED, added(2))
    filled.when(shopping.add, mug(4), "EUR", 5).refused(Conflict, "quantity")
    filled.when(shopping.change, mug(6), "blue", 6, 5).refused(Conflict, "quantity")
    filled.when(shopping.add, mug(3), "EUR", 5).then(added(3))


def test_a_line_has_a_bound_however_much_there_is() -> None:
    empty = given(CART, OPENED)
    empty.when(shopping.add, mug(MOST_UNITS + 1), "EUR", 10**9).refused(Invalid, "quantity")
    gold = Offer("gold", "bar", "Gold", Money(LARGEST // 2), 3)
    empty.when(shopping.add, gold, "EUR", 5).refused(Invalid, "quantity")


def test_a_cart_has_so_many_lines_and_no_more() -> None:
    full = [added(1, variant=f"v{n}") for n in range(MOST_LINES)]
    given(CART, OPENED, *full).when(shopping.add, mug(), "EUR", 5).refused(Conflict, "variant")
    known = mug(variant="v7")
    given(CART, OPENED, *full).when(shopping.add, known, "EUR", 5).then(added(variant="v7"))


def test_a_cart_is_of_one_currency_until_it_is_empty() -> None:
    given(CART, OPENED, added()).when(shopping.add, mug(), "USD", 5).refused(Conflict, "variant")
    emptied = given(CART, OPENED, added(), removed())
    emptied.when(shopping.add, mug(), "USD", 5).then(added(currency="USD"))


def test_a_quantity_is_changed_by_what_is_more_or_less() -> None:
    filled = given(CART, OPENED, added(3))
    filled.when(shopping.change, mug(5), "blue", 5, 9).then(added(2))
    filled.when(shopping.change, mug(1), "blue", 1, 9).then(removed(2))
    filled.when(shopping.change, mug(3), "blue", 3, 9).then()
    filled.when(shopping.change, mug(3), "red", 3, 9).refused(Unknown, "variant")


def test_of_what_is_not_for_sale_any_more_there_can_only_be_less() -> None:
    filled = given(CART, OPENED, added(3))
    filled.when(shopping.change, None, "blue", 4, 0).refused(Conflict, "variant")
    filled.when(shopping.change, None, "blue", 2, 0).then(removed(1))
    filled.when(shopping.remove, "blue").then(removed(3))


def test_what_is_not_there_cannot_be_removed() -> None:
    given(CART, OPENED).when(shopping.remove, "blue").refused(Unknown, "variant")
    given(CART, OPENED).when(shopping.remove_coupon).refused(Unknown, "coupon")


def test_a_coupon_takes_the_place_of_another() -> None:
    filled = given(CART, OPENED, added())
    filled.when(shopping.apply_coupon, "SAVE", None, eur("1")).then(APPLIED)
    again = given(CART, OPENED, added(), APPLIED)
    again.when(shopping.apply_coupon, "SAVE", None, eur("1")).then()
    other = CouponApplied(cart_id="c", coupon_id="MORE")
    gone = CouponRemoved(cart_id="c", coupon_id="SAVE")
    again.when(shopping.apply_coupon, "MORE", None).then(gone, other)
    again.when(shopping.remove_coupon).then(gone)


def test_a_coupon_that_is_denied_is_refused_and_noted_so_often() -> None:
    why = Conflict("coupon_expired", "it is over", "coupon")
    denied = CouponDenied(cart_id="c", coupon_id="OLD", reason="expired")
    filled = given(CART, OPENED, added())
    filled.when(shopping.apply_coupon, "OLD", why).refused(Conflict, "coupon")
    filled.when(shopping.deny_coupon, "OLD", "expired").then(denied)
    tired = given(CART, OPENED, added(), *[denied] * MOST_DENIALS)
    tired.when(shopping.apply_coupon, "SAVE", None).refused(Conflict, "coupon")
    tired.when(shopping.deny_coupon, "OLD", "expired").then()
    given(CART, OPENED).when(shopping.apply_coupon, "SAVE", None).refused(Conflict, "coupon")


def test_prices_that_have_changed_are_told_and_agreed_to() -> None:
    filled = given(CART, OPENED, added(2), added(1, "5", "red"))
    assert filled.state is not None
    now = {"blue": eur("12"), "red": eur("5")}
    assert shopping.changes(filled.state, now) == [("blue", eur("9.90"), eur("12"))]
    repriced = CartRepriced(cart_id="c", products=[line(2, "12")])
    filled.when(shopping.reprice, now).then(repriced)
    agreed = given(CART, OPENED, added(2), added(1, "5", "red"), repriced)
    assert agreed.state is not None
    shopping.check_prices(agreed.state, now)
    agreed.when(shopping.reprice, now).then()
    agreed.when(shopping.reprice, {"red": eur("5")}).then()  # the other is not for sale any more
    with pytest.raises(Conflict):
        shopping.check_prices(filled.state, now)


def test_a_silent_cart_is_abandoned_once() -> None:
    filled = given(CART, OPENED, added())
    filled.when(shopping.abandon, NOW + HOUR, HOUR).then(ABANDONED)
    filled.when(shopping.abandon, NOW + HOUR - timedelta(seconds=1), HOUR).then()
    abandoned = given(CART, OPENED, added(), ABANDONED)
    abandoned.when(shopping.abandon, NOW + 9 * HOUR, HOUR).then()
    given(CART, OPENED).when(shopping.abandon, NOW + HOUR, HOUR).then()
    closed = given(CART, OPENED, added(), CHECKED_OUT)
    closed.when(shopping.abandon, NOW + HOUR, HOUR).then()


def test_whoever_comes_back_to_an_abandoned_cart_revives_it() -> None:
    abandoned = given(CART, OPENED, added(), APPLIED, ABANDONED)
    gone = CouponRemoved(cart_id="c", coupon_id="SAVE")
    denied = CouponDenied(cart_id="c", coupon_id="OLD", reason="expired")
    repriced = CartRepriced(cart_id="c", products=[line(1, "12")])
    abandoned.when(shopping.add, mug(), "EUR", 5).then(REVIVED, added())
    abandoned.when(shopping.change, mug(3), "blue", 3, 5).then(REVIVED, added(2))
    abandoned.when(shopping.remove, "blue").then(REVIVED, removed())
    abandoned.when(shopping.remove_coupon).then(REVIVED, gone)
    abandoned.when(shopping.deny_coupon, "OLD", "expired").then(REVIVED, denied)
    abandoned.when(shopping.reprice, {"blue": eur("12")}).then(REVIVED, repriced)
    abandoned.when(shopping.check_out, "o").then(REVIVED, CHECKED_OUT)


def test_a_cart_becomes_an_order_once() -> None:
    given(CART, OPENED).when(shopping.check_out, "o").refused(Conflict, "cart_id")
    given(CART, OPENED, added()).when(shopping.check_out, "o").then(CHECKED_OUT)


@pytest.mark.parametrize("closed", [CHECKED_OUT, MERGED])
def test_a_closed_cart_changes_no_more(closed: Data) -> None:
    found = given(CART, OPENED, added(2), APPLIED, closed)
    for decide, *command in (
        (shopping.add, mug(), "EUR", 5),
        (shopping.change, mug(1), "blue", 1, 5),
        (shopping.remove, "blue"),
        (shopping.reprice, {"blue": eur("1")}),
        (shopping.apply_coupon, "MORE", None),
        (shopping.deny_coupon, "MORE", "expired"),
        (shopping.remove_coupon,),
        (shopping.check_out, "o2"),
    ):
        found.when(decide, *command).refused(Conflict, "cart_id")


# A guest's cart at login.


def own(*events: Data) -> Cart:
    found = given(CART, CartOpened(cart_id="own"), *events, person="p-1").state
    assert found is not None
    return found


def to_own(*events: ProductAdded) -> list[ProductAdded]:
    return [msgspec.structs.replace(event, cart_id="own") for event in events]


def test_quantities_are_added_up_and_the_latest_price_holds() -> None:
    mine = own(*to_own(added(2), added(1, "5", "red")))
    guests = given(CART, OPENED, added(3, "12"), APPLIED)
    taken = CouponApplied(cart_id="own", coupon_id="SAVE")
    guests.when(shopping.merge, mine).then(*to_own(added(3, "12")), taken, MERGED)


def test_no_merge_makes_a_cart_too_large() -> None:
    many = to_own(*(added(1, variant=f"v{n}") for n in range(MOST_LINES - 1)))
    mine = own(*many, *to_own(added(MOST_UNITS - 2)))
    guests = given(CART, OPENED, added(5), added(1, variant="new"), added(1, variant="v3"))
    guests.when(shopping.merge, mine).then(*to_own(added(2), added(1, variant="v3")), MERGED)


def test_of_two_currencies_that_of_the_cart_just_filled_holds() -> None:
    mine = own(*to_own(added(2)))
    guests = given(CART, OPENED, added(1, variant="poster", currency="USD"))
    guests.when(shopping.merge, mine).then(
        removed(2, cart="own"), *to_own(added(1, variant="poster", currency="USD")), MERGED
    )


def test_a_merge_revives_what_was_abandoned() -> None:
    mine = own(*to_own(added()), msgspec.structs.replace(ABANDONED, cart_id="own"))
    guests = given(CART, OPENED, added(), ABANDONED)
    revived = CartRevived(cart_id="own")
    guests.when(shopping.merge, mine).then(revived, *to_own(added()), REVIVED, MERGED)


@pytest.mark.parametrize(
    ("customer", "shopper", "owns"),
    [
        (None, Shopper(guest_of="c"), True),
        (None, Shopper(guest_of="other"), False),
        (None, Shopper(customer="c"), False),
        (None, Shopper(), False),
        ("p-1", Shopper(customer="p-1"), True),
        ("p-1", Shopper(customer="p-2"), False),
        ("p-1", Shopper(guest_of="c"), False),
        ("p-1", Shopper(guest_of="p-1"), False),
        ("p-1", Shopper(), False),
    ],
)
def test_a_cart_is_its_guests_or_its_customers(
    customer: str | None, shopper: Shopper, owns: bool
) -> None:
    cart = given(CART, OPENED, person=customer).state
    assert cart is not None
    if owns:
        assert shopping.owned(cart, "c", shopper) == cart
    else:
        with pytest.raises(Unknown):
            shopping.owned(cart, "c", shopper)
    with pytest.raises(Unknown):
        shopping.owned(None, "c", shopper)


# Against a model.

variants = st.sampled_from(["a", "b", "c"])
quantities = st.integers(-1, 12)


class CartMachine(RuleBasedStateMachine):
    """A cart beside two dictionaries. Of each variant there are ten."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.cart = CART.evolve(None, Told(self.now, OPENED))
        self.model: dict[str, int] = {}
        self.seen: dict[str, Money] = {}
        self.prices = {"a": eur("1"), "b": eur("2"), "c": eur("0.001")}
        self.closed = self.silent = False

    def told(self, events: list[Data]) -> None:
        for data in events:
            self.cart = CART.evolve(self.cart, Told(self.now, data))
        if any(not isinstance(data, CartAbandoned) for data in events):
            self.silent = False

    def offer(self, variant: str, quantity: int) -> Offer:
        return Offer("p", variant, "n", self.prices[variant], quantity)

    def tried(self, allowed: bool, decide: Any, *command: Any) -> bool:
        """Whether it was done, which it is to be exactly if it is allowed."""
        try:
            events = decide(self.cart, *command)
        except Refusal:
            assert self.closed or not allowed
            return False
        assert allowed
        assert not self.closed
        self.told(events)
        return True

    @rule(variant=variants, quantity=quantities)
    def add(self, variant: str, quantity: int) -> None:
        units = self.model.get(variant, 0) + quantity
        allowed = quantity >= 1 and units <= 10
        if self.tried(allowed, shopping.add, self.offer(variant, quantity), "EUR", 10):
            self.model[variant] = units
            self.seen[variant] = self.prices[variant]

    @rule(variant=variants, quantity=quantities)
    def change(self, variant: str, quantity: int) -> None:
        before = self.model.get(variant, 0)
        allowed = bool(before) and 1 <= quantity <= 10
        command = self.offer(variant, quantity), variant, quantity, 10
        if self.tried(allowed, shopping.change, *command):
            self.model[variant] = quantity
            if quantity > before:
                self.seen[variant] = self.prices[variant]

    @rule(variant=variants)
    def remove(self, variant: str) -> None:
        if self.tried(variant in self.model, shopping.remove, variant):
            del self.model[variant]

    @rule(variant=variants, price=st.integers(1, 10**6).map(Money))
    def price_changes(self, variant: str, price: Money) -> None:
        self.prices[variant] = price

    @rule()
    def agree(self) -> None:
        if self.tried(True, shopping.reprice, self.prices):
            self.seen |= self.prices

    @rule(hours=st.integers(0, 3))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule()
    def look_for_silence(self) -> None:
        silent_for = self.now - self.cart.changed_at
        events = shopping.abandon(self.cart, self.now, HOUR)
        due = bool(self.model) and silent_for >= HOUR and not self.closed and not self.silent
        assert bool(events) == due
        self.told(events)
        self.silent = self.silent or due

    @precondition(lambda self: len(self.model) == 3)
    @rule()
    def check_out(self) -> None:
        if self.tried(True, shopping.check_out, "o"):
            self.closed = True

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert {one.variant: one.quantity for one in self.cart.lines} == self.model
        assert {one.variant: one.price for one in self.cart.lines} == {
            variant: self.seen[variant] for variant in self.model
        }
        changed = {one.variant for one in shopping.changes(self.cart, self.prices)}
        assert changed == {v for v in self.model if self.seen[v] != self.prices[v]}
        assert self.cart.is_closed == self.closed
        assert (self.cart.status is Status.ABANDONED) == self.silent

    @invariant()
    def its_state_is_what_its_table_gives_back(self) -> None:
        text = msgspec.json.encode(self.cart, enc_hook=money.encode)
        assert msgspec.json.decode(text, type=Cart, dec_hook=money.decode) == self.cart


TestCart = CartMachine.TestCase
TestCart.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
