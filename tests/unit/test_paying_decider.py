"""What the payment provider says of an order: twice, late, in any order, and wrong."""

from itertools import permutations
from typing import Any

import pytest

from app.commands.payments import outcome
from app.domain.aggregate import Told
from app.domain.order import CANCELLED, COMPLETED, ORDER, Order
from app.domain.ordering import complete, completed
from app.domain.paying import (
    payment_failed,
    payment_succeeded,
    refund_failed,
    refund_succeeded,
    request_payment,
)
from app.domain.payment import CASH_ON_DELIVERY, OTHER
from app.domain.refunding import Wanted, cancel, refund, retry_refund
from app.domain.refusal import Conflict, Refusal, Unknown
from app.payments.told import Refund
from streams.events import (
    Data,
    OrderRefunded,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
)
from streams.money import Money
from tests.deciding import NOW, given
from tests.ordered import euros, order, paid, placed

PAYABLE = euros("53.32")


def requested(intent: str = "pi_1") -> PaymentRequested:
    return PaymentRequested(order_id="o-1", payment_id=intent, amount=PAYABLE, currency="EUR")


def failed(intent: str = "pi_1", reason: str = "card_declined") -> PaymentFailed:
    return PaymentFailed(order_id="o-1", payment_id=intent, reason=reason)


def back(refund_id: str, intent: str = "pi_1", amount: Money = PAYABLE) -> RefundRequested:
    return RefundRequested(
        order_id="o-1", refund_id=refund_id, payment_id=intent, amount=amount, currency="EUR"
    )


def sold(*events: Data) -> list[Data]:
    """Placed, asked for, and paid by card."""
    return [*placed(), requested(), paid(), completed(order(*placed())), *events]


def test_a_payment_is_asked_for_once() -> None:
    given(ORDER, *placed()).when(request_payment, "pi_1").then(requested())
    given(ORDER, *placed(), requested()).when(request_payment, "pi_1").then()
    given(ORDER, *placed(), requested()).when(request_payment, "pi_2").then(requested("pi_2"))


def test_nothing_is_asked_for_where_nothing_is_paid_by_card() -> None:
    cash = given(ORDER, *placed(CASH_ON_DELIVERY))
    cash.when(request_payment, "pi_1").refused(Conflict, "payment_method")
    given(ORDER, *sold()).when(request_payment, "pi_2").refused(Conflict, "status")


def test_an_order_that_is_paid_is_a_sale() -> None:
    asked = given(ORDER, *placed(), requested())
    asked.when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(paid(), completed(order(*placed())))
    found = order(*sold())
    assert (found.status, found.payment.status, found.payment.paid) == (COMPLETED, "paid", PAYABLE)


def test_a_success_counts_before_the_request_is_known() -> None:
    found = given(ORDER, *placed())
    found.when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(paid(), completed(order(*placed())))
    given(ORDER, *placed(), paid()).when(request_payment, "pi_1").then()


def test_what_is_known_already_changes_nothing() -> None:
    given(ORDER, *sold()).when(payment_succeeded, "pi_1", PAYABLE, "EUR").then()
    given(ORDER, *sold()).when(payment_failed, "pi_1", "card_declined").then()
    given(ORDER, *placed(), failed()).when(payment_failed, "pi_1", "card_declined").then()


def test_a_payment_that_failed_may_succeed_later() -> None:
    found = given(ORDER, *placed(), requested(), failed())
    assert found.state
    assert found.state.payment.status == "failed"
    found.when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(paid(), completed(order(*placed())))
    unasked = given(ORDER, *placed(), failed())
    unasked.when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(
        paid(), completed(order(*placed()))
    )


@pytest.mark.parametrize(
    ("amount", "currency", "field"),
    [("53.31", "EUR", "amount"), ("5332", "EUR", "amount"), ("53.32", "USD", "currency")],
)
def test_another_amount_or_currency_is_refused(amount: str, currency: str, field: str) -> None:
    for events in (placed(), [*placed(), requested()], [*placed(), failed()]):
        given(ORDER, *events).when(payment_succeeded, "pi_1", euros(amount), currency).refused(
            Conflict, field
        )


def test_what_is_paid_for_a_cancelled_order_is_given_back() -> None:
    gone = cancel(order(*placed(), requested()), "r-1")
    late = given(ORDER, *placed(), requested(), *gone)
    late.when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(paid(), back("pi_1-back"))
    found = order(*placed(), requested(), *gone, paid(), back("pi_1-back"))
    assert (found.status, found.payment.status) == (CANCELLED, "paid")
    assert list(found.payment.due) == ["pi_1-back"]
    given(ORDER, *placed(), requested(), *gone, paid(), back("pi_1-back")).when(
        payment_succeeded, "pi_1", PAYABLE, "EUR"
    ).then()


def test_what_is_paid_twice_is_given_back_once() -> None:
    by_another = given(ORDER, *sold())
    by_another.when(payment_succeeded, "pi_2", PAYABLE, "EUR").then(
        paid(payment_id="pi_2"), back("pi_2-back", "pi_2")
    )
    found = order(*sold(), paid(payment_id="pi_2"), back("pi_2-back", "pi_2"))
    made = refund_succeeded(found, "pi_2-back", PAYABLE, "EUR")
    found = order(*sold(), paid(payment_id="pi_2"), back("pi_2-back", "pi_2"), *made)
    assert (found.payment.status, found.payment.paid) == ("paid", PAYABLE)
    # A second time, after a transfer.
    by_hand = [*placed(), *complete(order(*placed()), "4711")]
    given(ORDER, *by_hand).when(payment_succeeded, "pi_1", PAYABLE, "EUR").then(
        paid(), back("pi_1-back")
    )
    assert order(*by_hand).payment.intent_id is None


