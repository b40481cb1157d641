"""What is noticed of a shop, slot by slot, and what is not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest

from app.learner.anomaly_answers import anomalies
from ml_online import anomalies as family
from ml_online.anomalies import Anomalies
from ml_online.metric_watch import LEAST_SLOTS
from ml_online.slot_rates import Rates, Usual, bounds, oddness
from streams import codec
from streams.codec import Fact
from streams.events import (
    AnomalyNoticed,
    Context,
    Data,
    Event,
    Line,
    OrderCompleted,
    PaymentFailed,
    PaymentRequested,
    ProductViewed,
)
from streams.money import Money

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
SLOT = timedelta(minutes=10)
QUIET_DAYS = 15
NOON = 0.5
"""Of a day: what is changed is changed in the hour before it."""


def told(data: Data, at: datetime, number: int, *, late: timedelta = timedelta(0)) -> Fact:
    event = Event(
        id=f"{type(data).__name__}-{at.isoformat()}-{number}",
        type=type(data).__name__,
        shop="main",
        subject="s",
        time=at,
        received_at=at + late,
        data=codec.raw(data),
        context=Context(country="DE", source="news"),
    )
    topic = "interactions" if isinstance(data, ProductViewed) else "orders"
    return Fact(topic, number % 5, number, event, data)


def order(number: int, country: str, currency: str = "EUR") -> OrderCompleted:
    line = Line(product_id=f"p{number % 3}", price=Money(100_000), quantity=1)
    return OrderCompleted(
        order_id=f"o{number}", country=country, currency=currency, products=[line]
    )


def shop(days: float, *, seed: int = 1, begin: datetime = BEGIN, **at: float) -> Iterator[Fact]:
    """Some 6 orders and 12 views in ten minutes by day, and fewer at night. `orders`, `views` and
    `abroad` change the last hour's by a factor, `refused` says how many payments are."""
    random, count = Random(seed), 0
    slots = round(days * 144)
    for slot in range(slots):
        last = slot >= slots - 6
        begun = begin + slot * SLOT
        day = 6 <= begun.hour < 22
        rate = 6.0 if day else 2.0

        def some(mean: float, begun: datetime = begun) -> Iterator[datetime]:
            passed = random.expovariate(mean) if mean else 2.0
            while passed < 1:
                yield begun + passed * SLOT
                passed += random.expovariate(mean)

        here: list[tuple[datetime, Data]] = []
        for factor, country in ((1.0, "DE"), (at.get("abroad", 1.0) if last else 1.0, "FR")):
            share = rate / 2 * factor * (at.get("orders", 1.0) if last else 1.0)
            here += [(when, order(random.randrange(10**9), country)) for when in some(share)]
        here += [
            (when, ProductViewed(product_id="p1"))
            for when in some(2 * rate * (at.get("views", 1.0) if last else 1.0))
        ]
        asked = [(when, "p") for when in some(rate)]
        here += [
            (when, PaymentRequested(order_id="o", payment_id=one, amount=Money(1), currency="EUR"))
            for when, one in asked
        ]
        refused = at.get("refused", 0.05) if last else 0.05
        here += [
            (when, PaymentFailed(order_id="o", payment_id=one, reason="insufficient funds"))
            for when, one in asked
            if random.random() < refused
        ]
        for when, data in sorted(here, key=lambda one: one[0]):
            count += 1
            yield told(data, when, count)


@pytest.fixture(scope="module")
def quiet() -> bytes:
    """What is known after days on which nothing was out of the ordinary."""
    learner = Anomalies()
    for fact in shop(QUIET_DAYS):
        learner.learn(fact)
    assert learner.alerts("main") == []
    return msgspec.json.encode(list(learner.state()))


def after(quiet: bytes, *parts: Iterator[Fact]) -> Anomalies:
    """What comes of the days after them."""
    learner = Anomalies()
    learner.restore(msgspec.json.decode(quiet))
    for part in parts:
        for fact in part:
            learner.learn(fact)
    return learner


def day(
    *, seed: int = 2, days: float = NOON, begin: float = QUIET_DAYS, **at: float
) -> Iterator[Fact]:
    return shop(days, seed=seed, begin=BEGIN + timedelta(days=begin), **at)


def later(learner: Anomalies, days: float = QUIET_DAYS + NOON) -> list[AnomalyNoticed]:
    """What was told, once the last slot is closed."""
    learner.learn(told(ProductViewed(product_id="p"), BEGIN + timedelta(days=days, minutes=16), 0))
    found = []
    for event in learner.noticed():
        data = codec.decode_data(event, "days")
        assert isinstance(data, AnomalyNoticed)
        found.append(data)
    return found


def test_an_ordinary_shop_is_left_in_peace(quiet: bytes) -> None:
    assert later(after(quiet, day(days=2)), QUIET_DAYS + 2) == []


