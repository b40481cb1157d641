"""What a load test was promised: it is found out, and named, where it was not kept."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from loadtests.accounting import Ledger, Missing, Sale, check, report, sale_of

CATEGORIES = ["kitchen-run", "marked-run"]


def order(number: int, quantity: int = 2) -> dict[str, Any]:
    line = {"product_id": "mug", "category": "kitchen-run", "price": "9.90", "quantity": quantity}
    data = {"order_id": f"o-{number}", "products": [line]}
    return {"type": "OrderCompleted", "subject": f"o-{number}", "data": data}


VIEW = {"type": "ProductViewed", "subject": "p", "data": {"product_id": "mug"}}


class Shop:
    """An API with figures of its own, which may lack what it has acknowledged."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.counted: dict[str, Sale] = {}
        self.applied = [0, 0, 0]
        self.offset = 0
        self.asked: list[str] = []
        self.late = 0

    def sell(self, number: int, *, counts: bool = True, answered: bool = True) -> None:
        event = order(number)
        self.ledger.sending(event)
        if counts:
            self.counted[f"o-{number}"] = sale_of(event["data"])
        if answered:
            self.ledger.acknowledged(event, f"orders:1:{self.offset}")
            self.offset += 1
        self.applied[1] = self.offset

    def ask(self, path: str, asked: Mapping[str, Any]) -> tuple[int, Any]:
        self.asked.append(path)
        if path.startswith("/v1/orders/"):
            sale = self.counted.get(path.removeprefix("/v1/orders/"))
            return (200, {"gross": str(sale.gross)}) if sale else (404, {})
        if "min_position" in asked and self.late:
            self.late -= 1
            return 504, {}
        if asked.get("by") == "category":
            assert asked["key"] == CATEGORIES
            rows = [{"gross": str(s.gross), "units": s.units} for s in self.counted.values()]
            return 200, {"rows": rows}
        return 200, {"rows": [], "complete_to": {"next_offsets": {"orders": self.applied}}}

    def check(self) -> list[Missing]:
        return check(self.ledger, self.ask, CATEGORIES)


@pytest.fixture
def shop() -> Shop:
    found = Shop()
    for number in range(5):
        found.sell(number)
    return found


def test_what_is_kept_is_found_by_its_sums_alone(shop: Shop) -> None:
    shop.ledger.acknowledged(VIEW, "interactions:7:99")
    assert shop.check() == []
    assert not any(path.startswith("/v1/orders") for path in shop.asked)
    assert report(shop.ledger, []) == (
        "✓ 6 events acknowledged, each at a place of its own; all 5 orders among them count"
    )


def test_an_acknowledged_event_that_is_withheld_is_named(shop: Shop) -> None:
    shop.sell(5, counts=False)
    missing = shop.check()
    assert missing == [Missing("order o-5", "19.80 for 2 units", "status 404")]
    told = report(shop.ledger, missing)
    assert told.startswith("✗ 1 of 6 acknowledged are not as told:")
    assert "order o-5" in told


def test_an_order_that_counts_for_something_else_is_named(shop: Shop) -> None:
    shop.counted["o-3"] = Sale(Decimal("9.90"), 1)
    assert shop.check() == [Missing("order o-3", "19.80", "9.90")]


def test_an_order_that_counts_twice_in_the_sums_is_told(shop: Shop) -> None:
    shop.counted["another"] = shop.counted["o-1"]
    assert shop.check() == [
        Missing("all orders", "99.00 for 10 units", "118.80 for 12 units"),
    ]


@pytest.mark.parametrize("counts", [True, False])
def test_what_nobody_answered_for_may_count_or_not(shop: Shop, counts: bool) -> None:
    shop.sell(5, counts=counts, answered=False)
    assert shop.check() == []
    assert report(shop.ledger, []).endswith("5 orders among them count, 1 orders without an answer")


def test_a_position_that_is_never_applied_is_told(shop: Shop) -> None:
    shop.applied[1] = 4
    assert shop.check() == [Missing("orders:1", "offset 4", "not applied")]


def test_two_events_at_one_position_are_told(shop: Shop) -> None:
    shop.ledger.acknowledged(VIEW, "interactions:7:99")
    shop.ledger.acknowledged(VIEW, "interactions:7:99")
    assert shop.check() == [Missing("interactions:7:99", "one event", "two events")]


def test_it_waits_for_what_is_not_applied_yet(shop: Shop) -> None:
    shop.late = 3
    assert shop.check() == []
    assert shop.asked.count("/v1/sales/revenue") == 6


def test_without_anything_acknowledged_there_is_nothing_to_ask() -> None:
    shop = Shop()
    shop.sell(1, counts=False, answered=False)
    assert shop.check() == []
    assert shop.asked == []
