"""Stock levels: any order and any batches come to the same, which is what the domain says."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.domain import stock
from app.domain.aggregate import Told
from app.domain.refusal import Refusal
from app.domain.stock import Stock
from projections import stock_levels
from projections.clock import ShopClock
from projections.read_model import Setting
from streams import codec
from streams.codec import Fact
from streams.events import Data, Event
from tests.catalogued import AT, facts, told

SETTING = Setting(ShopClock(ZoneInfo("UTC")), AT)

Levels = dict[tuple[str, str, str], tuple[Any, ...]]
"""On hand, reserved, received, adjusted, shipped, threshold, by shop, product, variant."""

bodies = st.one_of(
    st.tuples(
        st.sampled_from(["StockReserved", "StockReleased", "StockShipped"]),
        st.fixed_dictionaries({"quantity": st.integers(1, 9), "order_id": st.just("o")}),
    ),
    st.tuples(st.just("StockReceived"), st.fixed_dictionaries({"quantity": st.integers(1, 9)})),
    st.tuples(st.just("StockAdjusted"), st.fixed_dictionaries({"quantity": st.integers(-9, 9)})),
    st.tuples(
        st.just("StockThresholdChanged"),
        st.fixed_dictionaries({"threshold": st.one_of(st.none(), st.integers(0, 9))}),
    ),
    st.tuples(
        st.just("ProductListed"),
        st.sampled_from([{}, {"sku": "v1"}, {"variants": [{"id": "v3", "price": "1"}]}]),
    ),
    st.tuples(st.just("PriceChanged"), st.just({"price": "2"})),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """What is told of the stock of a few variants; some of it at the same moment."""
    events = []
    for number in range(draw(st.integers(1, 14))):
        kind, data = draw(bodies)
        variants = st.sampled_from(["v1", "v2"])
        needed = kind == "StockThresholdChanged"
        variant = draw(variants if needed else st.one_of(st.none(), variants))
        data = data | ({"variant": variant} if variant and kind != "ProductListed" else {})
        shop, product = draw(st.sampled_from([("main", "p1"), ("main", "p2"), ("other", "p1")]))
        hours = draw(st.integers(0, 3))
        events.append(told(kind, product, f"e{number}", hours=hours, shop=shop, **data))
    return events


def kept(log: Sequence[Event], cuts: Iterable[int] = ()) -> Levels:
    """What comes of a log that is read in batches which end at these cuts, as the table adds up."""
    read: list[Fact] = facts(log)
    levels: Levels = {}
    for start, end in pairwise([0, *sorted({cut % (len(log) + 1) for cut in cuts}), len(log)]):
        rows = stock_levels.fold(read[start:end], {}, SETTING).rows
        assert [row[:3] for row in rows] == sorted({row[:3] for row in rows})
        for *key, a, b, c, d, e, threshold, at, by in rows:
            old = levels.get(tuple(key), (0, 0, 0, 0, 0, None, None, None))
            sums = [known + more for known, more in zip(old[:5], (a, b, c, d, e), strict=True)]
            newer = at is not None and (old[6] is None or (at, by) > (old[6], old[7]))
            levels[tuple(key)] = (*sums, *((threshold, at, by) if newer else old[5:]))
    return {key: row[:6] for key, row in levels.items()}


def counted(events: Iterable[Event]) -> Levels:
    """The same by hand, from plain JSON and all at once."""
    by_key: dict[tuple[str, str, str], list[tuple[Any, str, str, dict[str, Any]]]] = {}
    for event in events:
        data = msgspec.json.decode(event.data)
        product = data["product_id"]
        variants = [data.get("variant") or data.get("sku") or product]
        if event.type == "ProductListed" and data.get("variants"):
            variants = [one["id"] for one in data["variants"]]
        for variant in variants if event.type != "PriceChanged" else ():
            of_key = by_key.setdefault((event.shop, product, variant), [])
            of_key.append((event.time, event.id, event.type, data))

    def total(of_key: list[Any], *kinds: str) -> int:
        return sum(data["quantity"] for _, _, kind, data in of_key if kind in kinds)

    found = {}
    for key, of_key in by_key.items():
        received, adjusted, shipped, reserved, released = (
            total(of_key, f"Stock{kind}")
            for kind in ("Received", "Adjusted", "Shipped", "Reserved", "Released")
        )
        thresholds = sorted(
            (at, event_id, data.get("threshold"))
            for at, event_id, kind, data in of_key
            if kind == "StockThresholdChanged"
        )
        found[key] = (
            received + adjusted - shipped,
            reserved - released - shipped,
            received,
            adjusted,
            shipped,
            thresholds[-1][2] if thresholds else None,
        )
    return found


@given(histories(), st.data())
def test_shuffled_and_cut_anyhow_events_end_in_the_same_levels(
    history: list[Event], data: st.DataObject
) -> None:
    log = data.draw(st.permutations(history), label="log")
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=len(log)), label="cuts")
    assert kept(log, cuts) == kept(history) == counted(history)


commands: st.SearchStrategy[Callable[[Stock], list[Data]]] = st.one_of(
    st.builds(lambda n: lambda known: stock.receive(known, n), st.integers(1, 20)),
    st.builds(lambda n: lambda known: stock.adjust(known, n), st.integers(-9, 9)),
    st.builds(lambda n: lambda known: stock.count(known, n), st.integers(0, 20)),
    st.builds(
        lambda o, n: lambda known: stock.reserve(known, o, n),
        st.sampled_from("ab"),
        st.integers(1, 9),
    ),
    st.builds(lambda o: lambda known: stock.release(known, o), st.sampled_from("ab")),
    st.builds(lambda o: lambda known: stock.ship(known, o), st.sampled_from("ab")),
    st.builds(
        lambda n: lambda known: stock.set_threshold(known, n),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
)


@given(st.lists(commands, max_size=25), st.lists(st.integers(0, 50), max_size=5))
def test_levels_are_what_commands_decide_about(
    asked: list[Callable[[Stock], list[Data]]], cuts: list[int]
) -> None:
    state, log = Stock("p1", "v1"), list[Event]()
    for command in asked:
        try:
            decided = command(state)
        except Refusal:
            continue
        for data in decided:
            number = len(log)
            fields = msgspec.json.decode(codec.raw(data))
            log.append(told(type(data).__name__, event_id=f"e{number:04}", hours=number, **fields))
            state = stock.evolve(state, Told(AT, data))
    levels = kept(log, cuts)
    if any(event.type != "LowStockReached" for event in log):
        [(on_hand, reserved, *_, threshold)] = levels.values()
        assert (on_hand, reserved) == (state.on_hand, state.reserved_units)
        assert threshold == state.threshold
        low = threshold is not None and on_hand - reserved <= threshold
        assert low == (state.low if threshold is not None else False)
