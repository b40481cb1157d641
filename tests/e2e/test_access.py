"""Who reaches what: every route, by every role, over HTTP, websocket and event streams.

The API of these tests is for staff alone where the other tests' is open to everyone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.identity.registrar import registrar
from app.identity.tokens import Actor, Role, Tokens
from app.own_key import own_key
from app.settings import Servers
from projections.postgres import migrate
from streams.topics import create_topics
from tests.conftest import settings_for
from tests.e2e.people import Person, log_in, registered, somebody
from tests.e2e.service import Service, answers, end, environment, free_port, run_cli
from tests.forged import forgeries

READ_KEY, WRITE_KEY, OTHERS_KEY = "a-read-key", "a-write-key", "a-read-key-of-another-shop"
STREAM = {"subscribe": "revenue", "filter": {"dimension": "total", "day": "today"}}
REPORT = {"subscribe": "net", "filter": {"grain": "total"}}


@dataclass
class Closed:
    """An API for staff alone, what it has said, and people to ask it."""

    service: Service
    said: Path
    key: bytes
    staff: Person
    admin: Person
    ada: Person
    bob: Person

    def token(self, role: Role, id: str = "x", shop: str = "main", seconds: int = 600) -> str:  # noqa: A002
        """One made with the key, of nobody who has logged in."""
        lasts = timedelta(seconds=seconds)
        return Tokens(self.key).issue(Actor(role, id, shop), datetime.now(UTC), lasts)

    def everyone(self) -> dict[str, tuple[Role, str]]:
        """Who asks: the role that they have here, and what they show. None of them owns anything
        of Ada's."""
        return {
            "nobody": (Role.ANYONE, ""),
            "guest": (Role.GUEST, self.token(Role.GUEST, "another-cart")),
            "customer": (Role.CUSTOMER, self.bob.access),
            "staff": (Role.STAFF, self.staff.access),
            "admin": (Role.ADMIN, self.admin.access),
            "read key": (Role.READER, READ_KEY),
            "write key": (Role.WRITER, WRITE_KEY),
        }

    def strangers(self) -> dict[str, str]:
        """Who is nobody here, whatever they are elsewhere."""
        return {
            "staff of another shop": self.token(Role.ADMIN, "x", "other"),
            "somebody of yesterday": self.token(Role.ADMIN, "x", seconds=-1),
            "a key of nobody": "no-key",
            "signed by another": Tokens(b"x" * 32).issue(
                Actor(Role.ADMIN, "x", "main"), datetime.now(UTC)
            ),
        }


@pytest.fixture(scope="module")
async def closed(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Closed]:
    home = tmp_path_factory.mktemp("closed")
    settings = settings_for(servers, home)
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    port = free_port()
    variables = {
        **environment(settings),
        "TILLSTREAM_FIGURES": "staff",
        "TILLSTREAM_READ_KEYS": f"{READ_KEY}:main,{OTHERS_KEY}:other",
        "TILLSTREAM_WRITE_KEYS": f"{WRITE_KEY}:main",
        "TILLSTREAM_LOGINS_PER_ACCOUNT": "5",
    }
    said = home / "said"
    with said.open("wb") as file:
        api = run_cli("api", "--port", str(port), environment=variables, stderr=file)
    service = Service(settings, f"http://127.0.0.1:{port}", variables, api)
    try:
        service.start_worker()
        await answers(service.api, api)
        await service.reads()
        people = []
        async with registrar(settings) as accounts, asking(service) as client:
            for role in ("staff", "admin"):
                new = somebody()
                await accounts.create("main", new["email"], new["password"], role)
                people.append(await log_in(client, new["email"]))
            ada, bob = await registered(client), await registered(client)
        key = own_key(None, home / "token.key")
        yield Closed(service, said, key, people[0], people[1], ada, bob)
    finally:
        for process in (*service.workers, api):
            end(process)


