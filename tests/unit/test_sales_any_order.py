"""Sales are a pure function of the set of events: any order, any repetition, any batches."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import best_sellers, orders, revenue
from projections.clock import ShopClock
from projections.orders import Key, Order
from projections.read_model import Setting
from streams import money
from streams.codec import Fact
from streams.events import Event
from tests.sales import AT, Figures, facts, line, nonzero, recount, said

_state = msgspec.json.Decoder(Order, dec_hook=money.decode)


class Books:
    """The three read models without Postgres: states kept, rows added up."""

    def __init__(self, zone: str = "UTC") -> None:
        self.setting = Setting(ShopClock(ZoneInfo(zone)), AT)
        self.states: dict[Key, Order] = {}
        self.status: dict[Key, str] = {}
        self.revenue: Figures = defaultdict(lambda: defaultdict(int))
        self.best_sellers: Figures = defaultdict(lambda: defaultdict(int))
        self.names: dict[tuple[Any, ...], str] = {}

    def fold(self, batch: Sequence[Fact]) -> None:
        folded = orders.fold(batch, self.states, self.setting)
        for shop, order_id, status, state, revision, *_ in folded.rows:
            assert revision == (0 if (shop, order_id) in self.states else 1)
            # What the next batch builds on went through Postgres.
            self.states[shop, order_id] = _state.decode(state)
            self.status[shop, order_id] = status
            assert self.states[shop, order_id] == folded.states[shop, order_id]
        for *key, gross, discounts, refunds, adjustments, sales, units, back in revenue.fold(
            folded.changes, {}, self.setting
        ).rows:
            row = self.revenue[tuple(key)]
            every = (gross, discounts, refunds, adjustments, sales, units, back)
            for measure, amount in zip(revenue.MEASURES, every, strict=True):
                row[measure] += amount
        for *key, name, gross, discounts, refunds, sales, units, back in best_sellers.fold(
            folded.changes, {}, self.setting
        ).rows:
            row = self.best_sellers[tuple(key)]
            self.names[tuple(key)] = max(self.names.get(tuple(key), ""), name)
            amounts = (gross, discounts, refunds, sales, units, back)
            for measure, amount in zip(best_sellers.MEASURES, amounts, strict=True):
                row[measure] += amount

    def figures(self) -> tuple[Figures, Figures]:
        return nonzero(self.revenue), nonzero(self.best_sellers)


def booked(log: Sequence[Event], cuts: Iterable[int] = (), zone: str = "UTC") -> Books:
    """What comes of a log that is read in batches which end at these cuts."""
    books, read = Books(zone), facts(log)
    for start, end in pairwise([0, *sorted({cut % (len(log) + 1) for cut in cuts}), len(log)]):
        books.fold(read[start:end])
    return books


products = st.sampled_from(["p1", "p2", "p3"])
prices = st.sampled_from(["0.001", "0.01", "1.00", "2.55", "3.3333", "0"])
amounts = st.sampled_from(["0", "0.0001", "1.00", "2.5", "7.77", "100"])
currencies = st.sampled_from(["EUR", "GBP"])
countries = st.sampled_from(["DE", "FR"])


def lines(most: int = 3) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {"product_id": products, "price": prices, "quantity": st.integers(1, 3)},
        optional={"category": st.sampled_from(["a", "b"]), "name": st.sampled_from(["N", "M"])},
    )
    return st.lists(one, min_size=1, max_size=most)


def told(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    places: dict[str, st.SearchStrategy[Any]] = {"currency": currencies, "country": countries}
    return st.fixed_dictionaries({}, optional=places | optional)


bodies = st.one_of(
    st.tuples(st.just("OrderCompleted"), told(discount=amounts), lines()),
    st.tuples(st.just("OrderCompleted"), told(discount=amounts), lines()),
    st.tuples(st.just("OrderPlaced"), told(), lines()),
    st.tuples(st.just("OrderUpdated"), told(discount=amounts), st.one_of(st.none(), lines())),
    st.tuples(st.just("OrderPaid"), st.just({}), st.none()),
    st.tuples(st.just("OrderShipped"), st.just({}), st.none()),
    st.tuples(st.just("OrderCancelled"), told(), st.none()),
    st.tuples(
        st.just("OrderRefunded"),
        told(refund_id=st.sampled_from(["r1", "r2"]), total=amounts, revenue=amounts),
        st.one_of(st.none(), lines(2)),
    ),
    st.tuples(
        st.just("SalesAdjusted"),
        st.fixed_dictionaries(
            {"amount": st.sampled_from(["-2.50", "1.00"])}, optional={"currency": currencies}
        ),
        st.none(),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of a few orders, in order of time. Many say the same at the same moment, as two
    dialects or two clerks would, under ids of their own."""
    events: list[Event] = []
    spoken = draw(st.lists(st.tuples(bodies, st.integers(0, 4)), min_size=1, max_size=6))
    for number in range(draw(st.integers(1, 14))):
        (kind, data, sold), moment = draw(st.sampled_from(spoken))
        events.append(
            said(
                kind,
                draw(st.sampled_from(["o1", "o1", "o2"])),
                event_id=f"e{number}",
                minutes=moment * 35,
                shop=draw(st.sampled_from(["main", "main", "main", "other"])),
                **data,
                **({"products": sold} if sold else {}),
            )
        )
    return sorted(events, key=lambda event: (event.time, event.id))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.data())
