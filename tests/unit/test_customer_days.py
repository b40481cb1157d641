"""`customer_days`: what is said of customers depends on the set of events alone, and is theirs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import customer_days, orders
from projections.clock import ShopClock
from projections.customer_days import MEASURES
from projections.orders import Key, Order, Posting, PostingLine
from projections.read_model import Setting
from streams.events import Event
from tests.sales import AT, Figures, facts, line, nonzero, said

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"])


class Kept:
    """The read model without Postgres: states kept, rows added up."""

    def __init__(self, zone: str) -> None:
        self.setting = Setting(ShopClock(ZoneInfo(zone)), AT)
        self.states: dict[Key, Order] = {}
        self.rows: Figures = defaultdict(lambda: defaultdict(int))

    def read(self, log: Sequence[Event], sizes: Sequence[int]) -> "Kept":
        told, turn = facts(log), 0
        while told:
            size = sizes[turn % len(sizes)]
            folded = orders.fold(told[:size], self.states, self.setting)
            self.states.update(folded.states)
            self.add(folded.changes)
            told, turn = told[size:], turn + 1
        return self

    def add(self, postings: Sequence[Posting]) -> None:
        rows = customer_days.fold(postings, {}, self.setting).rows
        assert [row[:5] for row in rows] == sorted({row[:5] for row in rows})
        for *key, gross, discounts, refunds, tax, count, units, back in rows:
            row = self.rows[tuple(key)]
            told = (gross, discounts, refunds, tax, count, units, back)
            for name, amount in zip(MEASURES, told, strict=True):
                row[name] += amount


# Postings of any kind, recounted.

people = st.sampled_from(["", "ada", "bob"])
posting_lines = st.builds(
    PostingLine,
    product=st.sampled_from(["p1", "p2"]),
    category=st.just(""),
    name=st.just(""),
    **{
        name: st.integers(0, 3)
        for name in ("gross", "discounts", "refunds", "adjustments", "units", "refunded_units")
    },
    tax=st.integers(-3, 3),
)
postings = st.builds(
    Posting,
    shop=st.sampled_from(["main", "other"]),
    at=st.integers(0, 60 * 72).map(lambda minutes: AT + timedelta(minutes=minutes)),
    currency=st.sampled_from(["EUR", "GBP"]),
    country=st.sampled_from(["DE", ""]),
    orders=st.integers(0, 1),
    lines=st.lists(posting_lines, max_size=3),
    sign=st.sampled_from([1, -1]),
    customer=people,
)


def recount(told: Iterable[Posting], zone: str) -> Figures:
    """Measure by measure, line by line."""
    found: Figures = defaultdict(lambda: defaultdict(int))
    for one in told:
        day = one.at.astimezone(ZoneInfo(zone)).date().isoformat()
        row = found[one.shop, one.customer, day, one.country, one.currency]
        row["orders"] += one.sign * one.orders
        for name in set(MEASURES) - {"orders"}:
            row[name] += sum(one.sign * getattr(sold, name) for sold in one.lines)
    return nonzero(found)


@given(st.lists(postings, max_size=12), ZONES, st.integers(0, 12))
def test_each_posting_is_its_customers_on_its_day(told: list[Posting], zone: str, cut: int) -> None:
    kept = Kept(zone)
    kept.add(told[:cut])
    kept.add(told[cut:])
    assert nonzero(kept.rows) == recount(told, zone)


# Histories of orders: whose they are may be told late, and otherwise.


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    found = []
    for number in range(draw(st.integers(1, 10))):
        kind = draw(
            st.sampled_from(
                ["OrderCompleted", "OrderCompleted", "OrderPlaced", "OrderPaid", "OrderCancelled"]
            )
        )
        sold: dict[str, Any] = {}
        if kind in ("OrderCompleted", "OrderPlaced"):
            product = draw(st.sampled_from(["p1", "p2"]))
            sold["products"] = [line(product, "2.50", draw(st.integers(1, 3)))]
        found.append(
            said(
                kind,
                draw(st.sampled_from(["o1", "o2", "o3"])),
                event_id=f"e{number}",
                minutes=draw(st.integers(-40, 0)) * 60,
                person=draw(st.sampled_from([None, "ada", "bob"])),
                **sold,
            )
        )
    return found


def whose(history: Iterable[Event], zone: str) -> dict[tuple[str, str], int]:
    """Orders by customer and day, from the events as they are: of an order's first of each kind,
    the sale's word counts before that of its placing, its cancelling and its paying."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    by_order: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(history, key=lambda event: (event.time, event.id)):
        by_order[event.subject].append(event)
    for told in by_order.values():
        first = {event.type: event for event in reversed(told)}
        if sale := first.get("OrderCompleted"):
            speakers = ("OrderCompleted", "OrderPlaced", "OrderCancelled", "OrderPaid")
            persons = (first[kind].person for kind in speakers if kind in first)
            person = next((one for one in persons if one), "")
            found[person, sale.time.astimezone(ZoneInfo(zone)).date().isoformat()] += 1
    return dict(found)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.data(), ZONES)
def test_an_order_is_of_one_customer_in_the_end_however_that_came_to_be_known(
    history: list[Event], data: st.DataObject, zone: str
) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=5), label="repeated")
    log = data.draw(st.permutations(history + again), label="log")
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4), label="sizes")
    kept = nonzero(Kept(zone).read(log, sizes).rows)
    assert kept == nonzero(Kept(zone).read(history, [len(history)]).rows)
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for (_, customer, day, _, _), row in kept.items():
        counted[customer, day] += row.get("orders", 0)
    assert {key: count for key, count in counted.items() if count} == whose(history, zone)


def test_an_order_of_a_guest_who_logs_in_is_nobodys_any_more() -> None:
    sale = said("OrderCompleted", event_id="sale", products=[line("p1", "2.50", tax="0.40")])
    paid = said("OrderPaid", event_id="paid", minutes=5, person="ada")
    kept = Kept("UTC").read([sale], [1])
    day = "2026-03-01"
    wanted = {"gross": 25_000, "tax": 4_000, "orders": 1, "units": 1}
    assert nonzero(kept.rows) == {("main", "", day, "", "XXX"): wanted}
    kept.read([paid], [1])
    assert nonzero(kept.rows) == {("main", "ada", day, "", "XXX"): wanted}


def test_a_day_is_the_shops_over_a_change_of_the_clock() -> None:
    begun = datetime(2025, 10, 24, 22, 30, tzinfo=UTC)  # half past midnight in Berlin
    log = [
        said(
            "OrderCompleted",
            f"o{hour}",
            event_id=f"e{hour}",
            minutes=(begun - AT).total_seconds() / 60 + 60 * hour,
            person="ada",
            products=[line("p1", "1")],
        )
        for hour in range(24 + 25 + 2)
    ]
    days = {
        day: row["orders"]
        for (_, _, day, _, _), row in Kept("Europe/Berlin").read(log, [50]).rows.items()
    }
    assert days == {"2025-10-25": 24, "2025-10-26": 25, "2025-10-27": 2}
