"""Products over HTTP: made, read, found, changed, taken away and brought back."""

import asyncio
from typing import Any

import pytest

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.shop import mug, refused, sent, somebody


def three(tag: str) -> list[dict[str, Any]]:
    """Products of one brand, in two categories of which one stands below the other."""
    home = {"category_id": f"home-{tag}", "name": "Home"}
    kitchen = {"category_id": f"kitchen-{tag}", "name": "Kitchen", "parent": f"home-{tag}"}
    return [
        mug(
            f"a-{tag}",
            name=f"Blaue Tasse {tag}",
            category=home,
            brand=f"Potter {tag}",
            description="Hält, was sie verspricht: 0.3 l",
        ),
        mug(
            f"b-{tag}",
            name=f"Éclair-Form {tag}",
            category=kitchen,
            brand=f"Potter {tag}",
            description="passt zur Tasse",
            variants=[{"id": f"form-{tag}", "price": "30", "options": {"Größe": "XL"}}],
        ),
        mug(
            f"c-{tag}",
            name=f"Tassentuch {tag}",
            brand=f"Potter {tag}",
            currency="USD",
            variants=[
                {"id": f"tuch-1-{tag}", "price": "1.5", "stock": 0},
                {"id": f"tuch-2-{tag}", "price": "70.0001", "stock": 1},
            ],
        ),
    ]


