"""Reviews over HTTP: one of each buyer, counted exactly, seen by whom it is for."""

import asyncio

import pytest

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.shop import mug, refused, sent, somebody


async def test_a_buyer_writes_one_review_and_may_change_it(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
        somebody(service, None) as anyone,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/reviews"
        made = await buyer.post(path, json={"rating": 2, "review_body": "It leaks."})
        assert made.status_code == 201
        one = made.headers["Location"]
        assert f"u-{tag}" not in made.text
        refused(await buyer.post(path, json={"rating": 5}), 409)
        edited = await sent(buyer, "PUT", one, {"rating": 4, "review_body": "It did."})
        assert (edited["rating"], edited["review_body"], edited["etag"]) == (4, "It did.", '"2"')
        stale = {"If-Match": '"1"'}
        refused(await buyer.put(one, json={"rating": 1}, headers=stale), 412)
        found = await sent(anyone, "GET", path)
        assert [review["review_body"] for review in found["reviews"]] == ["It did."]
        assert "person" not in found["reviews"][0]
        assert found["rating"] == {
            "average": 4.0,
            "count": 1,
            "histogram": {"1": 0, "2": 0, "3": 0, "4": 1, "5": 0},
        }
        gone = await sent(buyer, "DELETE", one)
        assert "review_body" not in gone
        refused(await anyone.get(one), 404)
        refused(await buyer.put(one, json={"rating": 1}), 409)
        assert (await sent(anyone, "GET", path))["rating"]["count"] == 0
        again = await sent(buyer, "POST", path, {"rating": 1})
        assert again["review_id"] == edited["review_id"]


async def test_a_review_is_its_authors_alone(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
        somebody(service, Role.CUSTOMER, f"v-{tag}") as other,
        somebody(service, Role.GUEST, f"u-{tag}") as guest,
        somebody(service, None) as anyone,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        await sent(staff, "POST", "/v1/products", mug(f"2-{tag}"))
        path = f"/v1/products/mug-{tag}/reviews"
        made = await sent(buyer, "POST", path, {"rating": 2})
        one = f"{path}/{made['review_id']}"
        for client, status in ((other, 404), (guest, 403), (staff, 403), (anyone, 401)):
            refused(await client.put(one, json={"rating": 1}), status)
            refused(await client.delete(one), status)
        for client, status in ((buyer, 403), (guest, 403), (anyone, 401)):
            refused(await client.post(f"{one}/moderate", json={"hidden": False}), status)
        elsewhere = f"/v1/products/mug-2-{tag}/reviews/{made['review_id']}"
        refused(await buyer.put(elsewhere, json={"rating": 1}), 404)
        refused(await anyone.get(elsewhere), 404)
        assert (await sent(anyone, "GET", one))["etag"] == '"1"'


async def test_a_hidden_review_is_neither_seen_nor_counted(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
        somebody(service, None) as anyone,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/reviews"
        made = await sent(buyer, "POST", path, {"rating": 5, "review_body": "Buy at mine!"})
        one = f"{path}/{made['review_id']}"
        refused(await staff.post(f"{one}/moderate", json={"hidden": True}), 422, "reason")
        hiding = {"hidden": True, "reason": "advertising"}
        await sent(staff, "POST", f"{one}/moderate", hiding)
        refused(await anyone.get(one), 404)
        found = await sent(anyone, "GET", path)
        assert (found["reviews"], found["rating"]["count"]) == ([], 0)
        refused(await anyone.get(f"{path}?hidden=true"), 403)
        assert (await sent(buyer, "GET", one))["reason"] == "advertising"
        hidden = await sent(staff, "GET", f"{path}?hidden=true")
        assert [review["review_id"] for review in hidden["reviews"]] == [made["review_id"]]
        # Neither an edit nor a second one of the same buyer brings it back.
        await sent(buyer, "PUT", one, {"rating": 4})
        await sent(buyer, "DELETE", one)
        await sent(buyer, "POST", path, {"rating": 4})
        refused(await anyone.get(one), 404)
        await sent(staff, "POST", f"{one}/moderate", {"hidden": False})
        product = await sent(anyone, "GET", f"/v1/products/mug-{tag}")
        assert (product["rating"]["average"], product["rating"]["count"]) == (4.0, 1)


async def test_stars_are_counted_exactly_however_many_write_at_once(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/reviews"

        async def buys(number: int) -> None:
            async with somebody(service, Role.CUSTOMER, f"u{number}-{tag}") as buyer:
                answers = await asyncio.gather(
                    *(buyer.post(path, json={"rating": number % 5 + 1}) for _ in range(3))
                )
                assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
                made = next(answer for answer in answers if answer.is_success)
                one = made.headers["Location"]
                if number % 3 == 1:
                    await sent(buyer, "PUT", one, {"rating": 1})
                if number % 3 == 2:
                    await sent(buyer, "DELETE", one)

        await asyncio.gather(*map(buys, range(20)))
        left = [1 if n % 3 else n % 5 + 1 for n in range(20) if n % 3 < 2]
        rating = (await sent(staff, "GET", path))["rating"]
        assert rating["histogram"] == {str(stars): left.count(stars) for stars in range(1, 6)}
        assert rating["average"] == round(sum(left) / len(left), 2)
        listed, asked = [], f"{path}?limit=5"
        while True:
            found = await sent(staff, "GET", asked)
            listed += [review["review_id"] for review in found["reviews"]]
            if not found["next_cursor"]:
                break
            asked = f"{path}?limit=5&cursor={found['next_cursor']}"
        assert len(listed) == len(set(listed)) == len(left)
        ones = await sent(staff, "GET", f"{path}?rating=1&limit=100")
        assert len(ones["reviews"]) == left.count(1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": 4.5}, "rating"),
        ({}, "rating"),
        ({"rating": 5, "review_body": "x" * 20_001}, "review_body"),
        ({"rating": 5, "verified": True}, "verified"),
        ({"rating": 5, "person": "u"}, "person"),
    ],
)
async def test_a_review_that_can_be_none_is_refused(
    service: Service, tag: str, body: dict[str, object], field: str
) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/reviews"
        refused(await buyer.post(path, json=body), 422, field)
        assert (await sent(buyer, "GET", path))["rating"]["count"] == 0


async def test_what_is_not_offered_is_not_reviewed(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
    ):
        path = f"/v1/products/mug-{tag}"
        refused(await buyer.post(f"{path}/reviews", json={"rating": 1}), 404, "product_id")
        refused(await buyer.get(f"{path}/reviews"), 404)
        await sent(staff, "POST", "/v1/products", mug(tag))
        await sent(staff, "DELETE", path)
        refused(await buyer.post(f"{path}/reviews", json={"rating": 1}), 404, "product_id")


async def test_whether_it_was_bought_is_seen(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as buyer,
        somebody(service, Role.CUSTOMER, f"v-{tag}") as other,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        await sent(staff, "POST", "/v1/products", mug(f"2-{tag}"))
        order = {
            "lines": [{"variant": f"blue-{tag}", "quantity": 1}],
            "payment_method": "cash_on_delivery",
            "shipping_address": {
                "name": "Ada Lovelace",
                "lines": ["1 Example Street"],
                "city": "Berlin",
                "country": "DE",
            },
        }
        placed = await sent(buyer, "POST", "/v1/orders", order)
        path = f"/v1/products/mug-{tag}/reviews"
        bought = await sent(buyer, "POST", path, {"rating": 5})
        assert bought["verified"] is True
        assert "verified" not in await sent(other, "POST", path, {"rating": 5})
        unbought = f"/v1/products/mug-2-{tag}/reviews"
        assert "verified" not in await sent(buyer, "POST", unbought, {"rating": 5})
        await sent(buyer, "POST", f"/v1/orders/{placed['order_id']}/cancel", {})
        edited = await sent(buyer, "PUT", f"{path}/{bought['review_id']}", {"rating": 4})
        assert "verified" not in edited