def test_shuffled_repeated_and_cut_anyhow_events_end_in_the_same_figures(
    history: list[Event], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=6), label="repeated")
    log = data.draw(st.permutations(history + again), label="log")
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=len(log)), label="cuts")
    zone = data.draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]), label="zone")
    books, at_once = booked(log, cuts, zone), booked(history, zone=zone)
    assert books.figures() == at_once.figures() == recount(history, zone)
    assert books.states == at_once.states
    assert books.status == at_once.status


@settings(max_examples=100)
@given(histories())
def test_what_an_order_contributes_is_what_the_books_say_of_it(history: list[Event]) -> None:
    books = booked(history)
    gross: dict[tuple[str, str], int] = defaultdict(int)
    for (shop, order_id), order in books.states.items():
        described = orders.describe(shop, order_id, order)
        for posting in orders.contribution(shop, order_id, order):
            gross[shop, posting.currency] += sum(one.gross for one in posting.lines)
        net = money.parse(described["gross"]) - money.parse(described["discounts"])
        assert money.parse(described["net"]) == net - money.parse(described["refunds"])
    total: dict[tuple[str, str], int] = defaultdict(int)
    for (shop, dimension, _, _, currency), measures in books.figures()[0].items():
        if dimension == "total":
            total[shop, currency] += measures.get("gross", 0)
    assert {k: v for k, v in gross.items() if v} == {k: v for k, v in total.items() if v}


def test_every_dimension_comes_to_the_same_totals() -> None:
    history = [
        said(
            "OrderCompleted",
            f"o{number}",
            event_id=f"e{number}",
            minutes=number * 17,
            currency="EUR" if number % 3 else "GBP",
            country="DE" if number % 2 else "FR",
            discount="1.00",
            products=[line(f"p{number % 5}", "2.55", 2, category="c"), line("p1", "1.01")],
        )
        for number in range(40)
    ]
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (_, dimension, _, _, currency), measures in booked(history).figures()[0].items():
        for measure, value in measures.items():
            if measure != "orders" or dimension in ("total", "country"):
                sums[dimension, currency][measure] += value
    for currency in ("EUR", "GBP"):
        assert sums["total", currency] == sums["country", currency]
        del sums["total", currency]["orders"]
        assert sums["total", currency] == sums["product", currency] == sums["category", currency]


@given(histories(), st.data())
def test_a_product_bears_the_greatest_of_the_names_it_was_sold_under(
    history: list[Event], data: st.DataObject
) -> None:
    sold = [event for event in history if event.type in ("OrderCompleted", "OrderRefunded")]
    names: dict[str, set[str]] = defaultdict(set)
    for event in sold:
        for one in msgspec.json.decode(event.data).get("products", ()):
            names[one["product_id"]].add(one.get("name", ""))
    cuts = data.draw(st.lists(st.integers(0, len(history)), max_size=4), label="cuts")
    for (_, _, product, _), name in booked(sold, cuts).names.items():
        assert name in names[product]
    for event in sold:
        event_only = booked([event]).names
        for (_, _, product, _), name in event_only.items():
            told = msgspec.json.decode(event.data)["products"]
            assert name == max(one.get("name", "") for one in told if one["product_id"] == product)