def asking(service: Service, told: str = "") -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {told}"} if told else {}
    return httpx2.AsyncClient(base_url=service.api, headers=headers, timeout=30)


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    roles: frozenset[str]
    example: Any

    def url(self, **ids: str) -> str:
        """Its path with these ids in it, and such that nobody has for the others."""
        return self.path.format_map(_Ids(ids))


class _Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "revenue" if name == "metric" else "nobody-has-this"


def operations(api: Mapping[str, Any]) -> Iterator[Operation]:
    """All that can be asked, with a body that can be said."""
    schemas = api["components"]["schemas"]
    for path, methods in api["paths"].items():
        for method, told in methods.items():
            body = told.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = body.get("schema", {})
            for one in (schema, *schema.get("anyOf", ())):
                schema = schema | schemas.get(one.get("$ref", "").rpartition("/")[2], {})
            example = body.get("example", schema.get("example"))
            yield Operation(method.upper(), path, frozenset(told["x-access"]), example)


async def documented(service: Service) -> list[Operation]:
    async with asking(service) as client:
        return list(operations((await client.get("/openapi.json")).json()))


async def status_of(client: httpx2.AsyncClient, asked: Operation, url: str, body: Any) -> int:
    """How it is answered; of an endless answer only the beginning is waited for."""
    async with client.stream(asked.method, url, json=body) as answer:
        return answer.status_code


async def test_every_route_is_for_the_roles_that_it_names_and_for_no_other(closed: Closed) -> None:
    wrong = []
    for name, (role, told) in closed.everyone().items():
        async with asking(closed.service, told) as client:
            for asked in await documented(closed.service):
                if asked.path.startswith("/v1/auth/"):
                    continue  # whoever asks there says in the body who they are
                status = await status_of(client, asked, asked.url(), {})
                allowed = role in asked.roles or Role.ANYONE in asked.roles
                if (status in (401, 403)) == allowed:
                    wrong.append(f"{name}: {asked.method} {asked.path} is answered {status}")
    assert not wrong, "\n".join(wrong)


async def test_whoever_is_somebody_elsewhere_is_nobody_here(closed: Closed) -> None:
    wrong = []
    for name, told in closed.strangers().items():
        async with asking(closed.service, told) as client:
            for asked in await documented(closed.service):
                public = asked.roles == {Role.ANYONE}  # nobody is looked at
                status = await status_of(client, asked, asked.url(), {})
                if not public and status != 401:
                    wrong.append(f"{name}: {asked.method} {asked.path} is answered {status}")
    assert not wrong, "\n".join(wrong)


async def test_a_key_of_another_shop_reads_that_shop_alone(closed: Closed) -> None:
    async with asking(closed.service, OTHERS_KEY) as client:
        for path in ("/v1/sales/revenue", "/v1/live/revenue", "/v1/forecasts/scores"):
            assert (await client.get(path)).status_code == 403
            assert (await client.get(path, params={"shop": "main"})).status_code == 403
        answer = await client.get("/v1/sales/revenue", params={"shop": "other"})
        assert (answer.status_code, answer.json()["shop"]) == (200, "other")
        assert (await client.get("/v1/quarantine", params={"shop": "main"})).status_code == 403
        assert (await client.get("/v1/quarantine")).status_code == 200