def test_a_refund_is_made_once() -> None:
    asked = [*sold(), *cancel(order(*sold()), "r-1")]
    made = PaymentRefunded(
        order_id="o-1", refund_id="r-1", payment_id="pi_1", amount=PAYABLE, currency="EUR"
    )
    given(ORDER, *asked).when(refund_succeeded, "r-1", PAYABLE, "EUR").then(made)
    given(ORDER, *asked, made).when(refund_succeeded, "r-1", PAYABLE, "EUR").then()
    found = order(*asked, made)
    assert (found.payment.status, found.payment.due) == ("refunded", {})


def test_a_bank_may_send_back_what_was_refunded() -> None:
    asked = [*sold(), *cancel(order(*sold()), "r-1")]
    made = PaymentRefunded(
        order_id="o-1", refund_id="r-1", payment_id="pi_1", amount=PAYABLE, currency="EUR"
    )
    gone = RefundFailed(order_id="o-1", refund_id="r-1", reason="closed_account")
    given(ORDER, *asked, made).when(refund_failed, "r-1", "closed_account").then(gone)
    found = order(*asked, made, gone).payment
    assert (found.status, found.refunded, found.refunds["r-1"].status) == ("paid", 0, "failed")
    # The news of both may come the other way round.
    given(ORDER, *asked, gone).when(refund_succeeded, "r-1", PAYABLE, "EUR").then()


def test_a_refund_that_nobody_asked_for_or_of_another_amount_is_refused() -> None:
    asked = given(ORDER, *sold(), *cancel(order(*sold()), "r-1"))
    asked.when(refund_succeeded, "r-2", PAYABLE, "EUR").refused(Unknown, "refund_id")
    asked.when(refund_failed, "r-2").refused(Unknown, "refund_id")
    asked.when(refund_succeeded, "r-1", euros("1"), "EUR").refused(Conflict, "amount")
    asked.when(refund_succeeded, "r-1", PAYABLE, "USD").refused(Conflict, "currency")


def test_a_refund_that_failed_can_be_asked_for_again() -> None:
    asked = [*sold(), *cancel(order(*sold()), "r-1")]
    given(ORDER, *asked).when(retry_refund, "r-1").refused(Conflict, "refund_id")
    gone = RefundFailed(order_id="o-1", refund_id="r-1", reason="closed_account")
    given(ORDER, *asked).when(refund_failed, "r-1", "closed_account").then(gone)
    assert order(*asked, gone).payment.due == {}
    given(ORDER, *asked, gone).when(retry_refund, "r-1").then(back("r-1"))
    again = order(*asked, gone, back("r-1"))
    assert list(again.payment.due) == ["r-1"]
    assert again.payment.refunds["r-1"].tries == 2
    made = refund_succeeded(again, "r-1", PAYABLE, "EUR")
    assert order(*asked, gone, back("r-1"), *made).payment.status == "refunded"


def test_what_was_paid_by_hand_is_given_back_by_hand() -> None:
    by_hand = [*placed(), *complete(order(*placed()), "4711")]
    assert by_hand[1] == paid(payment_id="4711", method=OTHER)
    given(ORDER, *by_hand).when(refund, "r-1", Wanted(amount=euros("3.32"))).then(
        *refund(order(*by_hand), "r-1", Wanted(amount=euros("3.32")))[:1],
        PaymentRefunded(order_id="o-1", refund_id="r-1", amount=euros("3.32"), currency="EUR"),
    )


def test_a_refund_by_hand_of_what_was_paid_twice_leaves_the_order_as_it_is() -> None:
    twice = order(*sold(), paid(payment_id="pi_2"))
    elsewhere = Refund("re_1", "pi_2", "succeeded", PAYABLE, "EUR")
    [made] = outcome(twice, elsewhere)
    assert isinstance(made, PaymentRefunded)
    assert made.payment_id == "pi_2"
    whole = outcome(twice, elsewhere._replace(intent_id="pi_1"))
    assert [type(one) for one in whole] == [OrderRefunded, RefundRequested, PaymentRefunded]


def told_by_the_provider() -> dict[str, Any]:
    return {
        "asked": lambda order: request_payment(order, "pi_1"),
        "failed": lambda order: payment_failed(order, "pi_1", "card_declined"),
        "paid": lambda order: payment_succeeded(order, "pi_1", PAYABLE, "EUR"),
        "cancelled": lambda order: cancel(order, "r-1"),
        "paid again": lambda order: payment_succeeded(order, "pi_1", PAYABLE, "EUR"),
        "failed again": lambda order: payment_failed(order, "pi_1", "card_declined"),
    }


@pytest.mark.parametrize("sequence", list(permutations(told_by_the_provider())))
def test_in_any_order_the_money_is_kept_or_given_back(sequence: tuple[str, ...]) -> None:
    """Whatever comes first: one payment, all of which is on its way back once it is cancelled."""
    found = order(*placed())
    for name in sequence:
        events: list[Data] = []
        try:
            events = told_by_the_provider()[name](found)
        except Refusal:
            assert name == "asked"  # too late
        found = _after(found, events)
    assert found.status == CANCELLED
    assert found.payment.paid == PAYABLE
    assert found.payment.promised == PAYABLE
    assert sum(one.amount for one in found.payment.due.values()) == PAYABLE


def _after(found: Order, events: list[Data]) -> Order:
    for data in events:
        found = ORDER.evolve(found, Told(NOW, data, found.person))
    return found
