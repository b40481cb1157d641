"""Accounts over HTTP, on the real servers: what is done with them, and what is refused."""

import asyncio
import subprocess
from typing import Any

import httpx2
import pytest

from app.api.access import Role
from app.cli.run import _staff_of_demo
from tests.e2e.people import PASSWORD, Person, log_in, registered, somebody, told_of
from tests.e2e.service import Service, run_cli
from tests.e2e.test_commands import bearer, mug

ADDRESS = {"name": "Ada", "lines": ["Rua da Prata 80"], "city": "Lisboa", "country": "PT"}


async def test_somebody_registers_logs_in_and_sees_themselves(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client, name="Ada Lovelace", country="PT")
        answer = await client.get("/v1/users/me", headers=ada.headers)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["user_id"], found["email"]) == (ada.user_id, ada.email)
        assert (found["name"], found["country"]) == ("Ada Lovelace", "PT")
        assert (found["role"], answer.headers["ETag"]) == ("customer", '"1"')
        assert answer.headers["Cache-Control"] == "no-store"
        # In another shop the same address is somebody else's.
        other = await registered(client, shop="another", email=ada.email)
        assert other.user_id != ada.user_id
        elsewhere = await client.get("/v1/users/me", headers=other.headers)
        assert elsewhere.status_code == 401


async def test_a_profile_and_addresses_change_by_version(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client, name="Ada")
        me, stale = "/v1/users/me", {"If-Match": '"7"'}
        refused = await client.patch(me, json={"name": "X"}, headers=ada.headers | stale)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (412, "If-Match")
        first = await client.patch(
            me, json={"country": "GB"}, headers=ada.headers | {"If-Match": '"1"'}
        )
        assert (first.json()["name"], first.json()["country"]) == ("Ada", "GB")
        assert first.headers["ETag"] == '"2"'
        bare = await client.patch(me, json={"country": None}, headers=ada.headers)
        assert (bare.json()["name"], bare.json()["country"]) == ("Ada", None)

        home = await client.post(f"{me}/addresses", json=ADDRESS, headers=ada.headers)
        (one,) = home.json()["addresses"]
        assert (home.status_code, one["default"], one["city"]) == (201, True, "Lisboa")
        work = {**ADDRESS, "city": "Porto", "default": True}
        both = (await client.post(f"{me}/addresses", json=work, headers=ada.headers)).json()
        assert [(a["city"], a["default"]) for a in both["addresses"]] == [
            ("Lisboa", False),
            ("Porto", True),
        ]
        two = both["addresses"][1]["address_id"]
        url = f"{me}/addresses/{two}"
        moved = await client.put(url, json={**ADDRESS, "city": "Braga"}, headers=ada.headers)
        assert moved.json()["addresses"][1]["city"] == "Braga"
        left = await client.delete(url, headers=ada.headers)
        assert [(a["city"], a["default"]) for a in left.json()["addresses"]] == [("Lisboa", True)]
        gone = await client.delete(url, headers=ada.headers)
        assert (gone.status_code, gone.json()["errors"][0]["field"]) == (404, "address_id")


async def test_under_one_key_an_account_is_made_once(service: Service) -> None:
    new = somebody()
    key = {"Idempotency-Key": f"register-{new['name']}-0123456789abcdef", "Authorization": ""}
    async with service.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/auth/register", json=new, headers=key) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        other = await client.post(
            "/v1/auth/register", json={**new, "password": "another one!"}, headers=key
        )
        assert other.status_code == 422
        again = await client.post("/v1/auth/register", json=new, headers={"Authorization": ""})
        assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "email")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"email": "nobody"}, "email"),
    ({"email": "two@at@example.com"}, "email"),
    ({"email": "a b@example.com"}, "email"),
    ({"email": "ada@localhost"}, "email"),
    ({"email": "ada@example.com\0"}, "email"),
    ({"email": "a" * 300 + "@example.com"}, "email"),
    ({"email": None}, "email"),
    ({"password": "short"}, "password"),
    ({"password": "x" * 257}, "password"),
    ({"password": "aaaaaaaaaaaa"}, "password"),
    ({"password": 1234567890}, "password"),
    ({"name": ""}, "name"),
    ({"name": "\0"}, "name"),
    ({"country": "Portugal"}, "country"),
    ({"phone": "call me"}, "phone"),
    ({"role": "admin"}, "role"),
    ({"user_id": "mine"}, "user_id"),
]