async def adas_things(closed: Closed, tag: str) -> dict[str, str]:
    """Her ids: an address, a cart with something in it, an order."""
    variant = f"mug-{tag}"
    product = {
        "product_id": variant,
        "name": "Mug",
        "currency": "EUR",
        "variants": [{"id": variant, "price": "9.90", "stock": 50}],
    }
    address = {"name": "Ada", "lines": ["Rua da Prata 80"], "city": "Lisboa", "country": "PT"}
    order = {
        "lines": [{"variant": variant, "quantity": 1}],
        "payment_method": "cash_on_delivery",
        "shipping_address": address,
    }
    async with asking(closed.service, closed.staff.access) as client:
        assert (await client.post("/v1/products", json=product)).status_code == 201
    async with asking(closed.service, closed.ada.access) as client:
        found = [
            await client.post("/v1/users/me/addresses", json=address),
            await client.post("/v1/carts", json={}),
            await client.post("/v1/orders", json=order),
        ]
        assert [answer.is_success for answer in found] == [True] * 3, [a.text for a in found]
        cart_id = found[1].json()["cart_id"]
        line = await client.post(
            f"/v1/carts/{cart_id}/lines", json={"variant": variant, "quantity": 1}
        )
        assert line.is_success, line.text
    return {
        "user_id": closed.ada.user_id,
        "address_id": found[0].json()["addresses"][0]["address_id"],
        "cart_id": cart_id,
        "order_id": found[2].json()["order_id"],
        "variant": variant,
    }


OWNED = ("user_id", "cart_id", "order_id")


async def test_what_is_somebodys_own_nobody_else_sees_or_changes(closed: Closed, tag: str) -> None:
    ids = await adas_things(closed, tag)

    async def hers() -> list[Any]:
        async with asking(closed.service, closed.ada.access) as client:
            paths = ("users/me", f"carts/{ids['cart_id']}", f"orders/{ids['order_id']}")
            found = [await client.get(f"/v1/{path}") for path in paths]
        assert [answer.status_code for answer in found] == [200] * 3
        return [(answer.json(), answer.headers["ETag"]) for answer in found]

    before, wrong, asked_for = await hers(), [], 0
    others = {
        name: told
        for name, (role, told) in closed.everyone().items()
        if role not in (Role.STAFF, Role.ADMIN)
    }
    for name, told in (others | closed.strangers()).items():
        async with asking(closed.service, told) as client:
            for asked in await documented(closed.service):
                if not any(f"{{{name}}}" in asked.path for name in OWNED):
                    continue
                asked_for += 1
                answer = await client.request(asked.method, asked.url(**ids), json=asked.example)
                # A read key sees what the figures are made of, and nobody's name.
                seen = answer.status_code == 200 and not (
                    name == "read key" and asked.path.startswith("/v1/orders/{")
                )
                if seen or answer.status_code not in (200, 401, 403, 404):
                    wrong.append(f"{name}: {asked.method} {asked.path}: {answer.status_code}")
                for personal in (closed.ada.email, "Rua da Prata"):
                    assert personal not in answer.text, f"{name}: {asked.path}"
    assert asked_for > 100
    assert not wrong, "\n".join(wrong)
    assert await hers() == before


async def test_no_forgery_is_taken_over_http(closed: Closed) -> None:
    found = forgeries(datetime.now(UTC), closed.key)
    assert len(found) >= 40
    async with asking(closed.service) as client:
        for kind, token in found.items():
            if not token.isascii() or "\n" in token:
                continue  # no header can say it
            for path in ("/v1/users", "/v1/sales/revenue"):
                answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code in (401, 431), f"{kind}: {answer.status_code}"


# Live feeds.


def feed(closed: Closed, **options: Any) -> connect:
    return connect(closed.service.api.replace("http", "ws") + "/v1/live", **options)


async def kind_of(socket: ClientConnection) -> str:
    async with asyncio.timeout(30):
        return str(json.loads(await socket.recv())["type"])


async def closes(socket: ClientConnection) -> int | None:
    """With which code, whatever is still said before."""
    async with asyncio.timeout(60):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code


async def test_no_forgery_is_taken_by_a_websocket(closed: Closed) -> None:
    for kind, token in forgeries(datetime.now(UTC), closed.key).items():
        if token.isascii() and "\n" not in token and len(token) < 4000:
            headers = {"Authorization": f"Bearer {token}"}
            with pytest.raises(InvalidStatus) as refused:
                async with feed(closed, additional_headers=headers):
                    pytest.fail(kind)
            assert refused.value.response.status_code == 401, kind
        if len(token) > 60_000:
            continue  # no frame is so large
        async with feed(closed) as socket:
            await socket.send(json.dumps({"token": token}))
            assert await kind_of(socket) == "error", kind
            await socket.send(json.dumps(STREAM))
            assert await kind_of(socket) == "error", kind