async def test_a_product_is_made_with_its_category_and_is_read_by_anyone(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff, somebody(service, None) as anyone:
        for product in three(tag):
            await sent(staff, "POST", "/v1/products", product)
        found = await sent(anyone, "GET", f"/v1/products/mug-b-{tag}")
        assert found["category"] == f"kitchen-{tag}"
        assert found["variants"] == [
            {
                "id": f"form-{tag}",
                "price": "30.00",
                "options": {"Größe": "XL"},
                "in_stock": False,
            }
        ]
        assert found["etag"] == '"1"'
        assert found["rating"]["average"] is None
        category = await sent(anyone, "GET", f"/v1/categories/kitchen-{tag}")
        assert (category["name"], category["parent"]) == ("Kitchen", f"home-{tag}")
        stock = await sent(staff, "GET", f"/v1/stock/form-{tag}")
        assert (stock["on_hand"], stock["available"]) == (0, 0)
        refused(await anyone.get(f"/v1/products/none-{tag}"), 404)


async def test_a_product_is_made_wholly_or_not_at_all(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        taken = mug(f"2-{tag}", category=f"new-{tag}")
        taken["variants"] += mug(tag)["variants"]
        refused(await staff.post("/v1/products", json=taken), 409, "variants")
        lost = mug(f"3-{tag}", category={"category_id": f"new-{tag}", "parent": f"no-{tag}"})
        refused(await staff.post("/v1/products", json=lost), 422, "parent")
        for path in (
            f"/v1/categories/new-{tag}",
            f"/v1/products/mug-2-{tag}",
            f"/v1/stock/blue-2-{tag}",
            f"/v1/stock/blue-3-{tag}",
        ):
            refused(await staff.get(path), 404)


async def test_products_are_found_by_what_is_asked_for(service: Service, tag: str) -> None:
    async with somebody(service) as staff, somebody(service, None) as anyone:
        for product in three(tag):
            await sent(staff, "POST", "/v1/products", product)

        async def found(**asked: Any) -> list[str]:
            answer = await anyone.get("/v1/products", params={"brand": f"Potter {tag}", **asked})
            assert answer.status_code == 200, answer.text
            return [one["product_id"].split("-")[1] for one in answer.json()["products"]]

        assert await found() == ["a", "b", "c"]
        assert await found(category=f"home-{tag}") == ["a", "b"]
        assert await found(category=f"kitchen-{tag}") == ["b"]
        assert await found(category=f"none-{tag}") == []
        assert await found(currency="USD") == ["c"]
        assert await found(min_price="9.91") == ["b", "c"]
        assert await found(max_price="9.90") == ["a", "c"]
        assert await found(min_price="2", max_price="70") == ["a", "b"]
        assert await found(in_stock=True) == ["a", "c"]
        assert await found(in_stock=False) == ["b"]
        assert await found(q="tasse") == ["a", "c", "b"]  # in the name, begun in it, described
        assert await found(q="TASS form") == ["b"]
        assert await found(q="éclair") == ["b"]
        assert await found(q=f"form-{tag}") == ["b"]
        assert await found(q="xl") == ["b"]
        assert await found(q="0.3 L") == ["a"]
        assert await found(q="asse") == []


async def test_what_looks_like_a_number_is_found_whole_and_by_its_beginning(
    service: Service, tag: str
) -> None:
    """Postgres' parser reads 677e236c as 677e236 and c."""
    codes = ["677e236c", "1e5", "12ab", "0x1f", "7e4x9"]
    async with somebody(service) as staff:
        for number, code in enumerate(codes):
            await sent(
                staff, "POST", "/v1/products", mug(f"{number}-{tag}", name=f"Lamp {code} {tag}")
            )
        for number, code in enumerate(codes):
            for asked in (code, f"lamp {code}", code[:-1]):
                answer = await staff.get("/v1/products", params={"q": f"{asked} {tag}"})
                found = [one["product_id"] for one in answer.json()["products"]]
                assert any(one.endswith(f"{number}-{tag}") for one in found), (asked, found)


ODD_WORDS = [
    *("", " ", "'", "\\", "a & ! | (", "':* <-> \"", "%", "a:b:*", "\u202e\ufeff", "x" * 512, "😀"),
    *("--", "'; DROP TABLE products; --", " ".join("abcdefghijklmnopqrstuvwxyz" * 9)[:512]),
]


@pytest.mark.parametrize("words", ODD_WORDS)
async def test_no_search_breaks(service: Service, words: str) -> None:
    async with somebody(service, None) as anyone:
        assert (await anyone.get("/v1/products", params={"q": words})).status_code == 200


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("min_price", "-1"),
        ("max_price", "NaN"),
        ("max_price", "1e99"),
        ("currency", "euro"),
        ("limit", "0"),
        ("limit", "101"),
        ("cursor", "nonsense"),
        ("cursor", "WzEsMV0"),
        ("cursor", "WyJhIiwiYiJd"),
        ("cursor", "WzEsImFcdTAwMDAiXQ"),
        ("in_stock", "perhaps"),
        ("colour", "red"),
        ("q", "a\0"),
    ],
)
async def test_an_odd_filter_is_named(service: Service, field: str, told: str) -> None:
    async with somebody(service, None) as anyone:
        answer = await anyone.get("/v1/products", params={field: told})
        if answer.status_code != 400:  # some of it is refused before it gets here
            refused(answer, 422)


