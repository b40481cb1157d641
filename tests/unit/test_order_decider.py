"""Orders: what is decided about one, by example and against a plain model."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.commands.work import decode, encode
from app.domain.aggregate import Told
from app.domain.currency import due, minor_unit
from app.domain.order import (
    CANCELLED,
    COMPLETED,
    DELIVERED,
    ORDER,
    PLACED,
    RETURNED,
    SHIPPED,
    Order,
)
from app.domain.ordering import Purchase, complete, completed, deliver, place, ship
from app.domain.paying import payment_succeeded, refund_succeeded, request_payment
from app.domain.payment import CARD, CASH_ON_DELIVERY, OTHER
from app.domain.pricing import PricedLine, Totals
from app.domain.refunding import Wanted, cancel, refund, take_back
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown
from projections import orders as read_model
from streams import codec
from streams.codec import Fact
from streams.events import (
    Data,
    Event,
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderRefunded,
    OrderReturned,
    OrderShipped,
    PaymentRefunded,
    Product,
    RefundRequested,
    RefundShare,
)
from streams.money import Money
from tests.deciding import NOW, given
from tests.ordered import BUYER, euros, order, paid, placed

MUG: dict[str, Any] = {
    "product_id": "mug",
    "variant": "mug-blue",
    "name": "Mug",
    "category": "kitchen",
}
SHIPMENT = OrderShipped(order_id="o-1", shipment_id="s-1")
DELIVERY = OrderDelivered(order_id="o-1", shipment_id="s-1")


def sold(*events: Data) -> list[Data]:
    """Placed, and paid by card."""
    return [*placed(), paid(), completed(order(*placed())), *events]


def cash(*events: Data) -> list[Data]:
    """Placed, to be paid on delivery."""
    return [*placed(CASH_ON_DELIVERY), *events]


# Placing.


def test_an_order_has_what_it_was_placed_with() -> None:
    found = order(*placed())
    assert (found.status, found.person, found.payment.status) == (PLACED, BUYER, "none")
    assert [line.variant for line in found.lines] == ["mug-blue", "shirt-m"]
    assert (found.total, found.left, found.given_back) == (euros("53.32"), euros("53.32"), 0)


def test_on_delivery_it_is_a_sale_at_once_of_the_same_figures() -> None:
    told, sale = cash()
    assert isinstance(told, OrderPlaced)
    assert isinstance(sale, OrderCompleted)
    assert sale.products == told.products
    assert sale.revenue == euros("45")
    for amount in ("subtotal", "discount", "shipping", "tax", "total", "currency", "country"):
        assert getattr(sale, amount) == getattr(told, amount), amount
    assert order(*cash()).payment.status == "pending"


def test_what_costs_nothing_needs_no_payment() -> None:
    line = PricedLine("p", "v", "P", None, euros("1"), 1, euros("1"), euros("0"), None)
    nothing = euros("0")
    gift = Totals("EUR", [line], euros("1"), euros("1"), nothing, nothing, nothing)
    events = place(Purchase("o-1", CARD, "DE"), gift)
    assert [type(event) for event in events] == [OrderPlaced, OrderPaid, OrderCompleted]
    found = order(*events)
    assert (found.status, found.payment.status) == (COMPLETED, "paid")
    given(ORDER, *events).when(refund, "r-1", Wanted()).refused(Conflict, "status")


def test_a_state_is_read_as_it_was_written() -> None:
    for events in (placed(), sold(SHIPMENT, DELIVERY), cancelled(sold())):
        found = order(*events)
        assert decode(ORDER, encode(found)) == found


def cancelled(events: list[Data]) -> list[Data]:
    return [*events, *cancel(order(*events), "r-1")]


# On its way.


def test_it_is_paid_by_other_means_shipped_and_delivered() -> None:
    given(ORDER, *placed()).when(complete, "4711").then(
        paid(payment_id="4711", method=OTHER), completed(order(*placed()))
    )
    given(ORDER, *sold()).when(ship, "s-1").then(SHIPMENT)
    given(ORDER, *sold(SHIPMENT)).when(deliver).then(DELIVERY)
    assert order(*sold(SHIPMENT, DELIVERY)).status == DELIVERED


def test_on_delivery_it_is_paid() -> None:
    given(ORDER, *cash(SHIPMENT)).when(deliver).then(
        DELIVERY, paid(payment_id=None, method=CASH_ON_DELIVERY)
    )


REACHED = {
    PLACED: placed(),
    COMPLETED: sold(),
    SHIPPED: sold(SHIPMENT),
    DELIVERED: sold(SHIPMENT, DELIVERY),
    CANCELLED: cancelled(sold()),
    RETURNED: [
        *sold(SHIPMENT),
        *take_back(order(*sold(SHIPMENT)), "t-1", {}, restock=True, refund=False),
    ],
}
ALLOWED: dict[str, Any] = {
    "complete": ((PLACED,), lambda order: complete(order)),
    "ship": ((COMPLETED,), lambda order: ship(order)),
    "deliver": ((SHIPPED,), lambda order: deliver(order)),
    "cancel": ((PLACED, COMPLETED), lambda order: cancel(order, "r-1")),
    "return": (
        (SHIPPED, DELIVERED),
        lambda order: take_back(order, "t-2", {}, restock=True, refund=True),
    ),
    "refund": (
        (COMPLETED, SHIPPED, DELIVERED, RETURNED),
        lambda order: refund(order, "r-2", Wanted()),
    ),
}


@pytest.mark.parametrize("status", REACHED)
@pytest.mark.parametrize("what", ALLOWED)
def test_nothing_happens_out_of_its_time(status: str, what: str) -> None:
    allowed, decide = ALLOWED[what]
    reached = given(ORDER, *REACHED[status])
    assert reached.state
    assert reached.state.status == status
    if status in allowed:
        assert decide(reached.state)
    else:
        reached.when(decide).refused(Conflict, "status")


# Back.


def test_of_what_is_cancelled_all_is_paid_back() -> None:
    gone = OrderCancelled(order_id="o-1", total=euros("53.32"), currency="EUR", reason="customer")
    back = RefundRequested(
        order_id="o-1",
        refund_id="r-1",
        payment_id="pi_1",
        amount=euros("53.32"),
        currency="EUR",
    )
    given(ORDER, *sold()).when(cancel, "r-1", "customer").then(gone, back)
    given(ORDER, *placed()).when(cancel, "r-1", "customer").then(gone)
    given(ORDER, *cash()).when(cancel, "r-1", "customer").then(gone)


def test_a_line_is_refunded_with_its_share_of_discount_and_tax() -> None:
    told, back = refund(order(*sold()), "r-1", Wanted(units={"shirt-m": 1}), "damaged")
    assert isinstance(told, OrderRefunded)
    assert told.shares == [
        RefundShare(variant="shirt-m", quantity=1, amount=euros("25"), tax=euros("4.75"))
    ]
    assert told.products == [
        Line(product_id="shirt", variant="shirt-m", name="Shirt", price=euros("25"), quantity=1)
    ]
    assert (told.revenue, told.tax, told.total) == (euros("25"), euros("4.75"), euros("29.75"))
    assert isinstance(back, RefundRequested)
    assert back.amount == euros("29.75")


def test_a_refunded_line_says_exactly_what_was_given_back() -> None:
    """Three units for 10.00: whatever is refunded of them, price times units is what it was."""
    line = PricedLine("p", "v", "P", None, euros("4"), 3, euros("2"), euros("0"), None)
    nothing = euros("0")
    three = Totals("EUR", [line], euros("12"), euros("2"), nothing, nothing, euros("10"))
    events: list[Data] = place(Purchase("o-1", CASH_ON_DELIVERY, "DE"), three)
    events += [OrderShipped(order_id="o-1"), *deliver(order(*events, OrderShipped(order_id="o-1")))]
    amounts = []
    for number, units in enumerate((1, 2)):
        told, back = refund(order(*events), f"r-{number}", Wanted(units={"v": units}))
        assert isinstance(told, OrderRefunded)
        assert isinstance(back, PaymentRefunded)
        assert sum(one.price * one.quantity for one in told.products) == told.revenue == back.amount
        assert sum(one.quantity for one in told.products) == units
        amounts.append(back.amount)
        events += [told, back]
    assert amounts == [euros("3.33"), euros("6.67")]


def test_an_amount_is_shared_over_all_that_is_left() -> None:
    told, _ = refund(order(*sold()), "r-1", Wanted(amount=euros("26.66")))
    assert isinstance(told, OrderRefunded)
    assert not told.products
    assert (told.revenue, told.shipping, told.tax) == (euros("22.50"), euros("1.50"), euros("2.66"))
    assert told.total == euros("26.66")
    rest, back = refund(order(*sold(told)), "r-2", Wanted())
    assert isinstance(rest, OrderRefunded)
    assert rest.total == euros("26.66")
    assert order(*sold(told, rest, back)).left == 0


def test_shipping_alone_can_be_refunded_once() -> None:
    told, _ = refund(order(*sold()), "r-1", Wanted(shipping=True))
    assert isinstance(told, OrderRefunded)
    assert (told.revenue, told.shipping, told.tax) == (0, euros("3"), euros("0.57"))
    given(ORDER, *sold(told)).when(refund, "r-2", Wanted(shipping=True)).refused(
        Conflict, "shipping"
    )


@pytest.mark.parametrize(
    ("wanted", "kind", "field"),
    [
        (Wanted(units={"cup": 1}), Unknown, "lines.0.variant"),
        (Wanted(units={"mug-blue": 3}), Conflict, "lines.0.quantity"),
        (Wanted(units={"mug-blue": 0}), Invalid, "lines.0.quantity"),
        (Wanted(units={"mug-blue": 1, "cup": 1}), Unknown, "lines.1.variant"),
        (Wanted(amount=euros("0")), Invalid, "amount"),
        (Wanted(amount=euros("0.001")), Invalid, "amount"),
        (Wanted(amount=euros("53.33")), Conflict, "amount"),
        (Wanted(units={"mug-blue": 1}, amount=euros("1")), Invalid, "amount"),
    ],
)
def test_what_cannot_be_refunded_is_refused(
    wanted: Wanted, kind: type[Refusal], field: str
) -> None:
    given(ORDER, *sold()).when(refund, "r-1", wanted).refused(kind, field)


def test_nothing_is_refunded_that_was_not_paid() -> None:
    given(ORDER, *cash()).when(refund, "r-1", Wanted()).refused(Conflict, "status")


def test_units_refunded_before_they_are_shipped_are_not() -> None:
    told, back = refund(order(*sold()), "r-1", Wanted(units={"mug-blue": 1}))
    found = order(*sold(told, back))
    assert [line.to_ship for line in found.lines] == [1, 1]
    whole, more = refund(order(*sold()), "r-1", Wanted())
    given(ORDER, *sold(whole, more)).when(ship).refused(Conflict, "status")
    after = order(*sold(SHIPMENT, *refund(order(*sold(SHIPMENT)), "r-1", Wanted())))
    assert [line.to_ship for line in after.lines] == [2, 1]


def test_what_comes_back_is_refunded_and_all_of_it_ends_the_order() -> None:
    shipped = given(ORDER, *sold(SHIPMENT))
    shipped.when(
        take_back, "t-1", {"mug-blue": 1}, restock=True, refund=False, reason="damaged"
    ).then(
        OrderReturned(
            order_id="o-1",
            return_id="t-1",
            products=[Product(**MUG, price=euros("10"), quantity=1)],
            restocked=True,
            reason="damaged",
        )
    )
    all_of_it = take_back(order(*sold(SHIPMENT)), "t-1", {}, restock=False, refund=True)
    assert [type(one) for one in all_of_it] == [OrderReturned, OrderRefunded, RefundRequested]
    found = order(*sold(SHIPMENT, *all_of_it))
    assert (found.status, found.left) == (RETURNED, euros("3.57"))
    too_many = given(ORDER, *sold(SHIPMENT)).when(
        take_back, "t-1", {"mug-blue": 3}, restock=True, refund=True
    )
    too_many.refused(Conflict, "lines.0.quantity")


def test_a_parcel_that_is_not_taken_in_whole_is_paid_in_part() -> None:
    back = take_back(order(*cash(SHIPMENT)), "t-1", {"shirt-m": 1}, restock=True, refund=True)
    assert [type(one) for one in back] == [OrderReturned, OrderRefunded]
    given(ORDER, *cash(SHIPMENT, *back)).when(deliver).then(
        DELIVERY, paid(payment_id=None, method=CASH_ON_DELIVERY, amount=euros("23.57"))
    )


# Against a plain model: whatever happens in whatever order, what was paid and given back adds up,
# and the figures of the read model are the order's.


PRICES = st.integers(0, 5_000)


@st.composite
def any_totals(draw: st.DrawFn) -> Totals:
    """An order that can be, of one to three lines; yen have no cents, and prices may be smaller
    than any coin."""
    currency = draw(st.sampled_from(["EUR", "JPY", "KWD"]))
    unit = minor_unit(currency)
    step = draw(st.sampled_from([unit, unit, 7]))
    lines = []
    for number in range(draw(st.integers(1, 3))):
        price, quantity = draw(PRICES) * step, draw(st.integers(1, 4))
        discount = draw(st.integers(0, price * quantity // unit)) * unit
        tax = draw(st.integers(0, 500)) * unit
        lines.append(
            PricedLine(
                f"p{number // 2}",
                f"v{number}",
                "",
                None,
                Money(price),
                quantity,
                Money(discount),
                Money(tax),
                None,
            )
        )
    shipping, shipping_tax = draw(st.integers(0, 900)) * unit, draw(st.integers(0, 90)) * unit
    subtotal = sum(line.price * line.quantity for line in lines)
    discount = sum(line.discount for line in lines)
    tax = sum(line.tax for line in lines) + shipping_tax
    return Totals(
        currency=currency,
        lines=lines,
        subtotal=Money(subtotal),
        discount=Money(discount),
        shipping=Money(shipping),
        tax=Money(tax),
        total=Money(subtotal + tax + shipping - discount),
        shipping_tax=Money(shipping_tax),
    )


class OrdersLife(RuleBasedStateMachine):
    """One order, and what a shop's till would know of it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Data] = []
        self.order: Order
        self.status = ""
        self.in_till = 0
        self.count = 0

    def tell(self, events: list[Data]) -> None:
        for data in events:
            self.events.append(data)
            told = Told(NOW, data, BUYER)
            self.order = ORDER.evolve(getattr(self, "order", None), told)
            if isinstance(data, OrderPaid):
                self.in_till += data.amount or 0
            if isinstance(data, PaymentRefunded):
                self.in_till -= data.amount

    def new_id(self) -> str:
        self.count += 1
        return f"r-{self.count}"

    def tried(self, decide: Any) -> bool:
        try:
            self.tell(decide())
        except Refusal:
            return False
        return True

    @initialize(totals=any_totals(), method=st.sampled_from([CARD, CASH_ON_DELIVERY]))
    def placing(self, totals: Totals, method: str) -> None:
        self.tell(place(Purchase("o-1", method, "DE"), totals))
        sale = method == CASH_ON_DELIVERY or not self.order.payable
        self.status = COMPLETED if sale else PLACED

    @rule(intent=st.sampled_from(["pi_1", "pi_2"]))
    def paying(self, intent: str) -> None:
        if self.order.payment.method != CARD:
            return
        self.tried(lambda: request_payment(self.order, intent))
        known = self.order.payment.intents.get(intent)
        amount = known.amount if known else self.order.payable
        self.tell(payment_succeeded(self.order, intent, amount, self.order.currency))
        if self.status == PLACED:
            self.status = COMPLETED

    @rule()
    def completing(self) -> None:
        assert self.tried(lambda: complete(self.order)) == (self.status == PLACED)
        if self.status == PLACED:
            self.status = COMPLETED

    @rule()
    def shipping(self) -> None:
        some = any(line.to_ship for line in self.order.lines)
        assert self.tried(lambda: ship(self.order)) == (self.status == COMPLETED and some)
        if self.status == COMPLETED and some:
            self.status = SHIPPED

    @rule()
    def delivering(self) -> None:
        assert self.tried(lambda: deliver(self.order)) == (self.status == SHIPPED)
        if self.status == SHIPPED:
            self.status = DELIVERED

    @rule(rarely=st.integers(0, 4))
    def cancelling(self, rarely: int) -> None:
        if rarely:
            return
        before = self.status in (PLACED, COMPLETED)
        assert self.tried(lambda: cancel(self.order, self.new_id())) == before
        if before:
            self.status = CANCELLED

    @rule(data=st.data())
    def refunding(self, data: st.DataObject) -> None:
        units = data.draw(st.dictionaries(st.sampled_from(["v0", "v1", "v2"]), st.integers(1, 4)))
        amount = data.draw(st.none() | st.integers(1, 20_000))
        unit = minor_unit(self.order.currency)
        wanted = data.draw(
            st.sampled_from(
                [
                    Wanted(units=units, shipping=not units),
                    Wanted(units=units, shipping=True),
                    Wanted(amount=None if amount is None else Money(amount * unit)),
                ]
            )
        )
        before = self.order.left
        if self.tried(lambda: refund(self.order, self.new_id(), wanted)):
            assert self.status in (COMPLETED, SHIPPED, DELIVERED, RETURNED)
            if wanted.amount is not None:
                assert before - self.order.left == wanted.amount
            if wanted.all:
                assert self.order.left == 0

    @rule(data=st.data())
    def returning(self, data: st.DataObject) -> None:
        units = data.draw(st.dictionaries(st.sampled_from(["v0", "v1", "v2"]), st.integers(1, 4)))
        money_back = data.draw(st.booleans())
        out = {line.variant: line.to_ship - line.returned_units for line in self.order.lines}
        fits = all(variant in out and units[variant] <= out[variant] for variant in units)
        expected = self.status in (SHIPPED, DELIVERED) and fits
        returned = self.tried(
            lambda: take_back(
                self.order, self.new_id(), units, restock=True, refund=money_back, shipping=True
            )
        )
        assert returned == expected
        if returned and sum(units.values() or out.values()) == sum(out.values()):
            self.status = RETURNED

    @precondition(lambda self: self.order.payment.due)
    @rule()
    def refunds_being_made(self) -> None:
        for refund_id, one in self.order.payment.due.items():
            self.tell(refund_succeeded(self.order, refund_id, one.amount, self.order.currency))
            self.tell(refund_succeeded(self.order, refund_id, one.amount, self.order.currency))

    @invariant()
    def it_stands_where_it_should(self) -> None:
        assert self.order.status == self.status

    @invariant()
    def the_order_adds_up(self) -> None:
        found = self.order
        lines = sum(line.price * line.quantity for line in found.lines)
        assert lines + found.tax + found.shipping - found.discount == found.total
        assert 0 <= found.given_back <= found.total
        for line in found.lines:
            assert 0 <= line.refunded <= line.amount
            assert 0 <= line.refunded_tax <= line.tax
            assert 0 <= line.refunded_units <= line.quantity
            assert 0 <= line.returned_units <= line.to_ship <= line.quantity
        assert 0 <= found.refunded_shipping <= found.shipping
        assert 0 <= found.refunded_shipping_tax <= found.shipping_tax

    @invariant()
    def the_money_adds_up(self) -> None:
        """What is in the till, less what is on its way out of it, is what is left of the order."""
        found, payment = self.order, self.order.payment
        assert payment.refunded <= payment.promised <= payment.paid
        on_its_way = sum(one.amount for one in payment.due.values())
        if payment.paid_at is None:
            assert (self.in_till, on_its_way) == (0, 0)
        elif found.status == CANCELLED:
            assert self.in_till == on_its_way
        else:
            assert self.in_till - on_its_way == due(found.left, found.currency)

    @invariant()
    def the_figures_are_the_orders(self) -> None:
        """Sales count a sale less what was given back of it, without taxes and shipping."""
        known = read_model.Order()
        for number, data in enumerate(self.events):
            if type(data) in read_model._CONCERNING:
                known = read_model.evolve(known, fact(number, data))
        lines = [
            line
            for posting in read_model.contribution("main", "1", known)
            for line in posting.lines
        ]
        if known.sale is None:
            assert not lines
            return
        found = self.order
        assert sum(line.gross for line in lines) == found.subtotal
        assert sum(line.discounts for line in lines) == found.discount
        assert sum(line.refunds for line in lines) == sum(line.refunded for line in found.lines)
        assert sum(line.units for line in lines) == sum(line.quantity for line in found.lines)
        assert sum(line.refunded_units for line in lines) == sum(
            line.refunded_units for line in found.lines
        )

    @invariant()
    def it_is_read_as_it_was_written(self) -> None:
        assert decode(ORDER, encode(self.order)) == self.order


def fact(number: int, data: Data) -> Fact:
    """An event as the read models get it."""
    event = Event(
        id=f"e-{number:04}",
        type=type(data).__name__,
        shop="main",
        subject="o-1",
        time=NOW + timedelta(seconds=number),
        received_at=NOW,
        data=codec.raw(data),
    )
    return Fact("orders", 0, number, event, data)


TestOrdersLife = OrdersLife.TestCase
TestOrdersLife.settings = settings(
    max_examples=100, stateful_step_count=20, deadline=None, derandomize=True, database=None
)