@pytest.mark.parametrize("stream", [STREAM, REPORT], ids=["pushed", "asked"])
async def test_a_feed_is_for_those_whom_figures_are_for(
    closed: Closed, stream: Mapping[str, Any]
) -> None:
    for name, (role, told) in closed.everyone().items():
        allowed = role in (Role.STAFF, Role.ADMIN, Role.READER)
        async with feed(closed) as socket:  # in its first frame
            if told:
                await socket.send(json.dumps({"token": told}))
            await socket.send(json.dumps(stream))
            assert await kind_of(socket) == ("snapshot" if allowed else "error"), name
        if not told:
            continue
        for options in (
            {"additional_headers": {"Authorization": f"Bearer {told}"}},
            {"subprotocols": ["tillstream", f"bearer.{told}"]},
        ):
            if not allowed:
                with pytest.raises(InvalidStatus) as refused:
                    async with feed(closed, **options):
                        pytest.fail(name)
                assert refused.value.response.status_code == 403
                continue
            async with feed(closed, **options) as socket:
                assert socket.subprotocol in (None, "tillstream")
                await socket.send(json.dumps(stream))
                assert await kind_of(socket) == "snapshot", name
                await socket.send(json.dumps({**stream, "shop": "other"}))
                assert await kind_of(socket) == "error", name


async def test_a_feed_ends_with_the_token_and_with_the_session(closed: Closed) -> None:
    async with asking(closed.service) as client:
        new = somebody()
        async with registrar(closed.service.settings) as accounts:
            await accounts.create("main", new["email"], new["password"], "staff")
        sam = await log_in(client, new["email"])
        headers = {"Authorization": f"Bearer {closed.token(Role.STAFF, seconds=10)}"}
        async with (
            feed(closed, additional_headers=headers) as expiring,
            feed(closed, additional_headers=sam.headers) as revoked,
            client.stream("GET", "/v1/live/revenue", headers=headers) as events,
        ):
            assert events.status_code == 200
            for socket in (expiring, revoked):
                await socket.send(json.dumps(STREAM))
                assert await kind_of(socket) == "snapshot"
            assert await closes(expiring) == 1008
            async with asyncio.timeout(30):
                assert b"snapshot" in await events.aread()  # it has come to its end
            out = await client.post("/v1/auth/logout", json={"refresh_token": sam.refresh})
            assert out.status_code == 204
            assert await closes(revoked) == 1008
        assert (await client.get("/v1/users/me", headers=sam.headers)).status_code == 401


async def test_a_later_token_extends_a_feed(closed: Closed) -> None:
    short = closed.token(Role.STAFF, seconds=8)
    async with feed(closed, additional_headers={"Authorization": f"Bearer {short}"}) as socket:
        await socket.send(json.dumps({"token": closed.staff.access}))
        await socket.send(json.dumps(STREAM))
        assert await kind_of(socket) == "snapshot"
        # Beats come every five seconds: after three of them the first token is long over.
        assert [await kind_of(socket) for _ in range(3)] == ["beat"] * 3


async def test_who_says_nothing_is_not_kept(closed: Closed) -> None:
    async with feed(closed) as socket:
        assert await closes(socket) == 1008


# What is lost with a role, and what is never said.