async def test_a_list_goes_on_where_it_ended(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        for number in range(7):
            name = f"Kanne {tag}" + " Kanne" * (number % 3)
            product = mug(f"{number}-{tag}", name=name, brand=f"B{tag}", description="Kanne")
            await sent(staff, "POST", "/v1/products", product)
        for asked in (f"brand=B{tag}", f"q=kanne {tag}"):
            whole = await sent(staff, "GET", f"/v1/products?{asked}")
            some: list[str] = []
            path = f"/v1/products?{asked}&limit=2"
            while path:
                found = await sent(staff, "GET", path)
                some += [one["product_id"] for one in found["products"]]
                cursor = found["next_cursor"]
                path = f"/v1/products?{asked}&limit=2&cursor={cursor}" if cursor else ""
            assert some == [one["product_id"] for one in whole["products"]]
            assert len(set(some)) == 7


async def test_of_two_editors_with_one_etag_one_wins(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        made = await sent(staff, "POST", "/v1/products", mug(tag))
        path, seen = f"/v1/products/mug-{tag}", {"If-Match": made["etag"]}
        answers = await asyncio.gather(
            *(staff.patch(path, json={"name": f"By {n}"}, headers=seen) for n in range(10))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
        won = next(answer for answer in answers if answer.is_success)
        found = await sent(staff, "GET", path)
        assert (found["name"], found["etag"]) == (won.json()["name"], '"2"')


async def test_a_change_is_of_what_is_named_alone(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        whole = mug(tag, description="A mug", brand="Potter", category=f"c-{tag}")
        await sent(staff, "POST", "/v1/products", whole)
        path = f"/v1/products/mug-{tag}"
        changed = await sent(staff, "PATCH", path, {"name": "Cup", "brand": None})
        assert (changed["name"], changed["description"]) == ("Cup", "A mug")
        assert "brand" not in changed
        again = await sent(staff, "PATCH", path, {"name": "Cup"})
        assert again["etag"] == changed["etag"]
        for body, field in (
            ({"name": None}, "name"),
            ({"name": " "}, "name"),
            ({"name": "x" * 513}, "name"),
            ({"category": f"none-{tag}"}, "category"),
            ({"price": "1"}, "price"),
            ({"description": "a\0"}, "description"),
        ):
            answer = await staff.patch(path, json=body)
            if answer.status_code != 400:
                refused(answer, 422, field)
        assert (await sent(staff, "GET", path))["etag"] == changed["etag"]
        refused(await staff.patch(f"/v1/products/no-{tag}", json={"name": "a"}), 404)


async def test_variants_come_and_go_and_keep_their_stock(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        await sent(staff, "POST", "/v1/products", mug(f"2-{tag}"))
        path = f"/v1/products/mug-{tag}"
        red = f"{path}/variants/red-{tag}"
        both = await sent(staff, "PUT", red, {"price": "12", "stock": 3})
        assert [one["id"] for one in both["variants"]] == [f"blue-{tag}", f"red-{tag}"]
        dearer = await sent(staff, "PUT", red, {"price": "13", "stock": 99})
        assert dearer["variants"][1]["price"] == "13.00"
        assert dearer["etag"] == '"4"'  # the price, and the product as it is
        assert (await sent(staff, "GET", f"/v1/stock/red-{tag}"))["on_hand"] == 3
        blue = await sent(staff, "DELETE", red)
        assert [one["id"] for one in blue["variants"]] == [f"blue-{tag}"]
        assert (await sent(staff, "GET", f"/v1/stock/red-{tag}"))["on_hand"] == 3
        refused(await staff.delete(red), 404, "variant")
        refused(await staff.delete(f"{path}/variants/blue-{tag}"), 422, "variants")
        others = f"{path}/variants/blue-2-{tag}"
        refused(await staff.put(others, json={"price": "1"}), 409, "variant")
        refused(await staff.put(red, json={"price": "-1"}), 422, "price")
        refused(await staff.put(red, json={"price": "1.00001"}), 422, "price")
        refused(await staff.put(red, json={"price": "1", "stock": -1}), 422, "stock")


async def test_what_is_delisted_is_not_seen_until_it_is_relisted(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff, somebody(service, None) as anyone:
        await sent(staff, "POST", "/v1/products", mug(tag, brand=f"B{tag}", category=f"c-{tag}"))
        path = f"/v1/products/mug-{tag}"
        gone = await sent(staff, "DELETE", f"{path}?reason=season")
        assert gone["delisted"] is True
        refused(await anyone.get(path), 404)
        refused(await anyone.get("/v1/products?delisted=true"), 403)
        assert (await sent(anyone, "GET", f"/v1/products?brand=B{tag}"))["products"] == []
        listed = await sent(staff, "GET", f"/v1/products?brand=B{tag}&delisted=true")
        assert [one["product_id"] for one in listed["products"]] == [f"mug-{tag}"]
        refused(await staff.patch(path, json={"name": "Cup"}), 409)
        await sent(staff, "DELETE", f"/v1/categories/c-{tag}")
        back = await sent(staff, "POST", f"{path}/relist")
        assert "category" not in back
        assert (await sent(anyone, "GET", path))["name"] == "Mug"


@pytest.mark.parametrize("role", [None, Role.CUSTOMER, Role.GUEST])
async def test_only_staff_may_change_the_catalogue(
    service: Service, tag: str, role: Role | None
) -> None:
    async with somebody(service) as staff, somebody(service, role) as other:
        await sent(staff, "POST", "/v1/products", mug(tag, category=f"c-{tag}"))
        path = f"/v1/products/mug-{tag}"
        for method, at, body in (
            ("PATCH", path, {"name": "Cup"}),
            ("DELETE", path, None),
            ("POST", f"{path}/relist", None),
            ("PUT", f"{path}/variants/x", {"price": "1"}),
            ("DELETE", f"{path}/variants/blue-{tag}", None),
            ("POST", f"{path}/images", {"url": "https://example.com/a.png"}),
            ("DELETE", f"{path}/images/{'0' * 64}", None),
            ("POST", "/v1/categories", {"category_id": f"x-{tag}", "name": "X"}),
            ("PATCH", f"/v1/categories/c-{tag}", {"name": "X"}),
            ("DELETE", f"/v1/categories/c-{tag}", None),
            ("GET", "/v1/stock", None),
            ("GET", f"/v1/stock/blue-{tag}", None),
            ("POST", f"/v1/stock/blue-{tag}/receive", {"quantity": 1}),
            ("POST", f"/v1/stock/blue-{tag}/adjust", {"change": 1}),
            ("POST", f"/v1/stock/blue-{tag}/threshold", {"threshold": 1}),
        ):
            answer = await other.request(method, at, json=body)
            assert answer.status_code == (403 if role else 401), (method, at)
        assert (await sent(staff, "GET", path))["etag"] == '"1"'


async def test_a_product_that_grows_beyond_an_event_is_refused(service: Service, tag: str) -> None:
    """Each request is of a size that may be; what they come to together is not."""
    async with somebody(service) as staff:
        options = {f"{n}-{'k' * 500}": "v" * 500 for n in range(20)}
        variants = [
            {"id": f"{n}-{tag}", "price": "1", "options": options if n < 48 else {}}
            for n in range(50)
        ]
        await sent(staff, "POST", "/v1/products", mug(tag, variants=variants))
        path = f"/v1/products/mug-{tag}"
        told = {"price": "1", "options": options}
        await sent(staff, "PUT", f"{path}/variants/48-{tag}", told)
        answer = await staff.put(f"{path}/variants/49-{tag}", json=told)
        assert refused(answer, 422)["code"] == "too_large"
        assert (await sent(staff, "GET", path))["etag"] == '"2"'


async def test_ids_of_any_script_have_a_place(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        answer = await staff.post("/v1/products", json=mug(tag, product_id=f"茶碗 {tag}?#%"))
        assert answer.status_code == 201
        found = await staff.get(answer.headers["Location"])
        assert found.json()["product_id"] == f"茶碗 {tag}?#%"


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("name", ""),
        ("name", "\t "),
        ("product_id", "a/b"),
        ("product_id", ""),
        ("product_id", "x" * 129),
        ("currency", "Euro"),
        ("variants", []),
        ("variants", [{"id": "a", "price": "1"}, {"id": "a", "price": "2"}]),
        ("variants.0.price", [{"id": "a", "price": "-1"}]),
        ("variants.0.price", [{"id": "a", "price": 10**13}]),
        ("variants.0.price", [{"id": "a", "price": "1.23456"}]),
        ("variants.0.stock", [{"id": "a", "price": "1", "stock": -1}]),
        ("variants.0.stock", [{"id": "a", "price": "1", "stock": 10**8}]),
        ("description", "x" * 20_001),
        ("owner", "me"),
    ],
)
async def test_a_product_that_can_be_none_is_refused_with_its_field(
    service: Service, tag: str, field: str, told: Any
) -> None:
    async with somebody(service) as staff:
        body = mug(tag, **{field.partition(".")[0]: told})
        refused(await staff.post("/v1/products", json=body), 422, field)
        refused(await staff.get(f"/v1/products/mug-{tag}"), 404)
