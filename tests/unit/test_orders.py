"""`orders`: what the set of an order's events makes of it, and what it contributes to sales."""

from collections import Counter
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections import orders
from projections.clock import ShopClock
from projections.orders import Order, contribution, describe, difference, evolve, status
from projections.read_model import FoldFailed, Setting
from streams.codec import Fact
from streams.events import Event
from streams.money import allocate
from tests.sales import AT, facts, line, said, shared

SETTING = Setting(ShopClock(ZoneInfo("UTC")), AT)


def known(*events: Event) -> Order:
    order = Order()
    for fact in facts(events):
        order = evolve(order, fact)
    return order


def sums(order: Order) -> Counter[str]:
    """All that an order contributes, whenever and wherever."""
    found: Counter[str] = Counter()
    for posting in contribution("main", "1", order):
        found["orders"] += posting.orders
        for one in posting.lines:
            for measure in ("gross", "discounts", "refunds", "adjustments", "units"):
                found[measure] += getattr(one, measure)
            found["refunded_units"] += one.refunded_units
    return Counter({measure: amount for measure, amount in found.items() if amount})


SALE = said(
    "OrderCompleted",
    event_id="sale",
    currency="EUR",
    country="DE",
    products=[line("p1", "2.00", 3, category="c1", name="One"), line("p2", "1.50", category="c2")],
)


def refund(event_id: str = "refund", minutes: float = 10, **data: Any) -> Event:
    return said("OrderRefunded", event_id=event_id, minutes=minutes, **data)


def cancel(minutes: float = 20) -> Event:
    return said("OrderCancelled", event_id="cancel", minutes=minutes)


def test_a_sale_counts_its_lines_at_its_own_time() -> None:
    [posting] = contribution("main", "1", known(SALE))
    assert (posting.shop, posting.at, posting.orders, posting.sign) == ("main", AT, 1, 1)
    assert (posting.currency, posting.country) == ("EUR", "DE")
    assert [(one.product, one.category, one.name) for one in posting.lines] == [
        ("p1", "c1", "One"),
        ("p2", "c2", ""),
    ]
    assert [(one.gross, one.units) for one in posting.lines] == [(60_000, 3), (15_000, 1)]


@pytest.mark.parametrize("kind", ["OrderPlaced", "OrderUpdated"])
def test_an_order_that_was_only_placed_or_updated_is_no_sale(kind: str) -> None:
    order = known(said(kind, products=[line("p1", "2.00")]))
    assert contribution("main", "1", order) == []


def test_a_second_sale_under_another_id_adds_nothing() -> None:
    again = said("OrderCompleted", event_id="other", minutes=3, products=[line("p9", "99.00")])
    assert contribution("main", "1", known(SALE, again)) == contribution("main", "1", known(SALE))
    assert contribution("main", "1", known(again, SALE)) == contribution("main", "1", known(SALE))


def test_a_cancelled_order_that_was_never_sold_contributes_nothing() -> None:
    order = known(cancel(), said("OrderPlaced", event_id="p", products=[line("p1", "2.00")]))
    assert contribution("main", "1", order) == []
    assert status(order, []) == "cancelled"


def test_a_cancel_gives_back_what_a_partial_refund_has_left() -> None:
    order = known(SALE, refund(products=[line("p1", "2.00", 1)]), cancel())
    found = sums(order)
    assert found["refunds"] == found["gross"] == 75_000
    assert found["refunded_units"] == found["units"] == 4
    last = contribution("main", "1", order)[-1]
    assert [(one.product, one.refunds, one.refunded_units) for one in last.lines] == [
        ("p1", 40_000, 2),
        ("p2", 15_000, 1),
    ]


def test_a_cancel_after_the_discounted_sale_gives_back_what_was_paid() -> None:
    sale = said("OrderCompleted", discount="1.00", products=[line("p1", "2.00", 2)])
    found = sums(known(sale, cancel()))
    assert (found["gross"], found["discounts"], found["refunds"]) == (40_000, 10_000, 30_000)


