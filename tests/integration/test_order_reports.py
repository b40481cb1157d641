"""Reports on reviews and on what becomes of orders, against a count by hand from the events."""

import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from app.settings import Servers
from tests.integration.reported import DAY, HOUR, NOW, ZONES, Shop, number, opened


@pytest.fixture(scope="module", params=ZONES)
async def shop(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async with opened(request.param, servers, tmp_path_factory.mktemp("reports")) as found:
        yield found


# Reviews.


def _stars(told: Iterable[Mapping[str, Any]]) -> int | None:
    """What a review gives after these of its events."""
    stars, back, hidden = None, False, False
    for one in sorted(told, key=lambda one: (one["at"], one["id"])):
        stars = one["data"].get("rating", stars)
        hidden = one["data"].get("hidden", hidden)
        back = one["type"] == "ReviewRetracted" or (back and one["type"] != "ProductReviewed")
    return None if back or hidden else stars


@pytest.mark.parametrize("grain", ["total", "day", "week", "month"])
@pytest.mark.parametrize("by", ["total", "product"])
async def test_ratings_are_those_that_stood_at_the_end_of_each_period(
    shop: Shop, grain: str, by: str
) -> None:
    by_review: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in shop.told.events:
        if "Review" in one["type"]:
            by_review[one["data"]["review_id"]].append(one)
    first, last = date(2026, 2, 4), date(2026, 3, 29)
    found = await shop.ask("ratings", **{"grain": grain, "by": by, "from": first, "to": last})
    assert found
    for row in found:
        starts, ends = _period(grain, row.get(grain), first, last)
        stood, written = Counter[int](), 0
        for review, told in by_review.items():
            if by == "total" or review.startswith(row["product"]):
                stars = _stars(one for one in told if shop.day(one["at"]) <= ends)
                stood.update([stars] if stars else [])
                new = [one["at"] for one in told if one["type"] == "ProductReviewed"]
                written += bool(new) and starts <= shop.day(min(new)) <= ends
        assert [row[f"stars_{n}"] for n in range(1, 6)] == [stood[n] for n in range(1, 6)]
        assert (row["reviews"], row["written"]) == (stood.total(), written)
        mean = Fraction(sum(n * count for n, count in stood.items()), stood.total() or 1)
        assert row["average"] == (number(mean) if stood.total() else None)
    if grain != "total":  # in a period that is not there, nothing changed
        written = sum(row["written"] for row in found)
        [total] = await shop.ask("ratings", **{"from": first, "to": last})
        assert written == total["written"]
        if by == "total":
            assert {**found[-1], "written": 0, grain: 0} == {**total, "written": 0, grain: 0}


def _period(grain: str, named: str | None, first: date, last: date) -> tuple[date, date]:
    """The days of first..last that a period has."""
    if named is None:
        return first, last
    starts = date.fromisoformat(named if grain != "month" else f"{named}-01")
    ends = starts
    if grain == "week":
        ends = starts + 6 * DAY
    elif grain == "month":
        ends = (starts + 31 * DAY).replace(day=1) - DAY
    return max(first, starts), min(last, ends)


# Orders.


def _orders(shop: Shop) -> dict[str, dict[str, datetime]]:
    """When what happened to each, by kind."""
    found: dict[str, dict[str, datetime]] = defaultdict(dict)
    for one in shop.told.events:
        if one["type"].startswith("Order"):
            found[one["data"]["order_id"]][one["type"].removeprefix("Order")] = one["at"]
    return found


def _status(told: Mapping[str, datetime]) -> str:
    if "Cancelled" in told:
        return "cancelled"
    if "Refunded" in told and "Completed" in told:
        return "refunded"
    stages = ("Delivered", "Shipped", "Completed", "Paid", "Placed")
    return next((kind.lower() for kind in stages if kind in told), "updated")


def _ordered(told: Mapping[str, datetime]) -> datetime | None:
    return told.get("Placed") or told.get("Completed")


async def test_orders_are_counted_where_they_stand(shop: Shop) -> None:
    orders = _orders(shop)
    found = await shop.ask("orders_by_status")
    statuses = Counter(_status(told) for told in orders.values())
    assert {row["status"]: row["orders"] for row in found} == statuses
    first, last = date(2026, 3, 8), date(2026, 3, 29)
    of_days = {
        order: told
        for order, told in orders.items()
        if (at := _ordered(told)) and first <= shop.day(at) <= last
    }
    rows = await shop.ask("orders_by_status", **{"from": first, "to": last})
    assert {row["status"]: row["orders"] for row in rows} == Counter(
        _status(told) for told in of_days.values()
    )
    for row in rows:
        times = [
            at
            for told in of_days.values()
            if _status(told) == row["status"] and (at := _ordered(told))
        ]
        told = datetime.fromisoformat(row["oldest"]), datetime.fromisoformat(row["latest"])
        assert told == (min(times), max(times))


@pytest.mark.parametrize("completed", [False, True])
async def test_orders_without_a_payment_are_named_the_oldest_first(
    shop: Shop, completed: bool
) -> None:
    open_ones = sorted(
        (at, order)
        for order, told in _orders(shop).items()
        if (at := _ordered(told))
        and "Paid" not in told
        and (completed or "Completed" not in told)
        and _status(told) not in ("cancelled", "refunded")
    )
    assert open_ones
    found = await shop.ask("unpaid_orders", completed=completed, limit=1000)
    assert [(datetime.fromisoformat(row["ordered_at"]), row["order_id"]) for row in found] == (
        open_ones
    )
    assert [row["hours"] for row in found] == [(NOW - at) // HOUR for at, _ in open_ones]
    old = await shop.ask("unpaid_orders", completed=completed, hours=24 * 40, limit=2)
    assert old == [row for row in found if row["hours"] >= 24 * 40][:2]


@pytest.mark.parametrize("grain", ["total", "day", "week", "month"])
async def test_time_to_ship_is_from_the_sale_to_the_shipping(shop: Shop, grain: str) -> None:
    first, last = date(2026, 3, 5), date(2026, 4, 5)
    by_period: dict[str | None, list[timedelta]] = defaultdict(list)
    for told in _orders(shop).values():
        if "Completed" in told and "Shipped" in told:
            day = shop.day(told["Shipped"])
            if first <= day <= last:
                monday = day - timedelta(days=day.weekday())
                named = {"day": f"{day}", "week": f"{monday}", "month": f"{day:%Y-%m}"}.get(grain)
                taken = max(timedelta(0), told["Shipped"] - told["Completed"])
                by_period[named].append(taken)
    found = await shop.ask("time_to_ship", **{"grain": grain, "from": first, "to": last})
    assert [row.get(grain) for row in found] == sorted(by_period, key=str)
    for row in found:
        times = sorted(by_period[row.get(grain)])
        hours = [Fraction(one // timedelta(microseconds=1), 3_600_000_000) for one in times]
        assert row["orders"] == len(times)
        assert row["mean"] == number(sum(hours, Fraction(0)) / len(hours))
        for name, tenths in (("median", 5), ("p90", 9)):
            assert row[name] == number(hours[math.ceil(Fraction(tenths * len(hours), 10)) - 1])
        for most in (6, 12, 24, 48, 72, 168):
            assert row[f"within_{most}h"] == sum(one <= most for one in hours)
