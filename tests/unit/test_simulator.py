"""The simulated shop: the same seed, the same shop; every event valid; nothing lost on the way."""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.origin import is_bot
from loadtests.simulator import Happening, Refused, simulate
from loadtests.simulator.shop import COUNTRIES, catalogue
from loadtests.simulator.visits import happenings
from streams import codec
from streams.events import VOCABULARY, subject_of

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


def first(count: int, seed: int = 7, run: str = "7-a") -> list[Happening]:
    return list(itertools.islice(happenings(Random(seed), run), count))


def of_type(found: list[Happening], event_type: str) -> list[Happening]:
    return [happening for happening in found if happening["type"] == event_type]


# The shop.


def test_the_catalogue_has_some_sixty_products_with_believable_prices() -> None:
    products = catalogue(Random(7))
    assert len({product.product_id for product in products}) == len(products) == 60
    assert len({product.category for product in products}) == 9
    assert all(Decimal(3) < product.price < Decimal(250) for product in products)


def test_the_same_seed_is_the_same_shop_and_another_seed_another() -> None:
    assert catalogue(Random(7)) == catalogue(Random(7)) != catalogue(Random(8))
    assert first(2_000) == first(2_000) != first(2_000, seed=8)


def test_another_run_has_other_orders_and_carts_and_all_else_the_same() -> None:
    one, other = first(3_000), first(3_000, run="7-b")
    assert [h["type"] for h in one] == [h["type"] for h in other]
    orders, others = (
        {h["subject"] for h in of_type(found, "OrderCompleted")} for found in (one, other)
    )
    assert not orders & others
    assert all(order.startswith("S7-a-") for order in orders)


@given(st.integers())
def test_every_event_is_valid_and_about_its_subject(seed: int) -> None:
    for happening in first(300, seed):
        raw = msgspec.Raw(json.dumps(happening["data"]).encode())
        data = codec.decode_fields(happening["type"], raw)
        kind = VOCABULARY[happening["type"]]
        about = subject_of(kind, data) or happening["person"]
        assert about == happening["subject"] or happening["subject"].startswith("robot-")


def test_visits_say_where_they_came_from_and_robots_only_look() -> None:
    found = first(5_000)
    sources = {h["context"]["source"] for h in found}
    assert sources == {"search", "direct", "newsletter", "spring-sale"}
    robots = [h for h in found if h["subject"].startswith("robot-")]
    assert {h["type"] for h in robots} == {"ProductViewed"}
    assert 0.01 < len(robots) / len(found) < 0.1
    assert all(is_bot(h["context"]["user_agent"]) and h["person"] is None for h in robots)


def test_a_shop_sees_everything_that_happens_in_shops() -> None:
    counts = Counter(happening["type"] for happening in first(20_000))
    assert set(counts) == {
        *("ProductViewed", "ProductAdded", "CheckoutStarted", "OrderCompleted"),
        *("OrderShipped", "OrderRefunded", "OrderCancelled"),
    }
    assert counts["ProductViewed"] > counts["ProductAdded"] > counts["CheckoutStarted"]
    assert counts["CheckoutStarted"] > counts["OrderCompleted"] > 5 * counts["OrderRefunded"]
    assert counts["OrderCancelled"] > 10


def test_an_order_adds_up() -> None:
    orders = [order["data"] for order in of_type(first(20_000), "OrderCompleted")]
    for order in orders:
        lines = [Decimal(line["price"]) * line["quantity"] for line in order["products"]]
        discount = Decimal(order.get("discount", 0))
        assert Decimal(order["subtotal"]) == sum(lines)
        assert Decimal(order["revenue"]) == sum(lines) - discount
        assert Decimal(order["total"]) == sum(lines) - discount + Decimal(order["shipping"])
        assert order["country"] in COUNTRIES
    assert len({order["order_id"] for order in orders}) == len(orders)
    assert Counter(order["country"] for order in orders).most_common(1)[0][0] == "DE"


def test_what_follows_an_order_comes_after_it_and_gives_back_no_more_than_was_sold() -> None:
    sold: dict[str, Counter[str]] = {}
    for happening in first(20_000):
        order = happening["data"].get("order_id")
        if happening["type"] == "OrderCompleted":
            sold[order] = Counter()
            for line in happening["data"]["products"]:
                sold[order][line["product_id"]] += line["quantity"]
        elif happening["type"] in ("OrderShipped", "OrderRefunded", "OrderCancelled"):
            for line in happening["data"].get("products", ()):
                assert line["quantity"] <= sold[order][line["product_id"]]
            assert order in sold


# Sending it.