def test_a_refund_that_comes_before_its_sale_ends_the_same() -> None:
    every = [SALE, refund(revenue="1.00"), cancel()]
    results = {
        tuple(map(repr, contribution("main", "1", known(*order)))) for order in permutations(every)
    }
    assert len(results) == 1


def test_a_refund_without_a_sale_counts_by_what_it_says() -> None:
    by_lines = known(refund(products=[line("p1", "2.00", 2)]))
    [posting] = contribution("main", "1", by_lines)
    assert posting.orders == 0
    [one] = posting.lines
    assert (one.product, one.gross, one.refunds, one.refunded_units) == ("p1", 0, 40_000, 2)
    [posting] = contribution("main", "1", known(refund(total="7.00", currency="GBP")))
    assert posting.currency == "GBP"
    assert [(one.product, one.refunds) for one in posting.lines] == [("", 70_000)]
    assert contribution("main", "1", known(refund())) == []


@pytest.mark.parametrize(
    ("said_of_it", "refunds", "units"),
    [
        ({}, 75_000, 4),
        ({"revenue": "1.00"}, 10_000, 0),
        ({"total": "1.00"}, 10_000, 0),
        ({"revenue": "1.00", "total": "2.00"}, 10_000, 0),
        ({"revenue": "0", "total": "2.00"}, 0, 0),
        ({"revenue": "1.00", "products": [line("p1", "2.00", 2)]}, 40_000, 2),
    ],
)
def test_a_refund_is_of_its_lines_else_its_amount_else_all_that_is_left(
    said_of_it: dict[str, Any], refunds: int, units: int
) -> None:
    found = sums(known(SALE, refund(**said_of_it)))
    assert (found["refunds"], found["refunded_units"]) == (refunds, units)


def test_a_refunded_line_takes_category_and_name_from_what_was_sold() -> None:
    order = known(SALE, refund(products=[line("p1", "2.00", 1), line("p7", "1.00", 1)]))
    _, given_back = contribution("main", "1", order)
    assert [(one.product, one.category, one.name) for one in given_back.lines] == [
        ("p1", "c1", "One"),
        ("p7", "", ""),
    ]


def test_a_refund_said_twice_under_one_refund_id_counts_once() -> None:
    first = refund("a", refund_id="r", total="1.00")
    again = refund("b", minutes=11, refund_id="r", total="1.00")
    other = refund("c", minutes=11, refund_id="s", total="1.00")
    assert sums(known(SALE, first, again))["refunds"] == 10_000
    assert sums(known(again, SALE, first)) == sums(known(SALE, first, again))
    assert sums(known(SALE, first, again, other))["refunds"] == 20_000


def test_two_refunds_that_are_alike_are_two_refunds() -> None:
    first, second = refund("a", total="1.00"), refund("b", total="1.00")
    old = contribution("main", "1", known(SALE, first))
    new = contribution("main", "1", known(SALE, first, second))
    [added] = difference(old, new)
    assert (added.sign, [one.refunds for one in added.lines]) == (1, [8_000, 2_000])
    [taken_back] = difference(new, old)
    assert taken_back.sign == -1


def test_more_refunded_than_sold_counts_as_it_was_said() -> None:
    found = sums(known(SALE, refund("a", total="100.00"), refund("b", minutes=11, total="1.00")))
    assert found["refunds"] == 1_010_000
    assert found["gross"] == 75_000


def test_an_updates_lines_and_discount_replace_the_sales() -> None:
    first = said("OrderUpdated", event_id="u1", minutes=1, products=[line("p3", "1.00", 5)])
    latest = said(
        "OrderUpdated", event_id="u2", minutes=2, discount="0.50", products=[line("p4", "4.00", 2)]
    )
    order = known(SALE, latest, first)
    [posting] = contribution("main", "1", order)
    assert posting.at == AT
    assert [(one.product, one.gross, one.discounts) for one in posting.lines] == [
        ("p4", 80_000, 5_000)
    ]
    assert order == known(first, latest, SALE)


