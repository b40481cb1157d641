"""A dated past of the simulated shop: the same for the same plan, and true to its own books."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.simulator import Refused, truth
from loadtests.simulator.books import DIMENSIONS, REVENUE_COLUMNS, View, amount_text, split
from loadtests.simulator.compare import Difference, differing, month, weeks
from loadtests.simulator.history import History, Plan
from loadtests.simulator.send import send_all
from loadtests.simulator.traffic import IN_ORDER, Disorder, contradiction, disordered
from streams import codec
from streams.events import VOCABULARY, Event, subject_of
from tests.sales import recount

BERLIN = ZoneInfo("Europe/Berlin")
PLAN = Plan(seed=7, days=5, until=date(2026, 10, 27), visits=150)  # clocks go back on the 25th
LIES = Disorder(shuffle=0.3, late=0.1, duplicates=0.1, contradictions=0.2)


def happened(plan: Plan = PLAN, zone: ZoneInfo = BERLIN) -> History:
    return History(plan, zone).run()


@pytest.fixture(scope="module")
def history() -> History:
    return happened(Plan(7, 30, date(2026, 10, 27), 400))


# What happens.


def test_the_same_plan_is_the_same_past_to_the_last_byte(history: History) -> None:
    assert happened().events == happened().events
    assert happened().books.views() == happened().books.views()
    for other in (PLAN._replace(seed=8), PLAN._replace(days=4), PLAN._replace(visits=151)):
        ids = {event["id"] for event in happened(other).events}
        assert not ids & {event["id"] for event in happened().events}


def test_events_come_in_order_of_time_within_the_days_of_the_shop(history: History) -> None:
    times = [datetime.fromisoformat(event["time"]) for event in history.events]
    assert times == sorted(times)
    days = {at.astimezone(BERLIN).date() for at in times}
    assert (min(days), max(days), len(days)) == (date(2026, 9, 28), date(2026, 10, 27), 30)


def test_every_event_is_valid_and_about_its_subject(history: History) -> None:
    for event in history.events:
        raw = msgspec.Raw(json.dumps(event["data"]).encode())
        data = codec.decode_fields(event["type"], raw)
        subject = subject_of(VOCABULARY[event["type"]], data)
        assert event["subject"] == (subject or event["subject"])


def test_a_past_has_everything_that_happens_in_shops(history: History) -> None:
    counts = Counter(event["type"] for event in history.events)
    assert set(counts) == {
        *("ProductListed", "StockReceived", "PriceChanged", "PromotionViewed", "PromotionClicked"),
        *("ProductViewed", "ProductAdded", "CheckoutStarted", "OrderPlaced", "OrderCompleted"),
        *("OrderPaid", "OrderUpdated", "OrderShipped", "OrderDelivered", "OrderCancelled"),
        *("OrderRefunded", "SalesAdjusted"),
    }
    orders = [event["data"] for event in history.events if event["type"] == "OrderCompleted"]
    assert {order["currency"] for order in orders} == {"EUR", "CHF"}
    assert len({order["country"] for order in orders}) == 10
    statuses = Counter(account.status for account in history.books.accounts.values())
    assert set(statuses) == {
        *("placed", "completed", "shipped", "delivered", "cancelled", "refunded")
    }
    views = [event for event in history.events if event["type"] == "ProductViewed"]
    bots = sum(event["subject"].startswith("bot-") for event in views)
    assert 0.1 < bots / len(views) < 0.5


def test_a_shop_has_rush_hours_and_weekends() -> None:
    local = [
        datetime.fromisoformat(event["time"]).astimezone(BERLIN)
        for event in happened(Plan(7, 28, date(2026, 9, 27), 200)).events
        if event["type"] == "ProductViewed" and not event["subject"].startswith("bot-")
    ]
    hours, weekdays = Counter(at.hour for at in local), Counter(at.weekday() for at in local)
    assert hours[20] > 5 * hours[4]
    assert weekdays[5] > weekdays[1]


def test_what_is_sold_out_is_not_sold() -> None:
    busy = happened(Plan(7, 2, date(2026, 10, 27), 4_000))
    stock: Counter[str] = Counter()
    emptied: dict[str, str] = {}
    ordered: set[str] = set()
    for event in busy.events:
        data = event["data"]
        if event["type"] == "StockReceived":
            stock[data["product_id"]] += data["quantity"]
            emptied.pop(data["product_id"], None)
        elif event["type"] in ("OrderCompleted", "OrderPlaced") and event["subject"] not in ordered:
            ordered.add(event["subject"])
            for line in data["products"]:
                stock[line["product_id"]] -= line["quantity"]
                if stock[line["product_id"]] <= 0:
                    emptied.setdefault(line["product_id"], event["time"])
    assert emptied
    soon = timedelta(hours=1)  # who was in the shop already may still have it in the cart
    for event in busy.events:
        since = emptied.get(event["data"].get("product_id", ""))
        if event["type"] == "ProductAdded" and since:
            assert datetime.fromisoformat(event["time"]) < datetime.fromisoformat(since) + soon


# The books, beside a recount that knows only the events.


def as_events(sent: Iterable[Any]) -> list[Event]:
    received = datetime(2026, 11, 1, tzinfo=UTC).isoformat()
    return [
        codec.decode_envelope(
            json.dumps({**event, "shop": "main", "received_at": received}).encode()
        )
        for event in sent
        if VOCABULARY[event["type"]].topic == "orders"
    ]


@given(seed=st.integers(0, 10_000), days=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_the_books_say_what_a_recount_of_the_events_says(seed: int, days: int) -> None:
    history = happened(Plan(seed, days, date(2026, 10, 27), 60))
    revenue, best = recount(as_events(history.events), "Europe/Berlin")
    views = history.books.views()
    booked: dict[Any, dict[str, int]] = {}
    for dimension in DIMENSIONS:
        for (hour, key, currency), values in views[f"revenue/{dimension}/hour"].items():
            begins = int(datetime.fromisoformat(hour).timestamp())
            row = dict(zip(REVENUE_COLUMNS, values, strict=True))
            row.pop("net")
            amounts = {
                name: int(Decimal(value) * 10_000) if isinstance(value, str) else value
                for name, value in row.items()
            }
            found = {name: amount for name, amount in amounts.items() if amount}
            booked["main", dimension, begins, key, currency] = found
    assert booked == revenue
    products = {(product, currency) for _, _, product, currency in best}
    assert set(views.get("top-products/all", {})) == products


def test_coarser_grains_are_the_sums_of_finer_ones(history: History) -> None:
    views = history.books.views()
    for grain in ("hour", "day", "month", "total"):
        rows = views[f"revenue/country/{grain}"].values()
        gross = sum(Decimal(row[0]) for row in rows)
        assert gross == sum(Decimal(row[0]) for row in views["revenue/total/total"].values())


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_an_amount_that_is_split_stays_whole(amount: int, weights: list[int]) -> None:
    shares = split(amount, weights)
    assert sum(shares) == (amount if any(weights) else 0)
    for share, weight in zip(shares, weights, strict=True):
        assert not any(weights) or abs(share - Decimal(amount) * weight / sum(weights)) < 1


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("1.5000", "1.50"),
        ("100", "100.00"),
        ("-0.1005", "-0.1005"),
        ("2E+3", "2000.00"),
    ],
)
def test_an_amount_has_one_spelling(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


# Traffic.


def test_without_disorder_events_are_sent_as_they_happened() -> None:
    events = happened().events
    traffic = disordered(events, IN_ORDER, 7)
    assert traffic.events == events
    assert (traffic.moved, traffic.late, traffic.duplicates, traffic.contradictions) == (
        0,
        0,
        0,
        [],
    )


def test_disorder_is_seeded_and_counted() -> None:
    events = happened().events
    traffic = disordered(events, LIES, 7)
    assert traffic.events == disordered(events, LIES, 7).events
    assert traffic.events != disordered(events, LIES, 8).events
    lies = traffic.contradictions
    assert len(traffic.events) == len(events) + traffic.duplicates + len(lies)
    assert min(traffic.moved, traffic.late, traffic.duplicates, len(lies)) > 0
    twice = Counter(event["id"] for event in traffic.events)
    assert sum(count == 2 for count in twice.values()) == traffic.duplicates + len(lies)
    assert max(twice.values()) == 2


def test_whoever_comes_first_tells_the_truth() -> None:
    events = happened().events
    told = {event["id"]: event for event in events}
    traffic = disordered(events, LIES, 7)
    first: dict[str, Any] = {}
    for event in traffic.events:
        first.setdefault(event["id"], event)
    assert first == told
    again = [e for e in traffic.events if e != told[e["id"]]]
    assert sorted(event["id"] for event in again) == sorted(traffic.contradictions)
    assert all(event == contradiction(told[event["id"]]) for event in again)


# Sending it all.


class Api:
    """Takes everything, and remembers in which order."""

    def __init__(self, *answers: int) -> None:
        self.taken: list[dict[str, Any]] = []
        self._answers = list(answers)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        status = self._answers.pop(0) if self._answers else 202
        if status != 202:
            return httpx2.Response(status, text="no", headers={"retry-after": "0"})
        events = json.loads(request.content)["events"]
        self.taken += events
        count = len(self.taken)
        accepted = [
            {"id": event["id"], "position": f"orders:1:{count - len(events) + number}"}
            for number, event in enumerate(events)
        ]
        return httpx2.Response(202, json={"accepted": accepted, "rejected": []})

    async def take(self, events: list[Any], rate: float | None = None) -> dict[str, int]:
        return await send_all(
            "http://shop", "key", events, rate=rate, transport=httpx2.MockTransport(self.answer)
        )


async def test_all_are_sent_and_those_of_one_subject_in_their_order() -> None:
    events, api = happened().events, Api(503)
    assert await api.take(events) == {"orders:1": len(events) - 1}
    assert Counter(map(str, api.taken)) == Counter(map(str, events))
    by_subject: dict[str, list[str]] = {}
    for event in api.taken:
        by_subject.setdefault(event["subject"], []).append(event["id"])
    for event in events:
        assert by_subject[event["subject"]].pop(0) == event["id"]


async def test_a_refusal_ends_it_with_its_reason() -> None:
    with pytest.raises(Refused, match="answered 401: no"):
        await Api(401).take(happened().events)


# The truth in a file, and what differs from it.


@pytest.mark.parametrize("name", ["truth.json", "truth.json.gz"])
def test_a_truth_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    traffic, told = truth.prepare(PLAN, BERLIN, "tidy", LIES)
    truth.write(tmp_path / name, told)
    again = truth.read(tmp_path / name)
    assert again == told
    assert again.views == happened().books.views()
    assert again.sent.records == len(traffic.events)
    assert sum(again.events_by_type.values()) == again.events == len(happened().events)


def test_disorder_changes_no_truth() -> None:
    _, tidy = truth.prepare(PLAN, BERLIN, "main", IN_ORDER)
    _, untidy = truth.prepare(PLAN, BERLIN, "main", LIES)
    assert tidy.digest == untidy.digest == truth.digest(untidy.views)
    _, other = truth.prepare(PLAN._replace(seed=8), BERLIN, "main", IN_ORDER)
    assert other.digest != tidy.digest


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no truth file"), (b"{}", "no truth file"), (b"\xff", "no truth file")],
)
def test_another_file_is_no_truth(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(truth.NoTruth, match=reason):
        truth.read(file)
    packed = tmp_path / "other.gz"
    packed.write_bytes(gzip.compress(content)[:9])
    with pytest.raises(truth.NoTruth, match=reason):
        truth.read(packed)


def test_every_figure_that_differs_is_told_and_no_other() -> None:
    wanted: View = {("a",): ("1.00", 1), ("b",): ("2.00", 2), ("c",): ("3.00", 3)}
    found: View = {("a",): ("1.00", 1), ("b",): ("2.00", 7), ("d",): ("4.00", 4)}
    columns = ("gross", "orders")
    differences = [
        Difference("v", "b", "orders", "2", "7"),
        Difference("v", "c", "gross", "3.00", ""),
        Difference("v", "c", "orders", "3", ""),
        Difference("v", "d", "gross", "", "4.00"),
        Difference("v", "d", "orders", "", "4"),
    ]
    assert [*differing("v", columns, wanted, found)] == differences
    assert [*differing("v", columns, wanted, wanted)] == []


def test_weeks_are_all_the_days_and_each_once() -> None:
    first, last = date(2026, 9, 22), date(2026, 11, 20)
    days = [
        span["from"] + timedelta(days=number)
        for span in weeks(first, last)
        for number in range((span["to"] - span["from"]).days + 1)
    ]
    assert days == [first + timedelta(days=number) for number in range(60)]


def test_a_month_ends_with_its_last_day() -> None:
    assert month("2028-02") == {"from": date(2028, 2, 1), "to": date(2028, 2, 29)}
    assert month("2026-12") == {"from": date(2026, 12, 1), "to": date(2026, 12, 31)}