async def test_a_role_that_is_lost_is_lost_at_once(closed: Closed) -> None:
    async with (
        asking(closed.service, closed.admin.access) as admin,
        asking(closed.service) as client,
    ):
        new = somebody(role="staff")
        answer = await admin.post("/v1/users", json=new)
        assert answer.status_code == 201, answer.text
        sam = await log_in(client, new["email"])
        assert (await client.get("/v1/users", headers=sam.headers)).status_code == 200
        url = f"/v1/users/{sam.user_id}/role"
        assert (await admin.put(url, json={"role": "customer"})).status_code == 200
        assert (await client.get("/v1/users", headers=sam.headers)).status_code == 401
        again = await client.post("/v1/auth/refresh", json={"refresh_token": sam.refresh})
        assert again.status_code == 401
        sam = await log_in(client, new["email"])
        assert (await client.get("/v1/users", headers=sam.headers)).status_code == 403


async def test_no_secret_is_in_a_log_an_error_an_event_or_a_kept_answer(
    closed: Closed, tag: str
) -> None:
    canary = f"canary-{tag}-of a password"
    other = f"another-{tag}-of a password"
    secrets, answered = [canary, other], []
    async with asking(closed.service) as client:
        new = somebody(password=canary)
        key = {"Idempotency-Key": str(uuid4())}
        answered.append(await client.post("/v1/auth/register", json=new, headers=key))
        answered.append(await client.post("/v1/auth/register", json=new))  # taken
        answered.append(await client.post("/v1/auth/register", json={**new, "x": canary}))
        answered.append(await client.post("/v1/auth/login", json={**new}))  # unknown fields
        answered.append(await client.post("/v1/auth/login", content=canary))
        wrong = {"email": new["email"], "password": other}
        answered.append(await client.post("/v1/auth/login", json=wrong))
        person = await log_in(client, new["email"], canary)
        secrets += [person.access, person.refresh]
        change = {"password": canary, "new_password": other}
        answered.append(
            await client.put("/v1/auth/password", json=change, headers=person.headers | key)
        )
        again = await client.put("/v1/auth/password", json=change, headers=person.headers | key)
        assert (again.status_code, again.content) == (200, answered[-1].content)
        answered.append(await client.get(f"/v1/users/{person.access}", headers=person.headers))
        refresh = {"refresh_token": person.refresh}
        follower = (await client.post("/v1/auth/refresh", json=refresh)).json()["refresh_token"]
        secrets.append(follower)
    statuses = [answer.status_code for answer in answered]
    assert statuses == [201, 409, 422, 422, 415, 401, 200, 422]
    for answer in answered:
        assert not [secret for secret in secrets if secret in answer.text]
    said = closed.said.read_text()
    assert not [secret for secret in secrets if secret in said]
    async with registrar(closed.service.settings) as accounts:
        pool = accounts._commands.pool
        for table in ("outbox", "accounts", "answers", "sessions", "refresh_tokens", "attempts"):
            rows = str([dict(row) for row in await pool.fetch(f"SELECT * FROM {table}")])
            assert rows != "[]", table
            assert not [secret for secret in secrets if secret in rows], table
        hashed = await pool.fetchval(
            "SELECT hash FROM credentials WHERE user_id = $1", person.user_id
        )
        assert hashed.startswith("$argon2id$")
        outbox = str(await pool.fetch("SELECT event FROM outbox"))
        assert "AccountRegistered" in outbox
        assert person.email not in outbox, "an address stands in an event as it is"


async def test_failed_log_ins_are_few_and_nobody_is_told_whom_there_is(closed: Closed) -> None:
    async with asking(closed.service) as client:
        ada = await registered(client)
        refused = []
        for email in (ada.email, "nobody@example.com"):
            wrong = {"email": email, "password": "a wrong password"}
            found = [await client.post("/v1/auth/login", json=wrong) for _ in range(7)]
            assert [answer.status_code for answer in found] == [401] * 5 + [429] * 2
            assert 0 < int(found[-1].headers["Retry-After"]) <= 900
            refused.append(found[0].json())
        assert refused[0] == refused[1]
        right = {"email": ada.email.upper(), "password": "a good long password"}
        assert (await client.post("/v1/auth/login", json=right)).status_code == 429
        # Whoever is in stays in.
        assert (await client.get("/v1/users/me", headers=ada.headers)).status_code == 200