@pytest.mark.parametrize(("changed", "field"), WRONG)
async def test_what_is_wrong_with_an_account_is_named(
    service: Service, changed: dict[str, Any], field: str
) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/auth/register", json=somebody(**changed))
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/users/nobody", None, 404),
        ("PATCH", "/v1/users/nobody", {"name": "X"}, 404),
        ("PATCH", "/v1/users/me", {"email": "new@example.com"}, 422),
        ("PATCH", "/v1/users/me", {"role": "admin"}, 422),
        ("PUT", "/v1/users/me/role", {"role": "admin"}, 403),
        ("GET", "/v1/users", None, 403),
        ("POST", "/v1/users", {}, 403),
        ("POST", "/v1/users/me/addresses", {**ADDRESS, "lines": []}, 422),
        ("POST", "/v1/users/me/addresses", {**ADDRESS, "lines": ["x"] * 6}, 422),
        ("POST", "/v1/users/me/addresses", {**ADDRESS, "country": "??"}, 422),
        ("PUT", "/v1/users/me/addresses/none", ADDRESS, 404),
        ("GET", "/v1/users/me/orders?cursor=mine", None, 422),
        ("GET", "/v1/users/me/orders?limit=0", None, 422),
        ("GET", "/v1/users/%00", None, 422),
        ("PUT", "/v1/auth/password", {"password": "wrong", "new_password": "x" * 9}, 422),
        ("PUT", "/v1/auth/password", {"password": "wrong", "new_password": "long enough"}, 401),
        ("POST", "/v1/auth/refresh", {"refresh_token": "none of ours"}, 401),
        ("POST", "/v1/auth/refresh", {"refresh_token": ""}, 422),
        ("POST", "/v1/auth/login", {"email": "x", "password": ""}, 422),
    ],
)
async def test_what_a_customer_may_not_changes_nothing(
    service: Service, method: str, path: str, body: Any, status: int
) -> None:
    async with service.client() as client:
        ada = await registered(client)
        before = (await client.get("/v1/users/me", headers=ada.headers)).json()
        answer = await client.request(method, path, json=body, headers=ada.headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/v1/users/me", headers=ada.headers)).json() == before


async def test_staff_find_people_page_by_page(service: Service, tag: str) -> None:
    async with service.client() as client:
        for number in range(3):
            new = somebody(name=f"Zoë Number{number} of{tag}", email=f"z{number}.{tag}@example.com")
            made = await client.post("/v1/users", json=new, headers=bearer(service))
            assert made.status_code == 201, made.text
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await client.get(
                "/v1/users",
                params={"search": f"zoë of{tag[:6]}", "limit": 2, **cursor},
                headers=bearer(service),
            )
            page = answer.json()
            found += [user["name"] for user in page["users"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == [f"Zoë Number{number} of{tag}" for number in (2, 1, 0)]
        for search, count in ((f"z1 {tag}", 1), (f"{tag} nobody", 0), ("' | \\ & ! :*", 0)):
            answer = await client.get(
                "/v1/users", params={"search": search}, headers=bearer(service)
            )
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["users"]) == count, search
        made = await client.post("/v1/users", json=somebody(role="admin"), headers=bearer(service))
        assert made.status_code == 403


async def test_another_password_ends_every_other_session(service: Service) -> None:
    async with service.client() as client:
        here = await registered(client)
        there = await log_in(client, here.email)
        change = {"password": PASSWORD, "new_password": "another good password"}
        answer = await client.put("/v1/auth/password", json=change, headers=here.headers)
        assert answer.status_code == 200, answer.text
        assert (await client.get("/v1/users/me", headers=here.headers)).status_code == 200
        assert (await client.get("/v1/users/me", headers=there.headers)).status_code == 401
        old = {"email": here.email, "password": PASSWORD}
        assert (await client.post("/v1/auth/login", json=old)).status_code == 401
        await log_in(client, here.email, "another good password")


async def test_refreshes_at_once_never_log_anyone_out(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client)
        token = ada.refresh
        for _ in range(3):
            answers = await asyncio.gather(
                *(client.post("/v1/auth/refresh", json={"refresh_token": token}) for _ in range(50))
            )
            assert {answer.status_code for answer in answers} == {200}
            (token,) = {answer.json()["refresh_token"] for answer in answers}
        now = Person(ada.user_id, ada.email, answers[0].json()["access_token"], token)
        assert (await client.get("/v1/users/me", headers=now.headers)).status_code == 200
        out = await client.post("/v1/auth/logout", json={"refresh_token": ada.refresh})
        assert out.status_code == 204
        assert (await client.get("/v1/users/me", headers=now.headers)).status_code == 401


async def test_a_closed_account_is_gone_and_its_address_free(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client, name="Ada")
        answer = await client.delete("/v1/users/me", headers=ada.headers)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["email"], answer.json()["name"]) == (None, None)
        assert (await client.get("/v1/users/me", headers=ada.headers)).status_code == 401
        login = {"email": ada.email, "password": PASSWORD}
        assert (await client.post("/v1/auth/login", json=login)).status_code == 401
        assert (await registered(client, email=ada.email)).user_id != ada.user_id


async def on_sale(client: httpx2.AsyncClient, service: Service, name: str) -> None:
    """A product with a variant of the same name."""
    variant = {"id": name, "price": "9.90", "stock": 50}
    product = mug(name, product_id=name, variants=[variant])
    answer = await client.post("/v1/products", json=product, headers=bearer(service))
    assert answer.is_success, answer.text


async def test_what_was_in_a_guests_cart_is_in_ones_own_after_logging_in(
    service: Service, tag: str
) -> None:
    async with service.client() as client:
        await on_sale(client, service, f"cup-{tag}")
        cart = (await client.post("/v1/carts", json={}, headers={"Authorization": ""})).json()
        guest = {"Authorization": f"Bearer {cart['token']}"}
        line = {"variant": f"cup-{tag}", "quantity": 2}
        added = await client.post(f"/v1/carts/{cart['cart_id']}/lines", json=line, headers=guest)
        assert added.is_success, added.text
        ada = await registered(client)
        login = {"email": ada.email, "password": PASSWORD, "cart_token": cart["token"]}
        answer = (await client.post("/v1/auth/login", json=login)).json()
        own = {"Authorization": f"Bearer {answer['access_token']}"}
        found = await client.get(f"/v1/carts/{answer['cart_id']}", headers=own)
        assert found.status_code == 200, found.text
        lines = [(one["variant"], one["quantity"]) for one in found.json()["lines"]]
        assert lines == [(f"cup-{tag}", 2)]
        # A token that is none keeps nobody out.
        for token in ("none", ada.access):
            answer = await client.post("/v1/auth/login", json={**login, "cart_token": token})
            assert (answer.status_code, answer.json()["cart_id"]) == (200, None)


async def test_everyone_finds_their_own_orders(service: Service, tag: str) -> None:
    async with service.client() as client:
        await on_sale(client, service, f"pot-{tag}")
        ada, bob = await registered(client), await registered(client)
        order = {
            "lines": [{"variant": f"pot-{tag}", "quantity": 1}],
            "payment_method": "cash_on_delivery",
            "shipping_address": ADDRESS,
        }
        placed = [
            (await client.post("/v1/orders", json=order, headers=ada.headers)).json()["order_id"]
            for _ in range(3)
        ]
        found: list[str] = []
        url = "/v1/users/me/orders?limit=2"
        while True:
            page = (await client.get(url, headers=ada.headers)).json()
            found += [one["order_id"] for one in page["orders"]]
            if page["next_cursor"] is None:
                break
            url = f"/v1/users/me/orders?limit=2&cursor={page['next_cursor'].replace('+', '%2B')}"
        assert found == placed[::-1]
        url = f"/v1/users/{ada.user_id}/orders"
        assert (await client.get(url, headers=bob.headers)).status_code == 404
        staff = await client.get(url, headers=bearer(service, Role.STAFF))
        assert [one["order_id"] for one in staff.json()["orders"]] == found


async def test_an_account_is_told_on_the_log_without_its_words(service: Service) -> None:
    async with service.client() as client:
        ada = await registered(client, name="Ada Unmistakable")
    async with asyncio.timeout(60):
        while "AccountRegistered" not in (
            found := await told_of(service, "customers", ada.user_id)
        ):
            await asyncio.sleep(0.1)
    assert "Unmistakable" not in str(found)
    assert ada.email not in str(found)


async def test_the_first_admin_is_made_by_command(service: Service, tag: str) -> None:
    async def run(*words: str, password: str = "a long first password") -> tuple[int, str, str]:
        variables = {**service.environment, "TILLSTREAM_PASSWORD": password}
        process = run_cli(
            *("account", *words),
            environment=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, said = await asyncio.to_thread(process.communicate, timeout=60)
        return process.returncode, out.decode(), said.decode()

    email = f"root-{tag}@example.com"
    create = ("create", "--role", "admin", "--email", email)
    code, out, said = await run(*create)
    assert (code, email in said) == (0, True), said
    async with service.client() as client:
        admin = await log_in(client, email, "a long first password")
        assert admin.user_id == out.strip()
        assert (await client.get("/v1/users", headers=admin.headers)).status_code == 200
        code, _, said = await run(*create)
        assert code == 1
        assert "there is an account" in said
        for wrong in ("short", "aaaaaaaaaaaaaaaaa"):
            code, _, said = await run(*create, password=wrong)
            assert code == 1
            assert "password" in said
            assert wrong not in said
        code, out, _ = await run("password", "--email", email, password="a long second password")
        assert (code, out.strip()) == (0, admin.user_id)
        assert (await client.get("/v1/users", headers=admin.headers)).status_code == 401
        await log_in(client, email, "a long second password")
        code, _, said = await run("password", "--email", f"nobody-{tag}@example.com")
        assert (code, "there is no account" in said) == (1, True)


async def test_the_demo_has_somebody_to_log_in_as_at_each_start(service: Service) -> None:
    (email, before), (_, password) = [await _staff_of_demo(service.settings) for _ in range(2)]
    async with service.client() as client:
        old = {"email": email, "password": before}
        assert (await client.post("/v1/auth/login", json=old)).status_code == 401
        somebody = await log_in(client, email, password)
        assert (await client.get("/v1/users", headers=somebody.headers)).status_code == 200
