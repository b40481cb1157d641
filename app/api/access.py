"""Who asks, and what they may: every route names the roles that it is for, its rule.

A token says who somebody is and what they may do, signed with a key that every API process of a
shop shares. A guest's token is for one cart. Keys are for programs: a write key sends events to its
shop, a read key reads its figures. What is the actor's own is checked where it is known whose it
is: in the command, or the query.
"""

import base64
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.requests import HTTPConnection

from app.api.completeness import RETRY
from app.api.problems import Problem
from app.identity.sessions import Sessions
from app.identity.tokens import Actor, NoToken, Role, Tokens
from app.settings import Settings
from projections.postgres import AWAY

__all__ = ["ADMIN", "ANYONE", "CUSTOMER", "SHOPPER", "STAFF", "Actor", "Allow", "Role", "Tokens"]

Shop = Annotated[str, Query(max_length=128, pattern=r"^[^\x00]*$", description="which shop")]


def unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": f'Bearer error="{code}"'})


class Allow:
    """The rule of a route: which roles it is for. As a dependency it gives the actor.

    `figures`: it is for anyone where the settings leave figures open. `keys_shop`: the route asks
    the actor for the shop, so that a key need not name its own. Figures are also those of the shops
    that one's own imports have made; the actor's shop is then the one that is asked for.
    """

    def __init__(self, *roles: Role, figures: bool = False, keys_shop: bool = False) -> None:
        self._roles = frozenset(roles)
        self._figures = figures
        self._keys_shop = keys_shop
        self._of_imports = figures and not keys_shop

    def roles(self, settings: Settings) -> frozenset[Role]:
        """Whom it is for, as things are set."""
        opened = self._figures and settings.figures in (None, "open")
        return self._roles | {Role.ANYONE} if opened else self._roles

    async def __call__(self, connection: HTTPConnection, shop: Shop = "main") -> Actor:
        """Raises Problem."""
        return await self.admit(connection, credential(connection), shop)

    async def admit(self, connection: HTTPConnection, told: str, shop: str) -> Actor:
        """Who has shown this token or key; nothing is anyone. Raises Problem."""
        roles = self.roles(connection.app.state.settings)
        if not told:
            if Role.ANYONE in roles:
                return Actor(Role.ANYONE, "", shop)
            raise unauthorized("token", "log in, and send `Authorization: Bearer TOKEN`")
        parent = shop.rpartition(".")[0] if self._of_imports else ""
        actor = await _identified(connection, told, (shop, parent), roles)
        named = "shop" in connection.query_params or not self._keys_shop
        elsewhere = named and not within(shop, actor.shop, self._of_imports)
        if actor.role in roles and not elsewhere:
            return actor._replace(shop=shop) if self._of_imports else actor
        if Role.ANYONE in roles:
            return Actor(Role.ANYONE, "", shop)
        if elsewhere:
            raise Problem(403, "shop", f"this key belongs to {actor.shop!r} alone")
        raise Problem(403, "role", f"this is for {', '.join(sorted(roles))} alone")


def within(shop: str, own: str, of_imports: bool) -> bool:
    """Whether a shop is one's own, or one that an import of one's own has made: `main.some-sheet`
    is of `main`."""
    return shop == own or (of_imports and shop.rpartition(".")[0] == own)


class Public(Allow):
    """For everyone, whatever they send: nobody is looked at."""

    def __init__(self) -> None:
        super().__init__(Role.ANYONE)

    async def __call__(self) -> Actor:  # type: ignore[override]
        return Actor(Role.ANYONE, "", "")


class Keyed(Allow):
    """For a key that the route itself holds against those it knows, with the shop it is for."""

    async def __call__(self) -> Actor:  # type: ignore[override]
        return Actor(Role.ANYONE, "", "")