def test_an_update_without_lines_leaves_the_sales_as_they_are() -> None:
    order = known(SALE, said("OrderUpdated", event_id="u", minutes=1, total="1.00"))
    assert contribution("main", "1", order) == contribution("main", "1", known(SALE))


def test_an_adjustment_stands_beside_sales_and_refunds() -> None:
    written_off = said("SalesAdjusted", event_id="a", minutes=5, amount="-11062.06", currency="GBP")
    sale, adjustment = contribution("main", "1", known(written_off, SALE))
    assert sale == contribution("main", "1", known(SALE))[0]
    assert (adjustment.currency, adjustment.country, adjustment.orders) == ("GBP", "DE", 0)
    assert [one.adjustments for one in adjustment.lines] == [-110_620_600]
    assert sums(known(written_off)) == Counter({"adjustments": -110_620_600})


def test_a_refund_in_another_currency_is_of_that_currency() -> None:
    postings = contribution(
        "main", "1", known(SALE, refund(total="1.00", currency="GBP", country="FR"))
    )
    assert [(one.currency, one.country) for one in postings] == [("EUR", "DE"), ("GBP", "FR")]


def test_what_the_sale_does_not_say_another_event_of_the_order_does() -> None:
    sale = said("OrderCompleted", products=[line("p1", "1.00")])
    placed = said(
        "OrderPlaced", event_id="p", currency="SEK", country="SE", products=[line("p1", "1.00")]
    )
    assert contribution("main", "1", known(sale))[0].currency == "XXX"
    assert contribution("main", "1", known(sale))[0].country == ""
    [posting] = contribution("main", "1", known(sale, placed))
    assert (posting.currency, posting.country) == ("SEK", "SE")
    # The books are moved from one currency to the other.
    old = contribution("main", "1", known(sale))
    assert [(one.sign, one.currency) for one in difference(old, [posting])] == [
        (-1, "XXX"),
        (1, "SEK"),
    ]


def test_a_discount_is_shared_out_over_the_lines_to_the_last_unit() -> None:
    sale = said(
        "OrderCompleted",
        discount="1.00",
        products=[line("p1", "3.33"), line("p2", "3.33"), line("p3", "3.34"), line("p4", "0")],
    )
    [posting] = contribution("main", "1", known(sale))
    discounts = [one.discounts for one in posting.lines]
    assert sum(discounts) == 10_000
    assert discounts == [3_330, 3_330, 3_340, 0]


def test_without_one_of_the_order_the_lines_own_discounts_count() -> None:
    lines = [line("p1", "10", discount="1.5"), line("p2", "2", discount="3"), line("p3", "1")]
    [posting] = contribution("main", "1", known(said("OrderCompleted", products=lines)))
    assert [one.discounts for one in posting.lines] == [15_000, 20_000, 0]
    none = said("OrderCompleted", products=lines, discount="0")
    [posting] = contribution("main", "1", known(none))
    assert not any(one.discounts for one in posting.lines)


def test_a_discount_larger_than_the_order_takes_no_more_than_the_order() -> None:
    sale = said("OrderCompleted", discount="9.00", products=[line("p1", "2.00"), line("p2", "0")])
    [posting] = contribution("main", "1", known(sale))
    assert [one.discounts for one in posting.lines] == [20_000, 0]


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_an_amount_is_split_by_weight_without_loss(amount: int, weights: list[int]) -> None:
    shares = allocate(amount, weights)
    if sum(weights):
        assert sum(shares) == amount
        assert shares == shared(amount, weights)
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share * sum(weights) - amount * weight) < sum(weights)
            assert share >= 0
            assert weight or not share


def test_equal_weights_get_equal_shares_but_for_one_unit_to_the_first() -> None:
    assert allocate(10, [1, 1, 1]) == [4, 3, 3]
    assert allocate(0, [1, 2]) == [0, 0]
    assert allocate(1, [0, 0, 5]) == [0, 0, 1]


