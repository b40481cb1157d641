"""Stock by variant and day, recounted second by second."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import isnan
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_online.stock_days import StockDays, demand
from streams import codec
from streams.codec import Fact
from streams.events import DayClosed, Event
from tests.catalogued import facts, told

FIRST = date(2026, 3, 29)
BEGINS = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
"""Two hours after `catalogued.AT`: midnight in Berlin, on the day that has 23 hours."""


def closed(day: int, hours: tuple[int, int] | None = None, revision: int = 0) -> Fact:
    """The end of the so many-th day; its hours count from `BEGINS`."""
    at = FIRST + timedelta(days=day)
    first, last = hours or (24 * day, 24 * day + 24)
    data = DayClosed(
        date=at.isoformat(),
        positions={},
        figures=[],
        revision=revision,
        begins=BEGINS + timedelta(hours=first),
        ends=BEGINS + timedelta(hours=last),
    )
    event = Event(
        id=f"day-{day}-{revision}",
        type="DayClosed",
        shop="main",
        subject=data.date,
        time=BEGINS + timedelta(hours=last),
        received_at=BEGINS,
        data=codec.raw(data),
    )
    return Fact("days", 0, day, event, data)


def moved(kind: str, units: int, hours: float, variant: str = "v", **rest: Any) -> Fact:
    """Hours count from `BEGINS`."""
    name = f"{kind}{units}@{hours}"
    data = {"variant": variant, "quantity": units, **rest}
    (fact,) = facts([told(kind, "p", name, hours=hours + 2, **data)])
    return fact


def learned(moves: Sequence[Fact]) -> StockDays:
    days = StockDays()
    for fact in moves:
        days.learn(fact)
    return days


def day(number: int) -> int:
    return (FIRST + timedelta(days=number)).toordinal()


def test_an_order_takes_what_can_be_sold_when_it_is_placed_and_the_house_when_it_is_shipped() -> (
    None
):
    order = {"order_id": "o"}
    days = learned(
        [
            moved("StockReceived", 5, 1),
            moved("StockReserved", 5, 7, **order),
            moved("StockShipped", 3, 8, **order),
            moved("StockReleased", 2, 19, **order),
            closed(0),
        ]
    )
    assert days.censored("main", day(0)) == {"v": 12 / 24}
    assert days.at_close("main") == {"v": 2}
    (stock,) = days.now("main").values()
    assert (stock.on_hand, stock.reserved, stock.available) == (2, 0, 2)


def test_a_day_has_the_hours_that_the_shops_clock_gave_it() -> None:
    days = learned([moved("StockAdjusted", 0, 0), closed(0, (0, 23)), closed(1, (23, 47))])
    assert days.censored("main", day(0)) == days.censored("main", day(1)) == {"v": 1.0}
    assert days.censored("main", day(2)) == {}
    assert days.ended("main") == BEGINS + timedelta(hours=47)


def test_of_what_nobody_counts_nothing_is_known() -> None:
    days = learned([moved("StockReserved", 5, 7, order_id="o"), closed(0)])
    assert days.censored("main", day(0)) == {}
    assert not days.at_close("main")
    assert not days.now("main")
    days.learn(moved("StockAdjusted", 2, 30))
    days.learn(closed(1))
    assert days.censored("main", day(1)) == {
        "v": 18 / 24
    }  # since it was counted, and 3 are lacking
    assert days.at_close("main") == {"v": -3}


def test_moves_after_a_days_end_are_of_the_next_and_those_before_it_move_at_once() -> None:
    days = learned([moved("StockReceived", 4, 0), moved("StockAdjusted", -4, 36), closed(0)])
    assert days.at_close("main") == {"v": 4}
    assert days.now("main")["v"].available == 0
    days.learn(moved("StockAdjusted", -1, 12))
    assert days.at_close("main") == {"v": 3}
    days.learn(closed(0, revision=1))
    days.learn(closed(0))
    days.learn(closed(1))
    assert days.censored("main", day(0)) == {}
    assert days.censored("main", day(1)) == {"v": 12 / 24}


def test_memory_is_bounded_and_the_last_days_without_stock_are_remembered() -> None:
    days = learned([moved("StockReceived", 5_000, 0)])
    for number in range(5_000):
        days.learn(moved("StockReserved", 1, number / 1_000, order_id=f"o{number}"))
    assert len(msgspec.json.encode(list(days.state()))) < 20_000
    for number in range(25):
        days.learn(moved("StockReceived", 1, 24 * number + 6))
        days.learn(moved("StockAdjusted", -1, 24 * number + 12 + number % 5))
        days.learn(closed(number))
    assert len(msgspec.json.encode(list(days.state()))) < 20_000
    assert days.at_close("main") == {"v": 0}
    assert days.censored("main", day(24)) == {"v": 14 / 24}


def test_a_product_is_out_of_stock_while_all_of_its_variants_are() -> None:
    days = learned([moved("StockReceived", 2, 0, "red"), moved("StockReceived", 2, 0, "blue")])
    for number, (red, blue) in enumerate([(12, 30), (6, 18), (24, 24)]):
        days.learn(moved("StockAdjusted", -2, 24 * number + red, "red"))
        days.learn(moved("StockAdjusted", -2, 24 * number + blue, "blue"))
        days.learn(closed(number))
        for variant in ("red", "blue"):
            days.learn(moved("StockReceived", 2, 24 * number + 24, variant))
    found = days.product_out("main", "p")
    assert found == {day(1): 6 / 24}, "blue lasted into the second day, and was the last to go"
    assert days.product_out("main", "other") is None
    assert days.product_out("other", "p") is None
    assert days.counted("main", "red")
    assert not days.counted("main", "green")
    days.learn(moved("StockReserved", 5, 80, "green", order_id="o"))
    assert not days.counted("main", "green"), "nobody has counted it"


hours_and_units = st.lists(st.tuples(st.integers(0, 95), st.integers(-4, 4)), max_size=25)


@given(hours_and_units, st.integers(0, 4))
def test_shares_are_those_of_a_count_hour_by_hour(moves: list[tuple[int, int]], cut: int) -> None:
    """In whatever order the moves of the open days are heard, and going on from what was saved."""
    days = learned([moved("StockReceived", 2, 0)])
    levels = [2 + sum(units for at, units in moves if at <= hour) for hour in range(96)]
    for number in range(4):
        for at, units in reversed(moves):
            if at // 24 == number:
                days.learn(moved("StockAdjusted", units, at))
        if number == cut:
            again = StockDays()
            again.restore(msgspec.json.decode(msgspec.json.encode(list(days.state()))))
            days = again
        days.learn(closed(number))
        out = sum(level <= 0 for level in levels[24 * number : 24 * number + 24]) / 24
        assert days.censored("main", day(number)).get("v", 0.0) == pytest.approx(out)
        assert days.at_close("main") == {"v": levels[24 * number + 23]}


def test_a_day_without_stock_says_nothing_but_who_sells_without_any_takes_orders() -> None:
    assert demand(3.0, 0.0) == demand(3.0, 0.04) == 3.0
    assert isnan(demand(3.0, 0.5))
    assert isnan(demand(0.0, 1.0))
    assert demand(3.0, 1.0) == 3.0