class Shop:
    """An API that answers as told, in a time that moves only where somebody sleeps."""

    def __init__(self, *answers: int | Exception, headers: dict[str, str] | None = None) -> None:
        self.now = 0.0
        self.erased = False
        self.slept: list[float] = []
        self.requests: list[list[dict[str, Any]]] = []
        self.keys: set[str] = set()
        self._answers = list(answers)
        self._headers = headers or {}

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        assert (request.method, str(request.url)) == ("POST", "http://shop/v1/events")
        self.keys.add(request.headers["authorization"])
        self.requests.append(json.loads(request.content)["events"])
        told = self._answers.pop(0) if self._answers else 202
        if isinstance(told, Exception):
            raise told
        rejected = [{"index": 0, "field": "data.price", "reason": "no"}] if told == 299 else []
        status = 202 if told == 299 else told
        accepted = [{"position": "orders:0:1"} for _ in self.requests[-1]]
        body = {"accepted": accepted, "rejected": rejected}
        if self.erased:
            wrong = {"index": 0, "field": "person", "reason": "erased: nothing more is taken"}
            status, body = 422, {"errors": [wrong for _ in self.requests[-1]]}
        return httpx2.Response(status, json=body, headers=self._headers)

    async def visit(
        self,
        limit: int | None = 50,
        rate: float = 10.0,
        run_id: str = "a",
        on_sent: Callable[[int], None] = lambda _: None,
    ) -> int:
        return await simulate(
            "http://shop",
            "secret",
            rate=rate,
            seed=7,
            run_id=run_id,
            limit=limit,
            on_sent=on_sent,
            now=lambda: NINE + timedelta(seconds=self.now),
            clock=lambda: self.now,
            sleep=self.sleep,
            transport=httpx2.MockTransport(self.answer),
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request]


async def test_events_are_sent_in_order_with_ids_of_their_own_and_the_time_of_now() -> None:
    shop = Shop()
    assert await shop.visit(limit=100) == 100
    assert shop.keys == {"Bearer secret"}
    assert len({event["id"] for event in shop.events}) == 100
    times = [datetime.fromisoformat(event["time"]) for event in shop.events]
    assert times == sorted(times)
    assert [{k: v for k, v in e.items() if k not in ("id", "time")} for e in shop.events] == (
        first(100)
    )


async def test_two_runs_share_no_id_and_a_run_repeated_has_the_same() -> None:
    runs = []
    for run_id in ("a", "a", "b"):
        shop = Shop()
        await shop.visit(run_id=run_id)
        runs.append({event["id"] for event in shop.events})
    assert runs[0] == runs[1]
    assert not runs[0] & runs[2]


@pytest.mark.parametrize("rate", [0.5, 20.0, 2_000.0])
async def test_the_rate_is_kept_on_average(rate: float) -> None:
    shop = Shop()
    await shop.visit(limit=2_000, rate=rate)
    assert 2_000 / shop.now == pytest.approx(rate, rel=0.1)


async def test_what_is_acknowledged_is_told() -> None:
    told: list[int] = []
    await Shop().visit(limit=30, on_sent=told.append)
    assert sum(told) == 30


@pytest.mark.parametrize("status", [429, 503])
async def test_when_told_to_wait_it_waits_and_sends_the_same_events_again(status: int) -> None:
    shop = Shop(status, status, headers={"Retry-After": "7"})
    assert await shop.visit(limit=1) == 1
    assert shop.slept[-2:] == [7, 7]
    assert shop.requests[0] == shop.requests[1] == shop.requests[2]


@pytest.mark.parametrize(
    "failure",
    [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.ReadError("cut off")],
)
async def test_without_an_answer_it_sends_the_same_events_again(failure: Exception) -> None:
    shop = Shop(failure, failure)
    assert await shop.visit(limit=1) == 1
    assert shop.slept[-2:] == [0.25, 0.5]
    assert shop.requests[0] == shop.requests[1] == shop.requests[2]


async def test_what_an_outage_has_held_back_is_not_caught_up() -> None:
    shop = Shop(*[httpx2.ConnectError("refused")] * 200)
    await shop.visit(limit=1_000)
    assert shop.now > 900
    assert max(map(len, shop.requests)) < 40


async def test_a_rejected_event_is_a_bug_and_told_with_its_reason() -> None:
    with pytest.raises(Refused, match=r"data\.price: no"):
        await Shop(299).visit()


async def test_who_was_erased_comes_no_more_and_the_shop_goes_on() -> None:
    shop, told = Shop(), list[int]()
    shop.erased = True
    assert await shop.visit(limit=5, on_sent=told.append) == 5
    assert sum(told) == 0


async def test_a_wrong_key_is_told() -> None:
    with pytest.raises(Refused, match="answered 401"):
        await Shop(401).visit()