@pytest.mark.parametrize(
    ("changed", "metrics"),
    [
        ({"orders": 0.0}, {"orders", "revenue:EUR", "conversion"}),
        ({"orders": 3.0}, {"orders", "revenue:EUR", "conversion"}),
        ({"views": 0.0}, {"visits"}),
        ({"refused": 0.9}, {"refused_payments"}),
    ],
)
def test_an_hour_that_is_otherwise_is_noticed_once(
    quiet: bytes, changed: dict[str, float], metrics: set[str]
) -> None:
    noon = BEGIN + timedelta(days=QUIET_DAYS)
    found = later(after(quiet, shop(NOON, seed=2, begin=noon, **changed)))
    names = [one.metric for one in found]
    assert len(set(names)) == len(names)
    assert metrics <= set(names)
    begun = BEGIN + timedelta(days=QUIET_DAYS + NOON, hours=-1)
    for one in found:
        if one.metric in metrics:
            assert begun - timedelta(hours=1) <= one.since < one.until
            low, came, high = float(one.low), float(one.came), float(one.high)
            assert not low <= came <= high
            assert low <= float(one.expected) <= high


def test_it_says_what_it_comes_from(quiet: bytes) -> None:
    learner = after(quiet, day(abroad=8.0))
    (found,) = (one for one in later(learner) if one.metric == "orders")
    first = found.parts[0]
    assert (first.dimension, first.key) == ("country", "FR")
    assert float(first.came) > 3 * float(first.expected)
    (said,) = (
        one["says"]
        for one in anomalies(learner, "main", found.until)["anomalies"]
        if one["metric"] == "orders"
    )
    assert "country FR" in said
    assert "usual at that hour of the week" in said


def test_what_is_over_is_said_to_be_over_and_may_come_again(quiet: bytes) -> None:
    learner = after(quiet, day(orders=0.0), day(seed=3, begin=QUIET_DAYS + NOON, days=0.25))
    ended = [one for one in learner.alerts("main") if one.metric == "orders"]
    assert [one.ended is not None for one in ended] == [True]
    assert [one.metric for one in later(learner, QUIET_DAYS + 0.75)].count("orders") == 1
    for fact in day(seed=4, begin=QUIET_DAYS + 0.75, days=2 / 24, orders=9.0):
        learner.learn(fact)
    assert "orders" in [one.metric for one in later(learner, QUIET_DAYS + 0.75 + 2 / 24)]


def test_a_silence_that_nothing_ends_is_seen_by_who_asks(quiet: bytes) -> None:
    learner = after(quiet, day())
    before = msgspec.json.encode(list(learner.state()))
    now = BEGIN + timedelta(days=QUIET_DAYS + NOON, minutes=16)
    assert learner.silent("main", now) == []
    found = learner.silent("main", now + timedelta(hours=2))
    assert {one.metric for one in found} >= {"orders", "visits"}
    assert all(one.came < one.low for one in found)
    assert msgspec.json.encode(list(learner.state())) == before
    # Once something is heard again, it is told: then it was two hours without anything.
    told_of = {one.metric for one in later(learner, QUIET_DAYS + NOON + 2 / 24)}
    assert told_of >= {"orders", "visits"}


def test_a_past_that_is_read_in_says_nothing_of_today(quiet: bytes) -> None:
    learner = after(quiet)
    learner.learn(told(order(1, "DE"), BEGIN, 1, late=timedelta(days=30)))
    assert msgspec.json.encode(list(learner.state())) == quiet


def test_while_one_catches_up_partition_by_partition_nothing_is_judged(quiet: bytes) -> None:
    learner = after(quiet)
    facts = list(day())
    for number in range(5):
        for fact in facts:
            if fact.partition == number:
                learner.learn(fact)
    assert later(learner) == []


def test_two_weeks_are_learned_first() -> None:
    learner = Anomalies()
    for fact in shop(3, orders=0.0):
        learner.learn(fact)
    assert later(learner, 3) == []
    assert LEAST_SLOTS == 14 * 144


def test_who_dies_goes_on_bit_by_bit(quiet: bytes) -> None:
    whole, parted = after(quiet), after(quiet)
    for number, fact in enumerate(day(orders=0.0)):
        whole.learn(fact)
        parted.learn(fact)
        if number % 301 == 300:
            state = msgspec.json.decode(msgspec.json.encode(list(parted.state())))
            noticed, parted = parted.noticed(), Anomalies()
            parted.restore(state)
            assert noticed == whole.noticed()
    assert later(whole) == later(parted) != []
    assert msgspec.json.encode(list(whole.state())) == msgspec.json.encode(list(parted.state()))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "MOST_SHOPS", 1)
    learner = Anomalies()
    for number in range(1_000):
        at = BEGIN + number * timedelta(minutes=3)
        learner.learn(told(order(number, f"C{number}", f"X{number % 9:02}"), at, number))
    (row,) = list(learner.state())[1:]
    metrics = {name: shares for name, _, _, shares, _ in row[-1]}
    assert sum(name.startswith("revenue:") for name in metrics) == family.MOST_CURRENCIES
    assert max(len(keys) for shares in metrics.values() for keys in shares.values()) <= 201


def test_bounds_and_oddness_are_two_sides_of_one() -> None:
    for mean in (0.5, 3.0, 40.0, 4000.0):
        for spread in (1.0, 3.0):
            usual = Usual(mean, spread)
            low, high = bounds(usual, 3.0)
            assert low <= mean <= high
            assert abs(oddness(high + 4 * spread, usual)) > 3.0
            assert abs(oddness(mean, usual)) < 1.0
    assert oddness(5.0, Usual(0.0, 1.0)) == 0.0
    assert Rates().usual(3, 1.0) == 0.0
