"""The calendar over HTTP: what the staff plans is in the figures, and no one else plans."""

from typing import Any

import httpx2

from app.identity.tokens import Role
from streams.codec import LATEST_YEAR
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

SHOP = {"shop": "calendar"}
WEEK = {
    "kind": "price",
    "first": "2026-11-23",
    "last": "2026-11-30",
    "level": "category",
    "key": "kitchen",
    "value": "0.80",
    "name": "Black week",
}
EASTER = {"kind": "closed", "first": "2026-04-05", "last": "2026-04-06"}


async def test_what_is_planned_is_listed_by_day_until_it_is_withdrawn(service: Service) -> None:
    staff = bearer(service, shop=SHOP["shop"])
    async with httpx2.AsyncClient(base_url=service.api, timeout=30, headers=staff) as client:

        async def listed(after: httpx2.Response, **asked: str) -> Any:
            seen = {"min_position": after.json()["position"], "wait": 20}
            found = await client.get("/v1/calendar", params={**SHOP, **seen, **asked})
            assert found.status_code == 200, found.text
            rows = found.json()["rows"]
            assert all(row.pop("planned_at").endswith("Z") for row in rows)
            return rows

        async def put(name: str, body: Any, **headers: str) -> httpx2.Response:
            return await client.put(f"/v1/calendar/{name}", json=body, params=SHOP, headers=headers)

        first = await put("week", WEEK)
        assert (first.status_code, first.headers["Location"]) == (201, "/v1/calendar/week")
        easter = await put("easter", EASTER)
        week = {"id": "week", **WEEK}
        closed = {
            "id": "easter", **EASTER, "level": "total", "key": None, "value": "1", "name": None,
        }  # fmt: skip
        assert await listed(easter) == [closed, week]
        assert await listed(easter, **{"from": "2026-04-06", "to": "2026-11-22"}) == [closed]
        assert await listed(easter, **{"from": "2026-11-30"}) == [week]
        assert await listed(easter, **{"from": "2026-12-01"}) == []
        assert await listed(easter, kind="price") == [week]

        same = await put("week", WEEK)
        assert (same.status_code, "position" in same.json()) == (200, False)
        stale = await put("week", {**WEEK, "value": "0.7"}, **{"If-Match": '"7"'})
        assert stale.status_code == 412
        changed = await put("week", {**WEEK, "value": "0.7"}, **{"If-Match": same.headers["ETag"]})
        assert await listed(changed, kind="price") == [{**week, "value": "0.7"}]

        gone = await client.delete("/v1/calendar/week", params=SHOP)
        assert await listed(gone) == [closed]
        assert (await client.delete("/v1/calendar/week", params=SHOP)).status_code == 409
        assert (await client.delete("/v1/calendar/none", params=SHOP)).status_code == 404
        one = await client.get("/v1/calendar/week", params=SHOP)
        assert (one.status_code, one.json()["withdrawn"]) == (200, True)
        again = await put("week", WEEK)
        assert again.status_code == 201
        assert await listed(again) == [closed, week]

        for wrong, field in (
            ({"last": "2026-11-22"}, "last"),
            ({"last": f"{LATEST_YEAR + 1}-01-01"}, "last"),
            ({"kind": "holiday"}, "kind"),
            ({"level": "customer"}, "level"),
            ({"key": None}, "key"),
            ({"value": "-1"}, "value"),
            ({"value": "0"}, "value"),
            ({"until": "2026-11-30"}, "until"),
        ):
            refused = await put("week", {**WEEK, **wrong})
            assert refused.status_code == 422, wrong
            assert refused.json()["errors"][0]["field"].endswith(field), refused.json()
    shopper = bearer(service, Role.CUSTOMER, shop=SHOP["shop"])
    async with httpx2.AsyncClient(base_url=service.api, timeout=30, headers=shopper) as client:
        for refused in (
            await client.put("/v1/calendar/week", json=WEEK, params=SHOP),
            await client.delete("/v1/calendar/week", params=SHOP),
            await client.get("/v1/calendar/week", params=SHOP),
        ):
            assert refused.status_code == 403
