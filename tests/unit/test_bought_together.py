"""What is bought together, beside a recount that sees all orders at once."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_online import bought_together
from ml_online.bought_together import HALF_LIFE, TRENDING_HALF_LIFE, BoughtTogether
from streams.codec import Fact
from streams.events import Event, OrderCompleted
from tests.learning import NOON, baskets, facts, order_event
from tests.sales import said


def learned(found: Iterable[Fact]) -> BoughtTogether:
    learner = BoughtTogether()
    for fact in found:
        learner.learn(fact)
    return learner


def saved(learner: BoughtTogether) -> bytes:
    return msgspec.json.encode(list(learner.state()))


def again(learner: BoughtTogether) -> BoughtTogether:
    found = BoughtTogether()
    found.restore(msgspec.json.decode(saved(learner)))
    return found


def shuffled(found: Sequence[Fact], random: Random) -> list[Fact]:
    """Another order of the same log: that within each partition stays."""
    waiting: dict[int, list[Fact]] = defaultdict(list)
    for fact in found:
        waiting[fact.partition].append(fact)
    order = [fact.partition for fact in found]
    random.shuffle(order)
    return [waiting[number].pop(0) for number in order]


def test_scores_and_counts_are_those_of_a_recount() -> None:
    events = baskets(400)
    orders: Counter[frozenset[str]] = Counter()
    weights: dict[frozenset[str], float] = defaultdict(float)
    for event in events:
        bought = {line.product_id for line in data_of(event).products}
        weight = 2 ** ((event.time - NOON) / HALF_LIFE)
        for size in (1, 2):
            for some in map(frozenset, combinations(sorted(bought), size)):
                orders[some] += 1
                weights[some] += weight
    source, related = learned(facts(events)).related("main", "p3", 64)
    assert source == "bought_together"
    assert {one.product_id for one in related} == {
        other for pair in orders if len(pair) == 2 and "p3" in pair for other in pair - {"p3"}
    }
    for one in related:
        pair = frozenset(("p3", one.product_id))
        assert one.orders == orders[pair]
        cosine = weights[pair] / math.sqrt(
            weights[frozenset(["p3"])] * weights[frozenset([one.product_id])]
        )
        assert one.score == pytest.approx(cosine * one.orders / (one.orders + 20), rel=2e-3)
    assert [one.score for one in related] == sorted((one.score for one in related), reverse=True)


def data_of(event: Event) -> OrderCompleted:
    (fact,) = facts([event])
    assert isinstance(fact.data, OrderCompleted)
    return fact.data


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), kills=st.sets(st.integers(0, 120)), partitions=st.integers(1, 5)
)
def test_any_interleaving_and_any_kills_give_the_same_bits(
    seed: int, kills: set[int], partitions: int
) -> None:
    events = baskets(100, seed=seed, products=12)
    events += [order_event(n, ["p1", "p2"], event_id=f"other-{n}") for n in range(20)]
    told = facts(events, partitions)
    learner = BoughtTogether()
    for number, fact in enumerate(shuffled(told, Random(seed))):
        if number in kills:
            learner = again(learner)
        learner.learn(fact)
    assert saved(learner) == saved(learned(told))


def test_an_order_counts_once_whatever_ids_its_events_have() -> None:
    once = [order_event(n, ["a", "b"]) for n in range(3)]
    more = [*once, *(order_event(n, ["a", "b"], event_id=f"again-{n}") for n in range(3))]
    _, (one,) = learned(facts(more)).related("main", "a", 5)
    assert (one.product_id, one.orders) == ("b", 3)


def test_other_events_of_an_order_are_no_baskets() -> None:
    lines = [{"product_id": name, "price": "1"} for name in "ab"]
    events = [said(kind, products=lines, event_id=kind) for kind in ("OrderPlaced", "OrderUpdated")]
    assert learned(facts(events)).related("main", "a", 5) == ("trending", [])


def test_of_as_many_orders_the_recent_ones_weigh_more() -> None:
    long_ago = NOON - 2 * HALF_LIFE
    events = [order_event(n, ["a", "old"], at=long_ago) for n in range(10)]
    events += [order_event(10 + n, ["a", "new"]) for n in range(10)]
    events += [order_event(20 + n, ["old"]) for n in range(10)]
    _, related = learned(facts(events)).related("main", "a", 5)
    assert [one.product_id for one in related] == ["new", "old"]


def test_what_was_never_bought_with_another_gets_what_is_trending_and_says_so() -> None:
    events = [order_event(n, ["alone"]) for n in range(9)]
    events += [order_event(100 + n, ["a", "b"], at=NOON - TRENDING_HALF_LIFE) for n in range(8)]
    events += [order_event(200 + n, ["c", "d"]) for n in range(5)]
    learner = learned(facts(events))
    for product in ("alone", "never seen"):
        source, related = learner.related("main", product, 3)
        assert source == "trending"
        expected = ["alone", "d", "c"] if product == "never seen" else ["d", "c", "b"]
        assert [one.product_id for one in related] == expected
    assert learner.related("nobody's shop", "a", 3) == ("trending", [])
    assert [one.orders for one in related] == [9, 5, 5]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 6))
def test_trending_is_found_without_looking_at_every_product(seed: int, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bought_together, "MOST_TRENDING", 6)
        events = baskets(60, seed=seed, products=40)
        learner = learned(facts(events))
        weights: dict[str, int] = defaultdict(int)
        for event in events:
            hours = (event.time - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(hours=1)
            for line in data_of(event).products:
                weights[line.product_id] += bought_together._one(hours, TRENDING_HALF_LIFE)
        best = sorted(weights, key=lambda name: (weights[name], name), reverse=True)
        for one in (learner, again(learner)):
            assert [found.product_id for found in one.trending("main", limit)] == best[:limit]


@pytest.mark.parametrize("year", [1970, 2026, 2999])
def test_an_order_of_any_time_counts_and_can_be_saved(year: int) -> None:
    at = datetime(year, 7, 1, tzinfo=UTC)
    learner = again(learned(facts([order_event(1, ["a", "b"], at=at)])))
    _, (one,) = learner.related("main", "a", 5)
    assert (one.product_id, one.orders) == ("b", 1)


def test_memory_is_bounded_and_what_is_forgotten_is_a_function_of_the_order_of_learning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, most in {"MOST_PRODUCTS": 16, "MOST_PAIRS": 3, "MOST_LINES": 4, "ONCE": 10}.items():
        monkeypatch.setattr(bought_together, name, most)
    told = facts(baskets(500, products=60))
    learner = BoughtTogether()
    for number, fact in enumerate(told):
        if number % 37 == 5:
            learner = again(learner)
        learner.learn(fact)
        shop = learner._shops["main"]
        assert len(shop.products) <= 18
        assert all(len(one.pairs) <= 6 for one in shop.products.values())
        assert all(len(orders) <= 10 for orders in learner._counted.values())
    assert saved(learner) == saved(learned(told))
    assert learner.related("main", max(shop.products), 3)[1]


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 2**200), min_size=1), st.data())
def test_the_heaviest_pairs_are_kept_and_of_equal_ones_the_last_by_name(
    pairs: dict[str, int], data: st.DataObject
) -> None:
    equal = data.draw(st.integers(1, 3))
    pairs = {name: weight % equal if equal > 1 else weight for name, weight in pairs.items()}
    limit = data.draw(st.integers(1, len(pairs)))
    ranked = sorted(pairs.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
    assert bought_together._without_lightest(pairs, limit) == dict(ranked[:limit])


def test_asking_changes_nothing() -> None:
    learner = learned(facts(baskets(100)))
    before = saved(learner)
    for product in ("p1", "unknown"):
        learner.related("main", product, 10)
    learner.related("unknown", "p1", 10)
    assert saved(learner) == before
