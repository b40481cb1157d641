"""Carrying out a command: states, events and the answer are committed together, or nothing is.

With an Idempotency-Key the answer is kept: the same command under the same key gets it again, and
another one under it is refused. A refused command has changed nothing, and its key stays free.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import msgspec
import orjson

from app.commands.work import Connection, Raced, Work
from app.domain.refusal import Conflict, Invalid, Stale
from app.vault import Vault

KEPT = timedelta(days=7)
"""How long an answer is kept for its Idempotency-Key."""

_TRIES = 5
_AGAIN = (Raced, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Call(NamedTuple):
    """Who asks for what. `digest` is of the whole request: what a retry repeats."""

    shop: str
    actor: str
    correlation_id: str
    digest: bytes
    key: str | None = None
    if_match: int | None = None


class Answer(NamedTuple):
    """What a command is answered with, for good."""

    body: Mapping[str, Any]
    status: int = 200
    version: int | None = None
    location: str | None = None


class Done(NamedTuple):
    """An answer as it is sent: encoded, with the position of the command's last event."""

    body: bytes
    status: int
    version: int | None
    location: str | None
    repeated: bool = False


Handle = Callable[[Work], Awaitable[Answer]]


def digest_of(*parts: bytes) -> bytes:
    """What tells requests apart."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8) + part)
    return found.digest()


def check_version(call: Call, version: int) -> None:
    """Holds a state's version against If-Match. Raises Stale."""
    if call.if_match is not None and call.if_match != version:
        raise Stale("stale", f"it is at version {version}, not {call.if_match}", "If-Match")


class Commands:
    """The command side of one schema."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", vault: Vault) -> None:
        self.pool = pool
        self._vault = vault

    async def run(self, call: Call, now: datetime, handle: Handle) -> Done:
        """Carries out a command, or finds that it was. Raises Refusal, Erased, OSError,
        TimeoutError, PostgresError: after these two it may have been carried out, and under the
        same key it can be sent again."""
        for tried in range(_TRIES):
            try:
                async with self.pool.acquire(timeout=5) as connection, connection.transaction():
                    return await self._once(connection, call, now, handle)
            except _AGAIN:
                if tried == _TRIES - 1:
                    raise Conflict("busy", "others change the same at this moment") from None
        raise AssertionError("unreachable")

    async def _once(
        self, connection: Connection, call: Call, now: datetime, handle: Handle
    ) -> Done:
        if call.key is not None and (before := await _answered(connection, call, now)):
            return before
        work = Work(connection, self._vault, call.shop, now)
        answer = await handle(work)
        outbox_id = await work.save(call.correlation_id)
        body = dict(answer.body)
        if outbox_id is not None:
            body["position"] = f"outbox:{outbox_id}"
        done = Done(orjson.dumps(body, default=str), answer.status, answer.version, answer.location)
        if call.key is not None:
            await connection.execute(
                "UPDATE answers SET status = $4, body = $5, version = $6, location = $7 "
                "WHERE shop = $1 AND actor = $2 AND key = $3",
                *(call.shop, call.actor, call.key),
                *(done.status, done.body, done.version, done.location),
            )
        return done


async def _answered(connection: Connection, call: Call, now: datetime) -> Done | None:
    """The answer under this key, if there is one; else the key is taken. Whoever comes second
    waits here for how the first one ends. Raises Invalid."""
    taken = await connection.fetchval(
        """
        INSERT INTO answers (shop, actor, key, digest, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING true
        """,
        *(call.shop, call.actor, call.key, call.digest, now),
    )
    if taken:
        return None
    row = await connection.fetchrow(
        "SELECT digest, status, body, version, location FROM answers "
        "WHERE shop = $1 AND actor = $2 AND key = $3",
        *(call.shop, call.actor, call.key),
    )
    if row is None:
        raise Raced  # it was forgotten at this moment
    if row["digest"] != call.digest:
        raise Invalid(
            "key_reused", "this key was used for another command before", "Idempotency-Key"
        )
    return Done(row["body"], row["status"], row["version"], row["location"], repeated=True)


async def forget_answers(connection: Connection, now: datetime) -> None:
    """Lets go of answers that nobody will ask for any more."""
    await connection.execute("DELETE FROM answers WHERE created_at < $1", now - KEPT)


def shown(state: msgspec.Struct) -> dict[str, Any]:
    """A state as it is shown: amounts as decimal strings."""
    found: dict[str, Any] = msgspec.to_builtins(state, enc_hook=str, str_keys=True)
    return found