PUBLIC = Public()
ANYONE = Allow(Role.ANYONE, Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN)
VISITORS = Allow(
    *(Role.ANYONE, Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN),
    Role.WRITER,
)
"""For anyone, but a storefront that shows its key may have the log told of it."""
STAFF = Allow(Role.STAFF, Role.ADMIN)
ADMIN = Allow(Role.ADMIN)
CUSTOMER = Allow(Role.CUSTOMER, Role.STAFF, Role.ADMIN)
SHOPPER = Allow(Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN)
FIGURES = Allow(Role.STAFF, Role.ADMIN, Role.READER, figures=True)
ORDERS = Allow(Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN, Role.READER, figures=True)
"""An order: whose it is, staff; where figures are open, anyone sees what the figures are made of.
The query decides which, by the actor's role."""
CUSTOMER_FIGURES = Allow(Role.CUSTOMER, Role.STAFF, Role.ADMIN, Role.READER, figures=True)
"""One customer's figures: a customer sees their own alone, which the route decides."""
OPERATIONS = Allow(Role.STAFF, Role.ADMIN, Role.READER, figures=True, keys_shop=True)
"""How the whole does: it is of no shop."""
BACK_OFFICE = Allow(Role.STAFF, Role.ADMIN, Role.READER, keys_shop=True)
IMPORTERS = Allow(Role.STAFF, Role.ADMIN, Role.WRITER, keys_shop=True)
"""Who may bring a table of sales: it becomes events, as those that a write key sends."""
STOREFRONTS = Allow(Role.STAFF, Role.ADMIN, Role.WRITER, keys_shop=True)
"""Who asks what a visitor is to see: to ask tells the log that they have seen it."""
WRITERS = Keyed(Role.WRITER)
SIGNED = Public()
"""For whoever signs what they send: the route holds the signature against its secret."""


def credential(connection: HTTPConnection) -> str:
    """The token or key of a request: as Bearer, or as Basic's user. Empty where there is none."""
    scheme, _, told = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(told).decode().partition(":")[0]
        except ValueError:
            return "?"  # something was shown, and it is nothing
    return told.strip() if scheme.lower() == "bearer" else ""


async def _identified(
    connection: HTTPConnection, told: str, shops: tuple[str, str], roles: Collection[Role]
) -> Actor:
    """Who shows this, in a shop or in the one that it belongs to. Raises Problem."""
    settings: Settings = connection.app.state.settings
    held = [
        Actor(role, "", keys[told])
        for role, keys in ((Role.READER, settings.read_keys), (Role.WRITER, settings.write_keys))
        if told in keys
    ]
    if held:
        return next((one for one in held if one.role in roles), held[0])
    tokens: Tokens = connection.app.state.tokens
    try:
        actor = _read(tokens, told, *shops)
    except NoToken:
        raise _no_more() from None
    if not await holds(connection, actor):
        raise _no_more()
    return actor


def _read(tokens: Tokens, told: str, shop: str, parent: str) -> Actor:
    try:
        return tokens.read(told, shop)
    except NoToken:
        if not parent:
            raise
        return tokens.read(told, parent)


async def holds(connection: HTTPConnection, actor: Actor) -> bool:
    """Whether who was let in is still to be: their token is not over, nor is their session. Raises
    Problem."""
    now = datetime.now(UTC)
    if actor.expires is not None and actor.expires <= now:
        return False
    if actor.session is None:
        return True
    sessions: Sessions = connection.app.state.sessions
    try:
        return await sessions.holds(actor.session, now)
    except AWAY as error:
        detail = "whether this session goes on is not known now"
        raise Problem(503, "postgres_unavailable", detail, headers=RETRY) from error


def _no_more() -> Problem:
    return unauthorized("invalid_token", "this token is not valid here, or no more")


# What the documentation says of it.


def rules(app: FastAPI) -> Iterator[tuple[RouteContext, Allow | None]]:
    """Every route with its rule, which is a dependency of it or of its router."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)  # what is mounted has none
        calls = _calls(dependant) if dependant is not None else iter(())
        yield route, next((call for call in calls if isinstance(call, Allow)), None)


def _calls(dependant: Dependant) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


_KEY = {"type": "http", "scheme": "bearer"}


def describe(app: FastAPI, settings: Settings) -> None:
    """Tells the documentation of each route whom it is for, and how they show who they are."""
    schema = app.openapi()
    schema.setdefault("components", {})["securitySchemes"] = {
        "token": {**_KEY, "bearerFormat": "JWT", "description": "from `POST /v1/auth/login`"},
        "readKey": {**_KEY, "description": "a read key"},
        "writeKey": {**_KEY, "description": "a write key"},
    }
    for route, rule in rules(app):
        operations = schema["paths"].get(route.path_format, {})
        for method in route.methods or ():
            if rule is not None and (operation := operations.get(method.lower())):
                roles = rule.roles(settings)
                operation["x-access"] = [role.value for role in Role if role in roles]
                operation["security"] = _security(roles)


def _security(roles: Collection[Role]) -> list[dict[str, list[str]]]:
    schemes = {Role.READER: "readKey", Role.WRITER: "writeKey", Role.ANYONE: ""}
    needed = dict.fromkeys(schemes.get(role, "token") for role in Role if role in roles)
    return [{name: []} if name else {} for name in needed]
