"""Stock: what is decided about one variant's units, by example and against a plain model."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.commands.work import decode, encode
from app.domain.aggregate import Told
from app.domain.refusal import Conflict, Invalid
from app.domain.stock import (
    MOST_UNITS,
    STOCK,
    Stock,
    adjust,
    count,
    open_with,
    receive,
    release,
    reserve,
    set_threshold,
    ship,
)
from streams.events import (
    Data,
    LowStockReached,
    StockAdjusted,
    StockReceived,
    StockReleased,
    StockReserved,
    StockShipped,
    StockThresholdChanged,
)
from tests.deciding import NOW, given

OF: dict[str, Any] = {"product_id": "mug", "variant": "mug-blue"}


def received(units: int) -> StockReceived:
    return StockReceived(**OF, quantity=units)


def reserved(units: int, order: str = "o-1") -> StockReserved:
    return StockReserved(**OF, quantity=units, order_id=order)


def threshold(units: int | None) -> StockThresholdChanged:
    return StockThresholdChanged(**OF, threshold=units)


def low(available: int, at: int) -> LowStockReached:
    return LowStockReached(**OF, available=available, threshold=at)


def adjusted(units: int, reason: str | None = None) -> StockAdjusted:
    return StockAdjusted(**OF, quantity=units, reason=reason)


def test_a_new_variant_has_stock_also_where_it_has_none() -> None:
    assert open_with("mug", "mug-blue", 5) == [
        StockReceived(**OF, quantity=5, reason="opening stock")
    ]
    assert open_with("mug", "mug-blue", 0) == [adjusted(0, "opening stock")]


def test_units_come() -> None:
    given(STOCK, received(5)).when(receive, 3, "delivery 7").then(
        StockReceived(**OF, quantity=3, reason="delivery 7")
    )


@pytest.mark.parametrize("units", [0, -1, MOST_UNITS, MOST_UNITS + 1])
def test_no_fewer_than_one_come_and_no_more_than_there_is_room_for(units: int) -> None:
    given(STOCK, received(5)).when(receive, units).refused(Invalid, "quantity")


def test_a_count_tells_the_difference() -> None:
    given(STOCK, received(5)).when(count, 3, "inventory").then(adjusted(-2, "inventory"))
    given(STOCK, received(5)).when(count, 5).then()
    given(STOCK, received(5)).when(count, -1).refused(Invalid, "on_hand")
    given(STOCK, received(5)).when(count, MOST_UNITS + 1).refused(Invalid, "on_hand")


def test_a_count_may_not_take_what_is_reserved() -> None:
    given(STOCK, received(5), reserved(4)).when(count, 4).then(adjusted(-1))
    given(STOCK, received(5), reserved(4)).when(count, 3).refused(Conflict, "on_hand")


def test_units_are_written_off_as_far_as_there_are_any() -> None:
    given(STOCK, received(5)).when(adjust, -5, "broken").then(adjusted(-5, "broken"))
    given(STOCK, received(5)).when(adjust, -6).refused(Conflict, "change")
    given(STOCK, received(5), reserved(1)).when(adjust, -5).refused(Conflict, "change")
    for change in (0, MOST_UNITS, -MOST_UNITS - 1):
        given(STOCK, received(5)).when(adjust, change).refused(Invalid, "change")


def test_units_are_reserved_as_far_as_there_are_any() -> None:
    given(STOCK, received(5), reserved(3)).when(reserve, "o-2", 2).then(reserved(2, "o-2"))
    given(STOCK, received(5), reserved(3)).when(reserve, "o-2", 3).refused(Conflict, "quantity")
    for units in (0, -1, MOST_UNITS + 1):
        given(STOCK, received(5)).when(reserve, "o-2", units).refused(Invalid, "quantity")


def test_of_what_is_reserved_some_or_all_is_released() -> None:
    was = given(STOCK, received(5), reserved(3))
    was.when(release, "o-1").then(StockReleased(**OF, quantity=3, order_id="o-1"))
    was.when(release, "o-1", 2).then(StockReleased(**OF, quantity=2, order_id="o-1"))
    was.when(release, "o-1", 4).refused(Conflict, "quantity")
    was.when(release, "o-1", -1).refused(Invalid, "quantity")
    was.when(release, "o-2").then()


def test_of_what_is_reserved_some_or_all_is_shipped() -> None:
    shipped = StockShipped(**OF, quantity=2, order_id="o-1")
    was = given(STOCK, received(5), reserved(3))
    was.when(ship, "o-1").then(StockShipped(**OF, quantity=3, order_id="o-1"))
    was.when(ship, "o-1", 2).then(shipped)
    was.when(ship, "o-1", 4).refused(Conflict, "quantity")
    was.when(ship, "o-2", 1).refused(Conflict, "quantity")
    was.when(ship, "o-2").then()
    assert given(STOCK, received(5), reserved(3), shipped).state == Stock(
        "mug", "mug-blue", on_hand=3, reserved={"o-1": 1}, reserved_units=1
    )
    given(STOCK, received(5), reserved(3), shipped).when(release, "o-1").then(
        StockReleased(**OF, quantity=1, order_id="o-1")
    )


def test_that_stock_is_low_is_told_once_per_crossing() -> None:
    told = [received(5), threshold(2)]
    given(STOCK, *told).when(reserve, "o-1", 2).then(reserved(2))
    given(STOCK, *told).when(reserve, "o-1", 3).then(reserved(3), low(2, 2))
    told += [reserved(3), low(2, 2)]
    given(STOCK, *told).when(reserve, "o-2", 1).then(reserved(1, "o-2"))
    given(STOCK, *told).when(adjust, -1).then(adjusted(-1))
    told += [received(1)]
    given(STOCK, *told).when(adjust, -1).then(adjusted(-1), low(2, 2))


def test_a_threshold_may_be_crossed_by_being_raised() -> None:
    given(STOCK, received(5)).when(set_threshold, 5).then(threshold(5), low(5, 5))
    given(STOCK, received(5)).when(set_threshold, 4).then(threshold(4))
    given(STOCK, received(5), threshold(4)).when(set_threshold, 4).then()
    told = received(5), threshold(5), low(5, 5)
    given(STOCK, *told).when(set_threshold, 6).then(threshold(6))
    given(STOCK, *told).when(set_threshold, None).then(threshold(None))
    given(STOCK, *told, threshold(None)).when(set_threshold, 5).then(threshold(5), low(5, 5))
    for units in (-1, MOST_UNITS + 1):
        given(STOCK, received(5)).when(set_threshold, units).refused(Invalid, "threshold")


UNITS = st.integers(1, 12)
ORDERS = st.sampled_from("abc")


class AgainstAModel(RuleBasedStateMachine):
    """Numbers in a dict, and a list of when stock was low, beside the decider."""

    def __init__(self) -> None:
        super().__init__()
        (opening,) = open_with("mug", "mug-blue", 0)
        self.stock = STOCK.evolve(None, Told(NOW, opening))
        self.on_hand = 0
        self.reserved = dict.fromkeys("abc", 0)
        self.threshold: int | None = None
        self.was_low = False
        self.crossings = self.told_low = 0

    def carry_out(self, events: list[Data]) -> None:
        for data in events:
            self.stock = STOCK.evolve(self.stock, Told(NOW, data))
            self.told_low += isinstance(data, LowStockReached)
        is_low = self.threshold is not None and self.available <= self.threshold
        self.crossings += is_low and not self.was_low
        self.was_low = is_low

    @property
    def available(self) -> int:
        return self.on_hand - sum(self.reserved.values())

    @rule(units=UNITS)
    def receives(self, units: int) -> None:
        self.on_hand += units
        self.carry_out(receive(self.stock, units))

    @rule(units=st.integers(0, 30))
    def counts(self, units: int) -> None:
        if units < sum(self.reserved.values()):
            with pytest.raises(Conflict):
                count(self.stock, units)
        else:
            self.on_hand = units
            self.carry_out(count(self.stock, units))

    @rule(units=UNITS)
    def writes_off(self, units: int) -> None:
        if units > self.available:
            with pytest.raises(Conflict):
                adjust(self.stock, -units)
        else:
            self.on_hand -= units
            self.carry_out(adjust(self.stock, -units))

    @rule(order=ORDERS, units=UNITS)
    def reserves(self, order: str, units: int) -> None:
        if units > self.available:
            with pytest.raises(Conflict):
                reserve(self.stock, order, units)
        else:
            self.reserved[order] += units
            self.carry_out(reserve(self.stock, order, units))

    @rule(order=ORDERS, units=st.none() | UNITS)
    def releases(self, order: str, units: int | None) -> None:
        if (units or 0) > self.reserved[order]:
            with pytest.raises(Conflict):
                release(self.stock, order, units)
        else:
            self.reserved[order] -= self.reserved[order] if units is None else units
            self.carry_out(release(self.stock, order, units))

    @precondition(lambda self: any(self.reserved.values()))
    @rule(order=ORDERS, units=st.none() | UNITS)
    def ships(self, order: str, units: int | None) -> None:
        if (units or 0) > self.reserved[order]:
            with pytest.raises(Conflict):
                ship(self.stock, order, units)
        else:
            leaves = self.reserved[order] if units is None else units
            self.reserved[order] -= leaves
            self.on_hand -= leaves
            self.carry_out(ship(self.stock, order, units))

    @rule(units=st.none() | st.integers(0, 20))
    def sets_the_threshold(self, units: int | None) -> None:
        events = set_threshold(self.stock, units)
        self.threshold = units
        self.carry_out(events)

    @invariant()
    def is_as_in_the_model(self) -> None:
        assert self.stock == Stock(
            "mug",
            "mug-blue",
            self.on_hand,
            {order: units for order, units in self.reserved.items() if units},
            sum(self.reserved.values()),
            self.threshold,
            self.was_low,
        )
        assert 0 <= self.stock.available <= self.stock.on_hand
        assert self.told_low == self.crossings
        assert decode(STOCK, encode(self.stock)) == self.stock


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