@pytest.mark.parametrize(
    ("events", "word"),
    [
        ([said("OrderPlaced", event_id="a", products=[line("p", "1")])], "placed"),
        ([said("OrderPaid", event_id="a")], "paid"),
        ([SALE], "completed"),
        ([SALE, said("OrderPaid", event_id="a")], "completed"),
        ([SALE, said("OrderShipped", event_id="a")], "shipped"),
        (
            [SALE, said("OrderShipped", event_id="a"), said("OrderDelivered", event_id="b")],
            "delivered",
        ),
        ([SALE, refund(total="1.00")], "completed"),
        ([SALE, refund()], "refunded"),
        ([SALE, refund(total="7.50")], "refunded"),
        ([SALE, refund(), cancel()], "cancelled"),
        ([cancel()], "cancelled"),
        ([said("SalesAdjusted", event_id="a", amount="1")], "adjusted"),
        ([said("OrderUpdated", event_id="a")], "updated"),
    ],
)
def test_one_word_says_where_an_order_stands(events: list[Event], word: str) -> None:
    order = known(*events)
    assert status(order, contribution("main", "1", order)) == word


def test_an_order_is_described_with_its_lines_times_and_exact_money() -> None:
    placed = said(
        "OrderPlaced", event_id="p", minutes=-5, person="someone", products=[line("p1", "1")]
    )
    order = known(
        SALE, placed, refund(total="1.00"), said("OrderShipped", event_id="s", minutes=30)
    )
    described = describe("main", "o1", order)
    assert described["status"] == "shipped"
    assert described["person"] == "someone"
    assert (described["gross"], described["refunds"], described["net"]) == ("7.50", "1.00", "6.50")
    assert described["placed_at"] < described["completed_at"] < described["shipped_at"]
    assert described["delivered_at"] is None
    assert [(one["product"], one["units"], one["gross"]) for one in described["lines"]] == [
        ("p1", 3, "6.00"),
        ("p2", 1, "1.50"),
    ]


def test_what_is_given_back_in_another_currency_is_told_apart() -> None:
    order = known(SALE, refund(total="1.00"), refund("r2", total="5", currency="USD"))
    described = describe("main", "o1", order)
    assert described["currency"] != "USD"
    assert (described["refunds"], described["net"]) == ("1.00", "6.50")
    other = described["other_currencies"]["USD"]
    assert (other["gross"], other["refunds"], other["net"]) == ("0.00", "5.00", "-5.00")
    assert "other_currencies" not in describe("main", "o1", known(SALE, refund(total="1.00")))


def test_events_that_repeat_what_is_known_change_no_row() -> None:
    batch = facts([SALE, refund(total="1.00")])
    first = orders.fold(batch, {}, SETTING)
    assert [row[:3] for row in first.rows] == [("main", "o1", "completed")]
    again = orders.fold(batch, first.states, SETTING)
    assert (again.rows, again.changes, again.states) == ([], [], {})


def test_rows_come_in_the_order_of_their_keys() -> None:
    batch = facts(
        said("OrderPaid", f"o{n % 7}", event_id=f"e{n}", shop=f"s{n % 3}") for n in range(40)
    )
    rows = orders.fold(batch, {}, SETTING).rows
    keys = [(shop, order_id) for shop, order_id, *_ in rows]
    assert keys == sorted(set(keys))
    assert len(keys) == 21


def test_events_that_concern_no_order_are_passed_over() -> None:
    started = said("CheckoutStarted", products=[line("p1", "1.00")])
    assert orders.fold(facts([started]), {}, SETTING).rows == []


def test_a_bug_in_a_fold_names_the_event_it_failed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(order: Order, fact: Fact) -> Order:
        if fact.event.id == "sale":
            raise ZeroDivisionError
        return evolve(order, fact)

    monkeypatch.setattr(orders, "evolve", fails)
    with pytest.raises(FoldFailed, match="OrderCompleted sale at orders:0:1"):
        orders.fold(facts([said("OrderPaid", event_id="a"), SALE]), {}, SETTING)
