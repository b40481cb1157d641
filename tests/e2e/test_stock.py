"""Stock over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.e2e.shop import mug, refused, sent, somebody


async def test_stock_is_received_counted_and_written_off(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/stock/blue-{tag}"
        more = await sent(staff, "POST", f"{path}/receive", {"quantity": 5, "reason": "delivery"})
        assert (more["on_hand"], more["available"], more["etag"]) == (55, 55, '"2"')
        fewer = await sent(staff, "POST", f"{path}/adjust", {"change": -5, "reason": "broken"})
        assert fewer["on_hand"] == 50
        counted = await sent(staff, "POST", f"{path}/adjust", {"on_hand": 10})
        assert counted["on_hand"] == 10
        stale = {"If-Match": more["etag"]}
        refused(await staff.post(f"{path}/adjust", json={"change": 1}, headers=stale), 412)
        low = await sent(staff, "POST", f"{path}/threshold", {"threshold": 10})
        assert (low["low"], low["threshold"], low["etag"]) == (True, 10, '"6"')
        assert (await sent(staff, "GET", path))["on_hand"] == 10


async def test_stock_is_listed_by_pages_low_or_not(service: Service, tag: str) -> None:
    variants = [{"id": f"{n}-{tag}", "price": "1", "stock": n} for n in range(5)]
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag, variants=variants))
        for number in range(5):
            await sent(staff, "POST", f"/v1/stock/{number}-{tag}/threshold", {"threshold": 2})
        asked = f"/v1/stock?product_id=mug-{tag}"
        low = await sent(staff, "GET", f"{asked}&low=true")
        assert [one["on_hand"] for one in low["stock"]] == [0, 1, 2]
        high = await sent(staff, "GET", f"{asked}&low=false")
        assert [one["on_hand"] for one in high["stock"]] == [3, 4]
        some = await sent(staff, "GET", f"{asked}&limit=3")
        more = await sent(staff, "GET", f"{asked}&limit=3&cursor={some['next_cursor']}")
        assert [one["on_hand"] for one in (*some["stock"], *more["stock"])] == [0, 1, 2, 3, 4]
        assert more["next_cursor"] is None


async def test_no_more_is_written_off_than_there_is_however_many_try(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/stock/blue-{tag}/adjust"
        answers = await asyncio.gather(*(staff.post(path, json={"change": -7}) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [409] * 13
        assert (await sent(staff, "GET", f"/v1/stock/blue-{tag}"))["on_hand"] == 1


@pytest.mark.parametrize(
    ("command", "body", "status", "field"),
    [
        ("receive", {"quantity": 0}, 422, "quantity"),
        ("receive", {"quantity": -1}, 422, "quantity"),
        ("receive", {"quantity": 10**18}, 422, "quantity"),
        ("receive", {"quantity": 10_000_000}, 422, "quantity"),
        ("receive", {"quantity": "1.5"}, 422, "quantity"),
        ("receive", {"quantity": 1, "reason": "x" * 513}, 422, "reason"),
        ("receive", {}, 422, "quantity"),
        ("adjust", {"change": 0}, 422, "change"),
        ("adjust", {"change": -51}, 409, "change"),
        ("adjust", {"on_hand": -1}, 422, "on_hand"),
        ("adjust", {"change": 1, "on_hand": 1}, 422, None),
        ("adjust", {}, 422, None),
        ("threshold", {"threshold": -1}, 422, "threshold"),
        ("threshold", {}, 422, "threshold"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    service: Service, tag: str, command: str, body: Any, status: int, field: str | None
) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/stock/blue-{tag}"
        refused(await staff.post(f"{path}/{command}", json=body), status, field)
        assert (await sent(staff, "GET", path))["etag"] == '"1"'


async def test_a_variant_that_is_not_there_has_no_stock(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        refused(await staff.get(f"/v1/stock/none-{tag}"), 404)
        refused(await staff.post(f"/v1/stock/none-{tag}/receive", json={"quantity": 1}), 404)
