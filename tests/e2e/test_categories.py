"""Categories over HTTP: a tree that stays one, also when it is moved from two sides at once."""

import asyncio
from typing import Any

from tests.e2e.service import Service
from tests.e2e.shop import mug, refused, sent, somebody


async def made(staff: Any, tag: str, *names: str) -> None:
    """Each below the one before it."""
    above = None
    for name in names:
        body = {"category_id": f"{name}-{tag}", "name": name, "parent": above}
        await sent(staff, "POST", "/v1/categories", body)
        above = body["category_id"]


async def test_a_category_is_renamed_and_moved(service: Service, tag: str) -> None:
    async with somebody(service) as staff, somebody(service, None) as anyone:
        await made(staff, tag, "a", "b")
        path = f"/v1/categories/b-{tag}"
        named = await sent(staff, "PATCH", path, {"name": "Bee"})
        assert (named["name"], named["parent"], named["etag"]) == ("Bee", f"a-{tag}", '"2"')
        refused(await staff.patch(path, json={"name": "X"}, headers={"If-Match": '"1"'}), 412)
        below = await sent(anyone, "GET", f"/v1/categories?parent=a-{tag}")
        assert [one["category_id"] for one in below["categories"]] == [f"b-{tag}"]
        assert "parent" not in await sent(staff, "PATCH", path, {"parent": None})
        assert (await sent(anyone, "GET", f"/v1/categories?parent=a-{tag}"))["categories"] == []
        refused(await anyone.get(f"/v1/categories/none-{tag}"), 404)
        first = await sent(anyone, "GET", "/v1/categories?limit=1")
        more = await sent(anyone, "GET", f"/v1/categories?limit=1&cursor={first['next_cursor']}")
        ids = [page["categories"][0]["category_id"] for page in (first, more)]
        assert ids == sorted(set(ids))


async def test_there_is_no_ring(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await made(staff, tag, "a", "b", "c")
        for parent in ("a", "b", "c"):
            answer = await staff.patch(
                f"/v1/categories/a-{tag}", json={"parent": f"{parent}-{tag}"}
            )
            refused(answer, 409, "parent")
        answer = await staff.patch(f"/v1/categories/a-{tag}", json={"parent": f"no-{tag}"})
        refused(answer, 422, "parent")
        body = {"category_id": f"a-{tag}", "name": "again"}
        refused(await staff.post("/v1/categories", json=body), 409, "category_id")


async def test_there_is_no_ring_of_moves_at_once(service: Service, tag: str) -> None:
    ids = [f"{number}-{tag}" for number in range(5)]
    async with somebody(service) as staff:
        for one in ids:
            await sent(staff, "POST", "/v1/categories", {"category_id": one, "name": one})
        answers = await asyncio.gather(
            *(
                staff.patch(f"/v1/categories/{one}", json={"parent": other})
                for one in ids
                for other in ids
                if one != other
            )
        )
        assert {answer.status_code for answer in answers} == {200, 409}
        for one in ids:
            above = one
            seen: list[str] = []
            while found := (await sent(staff, "GET", f"/v1/categories/{above}")).get("parent"):
                above = found
                assert above not in seen, seen
                seen.append(above)


async def test_only_an_empty_category_is_removed(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await made(staff, tag, "a", "b")
        refused(await staff.delete(f"/v1/categories/a-{tag}"), 409)
        await sent(staff, "POST", "/v1/products", mug(tag, category=f"b-{tag}"))
        path = f"/v1/categories/b-{tag}"
        refused(await staff.delete(path), 409, "products_to")
        refused(await staff.delete(f"{path}?products_to=b-{tag}"), 422, "products_to")
        refused(await staff.delete(f"{path}?products_to=no-{tag}"), 422, "products_to")
        await sent(staff, "DELETE", f"{path}?products_to=a-{tag}")
        assert (await sent(staff, "GET", f"/v1/products/mug-{tag}"))["category"] == f"a-{tag}"
        refused(await staff.get(path), 404)
        refused(await staff.patch(path, json={"name": "X"}), 404)
        refused(await staff.delete(path), 404)
        again = {"category_id": f"b-{tag}", "name": "again"}
        assert (await sent(staff, "POST", "/v1/categories", again))["name"] == "again"


async def test_nothing_comes_into_a_category_while_it_is_removed(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff:
        for number in range(4):
            one = f"{number}-{tag}"
            await sent(staff, "POST", "/v1/categories", {"category_id": one, "name": one})
            await sent(staff, "POST", "/v1/products", mug(one))
            removed, moved = await asyncio.gather(
                staff.delete(f"/v1/categories/{one}"),
                staff.patch(f"/v1/products/mug-{one}", json={"category": one}),
            )
            assert sorted([removed.status_code, moved.status_code]) in ([200, 409], [200, 422])
            product = await sent(staff, "GET", f"/v1/products/mug-{one}")
            assert product.get("category") == (one if moved.is_success else None)
