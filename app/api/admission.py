"""Who listens to a live feed, for as long as they may.

Where figures are open that is anyone. Else a socket shows a token or a read key: in the
Authorization header, as a subprotocol beside `tillstream` (`bearer.…`: browsers send no header),
or in its first frame; never in the URL, which is in everyone's logs. A later token extends it.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import WebSocket
from msgspec import Struct
from starlette.requests import HTTPConnection

from app.api import access
from app.api.access import Actor, Role, Shop, holds
from app.api.problems import Problem
from streams.codec import UNREADABLE, Refused

SUBPROTOCOL = "tillstream"
_BEARER = "bearer."
_FIRST_SECONDS = 10.0  # in which a socket that showed nothing says who it is
_LOOK_SECONDS = 3.0  # between looks whether a session goes on


class Shown(Struct, frozen=True, forbid_unknown_fields=True):
    """A frame that says who listens."""

    token: str
    shop: str = "main"


_shown = msgspec.json.Decoder(Shown)


class Listening(access.Allow):
    """The rule of a socket: as for figures; but who they are they may still say in a frame."""

    async def __call__(  # type: ignore[override]
        self, connection: HTTPConnection, shop: Shop = "main"
    ) -> Actor | None:
        """None is nobody yet. Raises Problem."""
        told = access.credential(connection) or _of_subprotocol(connection)
        if not told and Role.ANYONE not in self.roles(connection.app.state.settings):
            return None
        return await self.admit(connection, told, shop)


LISTENERS = Listening(Role.STAFF, Role.ADMIN, Role.READER, figures=True)


def _of_subprotocol(connection: HTTPConnection) -> str:
    offered = connection.headers.get("sec-websocket-protocol", "")
    names = [name.strip() for name in offered.split(",")]
    return next((n.removeprefix(_BEARER) for n in names if n.startswith(_BEARER)), "")


def subprotocol_of(socket: WebSocket) -> str | None:
    """What is answered to what was offered: a token is not repeated."""
    return SUBPROTOCOL if SUBPROTOCOL in socket.scope.get("subprotocols", ()) else None


class Admission:
    """Who is let in to one feed, and until when."""

    def __init__(self, connection: HTTPConnection, actor: Actor | None) -> None:
        self._connection = connection
        self._actor = actor
        self._changed = asyncio.Event()
        self.over = False

    def check(self, shop: str) -> None:
        """Whether a shop's figures are for whom was let in. Raises Refused."""
        if self._actor is None:
            raise Refused("token", 'say first who you are: {"token": "…"}')
        own = access.within(shop, self._actor.shop, of_imports=True)
        if self._actor.role is not Role.ANYONE and not own:
            raise Refused("shop", f"you were let in to {self._actor.shop!r} alone")

    async def show(self, frame: str | bytes) -> bool:
        """Whether a frame was to say who listens, and said so. Raises Refused."""
        if b'"token"' not in (frame if isinstance(frame, bytes) else frame.encode()):
            return False
        try:
            shown = _shown.decode(frame)
        except UNREADABLE:
            return False
        try:
            self._actor = await LISTENERS.admit(self._connection, shown.token, shown.shop)
        except Problem as problem:
            raise Refused("token", problem.detail) from None
        self._changed.set()
        return True

    def while_let_in(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """What a feed does until it ends by itself, or is to end."""
        if self._actor is not None and self._actor.role is Role.ANYONE:
            return work  # of thousands of these none is ever looked at again
        return _either(work, self._ended())

    async def _ended(self) -> None:
        """Returns once whoever was let in is to listen no more, or nobody has said who they are."""
        begun = datetime.now(UTC)
        while True:
            wait = await self._left(begun)
            if wait is not None and wait <= 0:
                self.over = True
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    async def _left(self, begun: datetime) -> float | None:
        """Seconds until it is looked at again, zero where it is over; None for a key's feed."""
        now = datetime.now(UTC)
        actor = self._actor
        if actor is None:
            return _FIRST_SECONDS - (now - begun).total_seconds()
        if actor.expires is None:
            return None
        try:
            if not await holds(self._connection, actor):
                return 0
        except Problem:
            pass  # Postgres is away: the token's own end still holds
        return min(_LOOK_SECONDS, (actor.expires - now).total_seconds())


async def _either(*works: Awaitable[Any]) -> None:
    """Until the first of them is done; what it raises is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
