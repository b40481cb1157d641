"""Carrying out a command: states, events and the answer are committed together, or nothing is.

With an Idempotency-Key the answer is kept: the same command under the same key gets it again, and
another one under it is refused. A refused command has changed nothing, and its key stays free.
Copies that come at the same time wait for the first one, here in the process for each other, in
Postgres for those of other processes; none waits for longer than it would keep others from theirs.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import msgspec
import orjson
import structlog

from app.commands.turns import Turns, Waited
from app.commands.work import Connection, Raced, Work
from app.domain.refusal import Conflict, Invalid, Stale
from app.vault import Vault
from streams.crash_points import reached
from streams.exclusive import Connect, alone
from streams.exclusive import Connection as AloneConnection
from streams.outbox import TooLarge, Waker

logger = structlog.get_logger()

KEPT = timedelta(days=7)
"""How long an answer is kept for its Idempotency-Key."""

LIMITS = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "15s"}
"""Of Postgres, for sessions of commands: none waits for another for ever, not even where the other
stands still with its locks held."""

_TRIES = 5
_AGAIN = (Raced, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TURN_SECONDS = 5.0
_FORGET_SECONDS = 600.0
_FORGOTTEN_AT_ONCE = 10_000


class Call(NamedTuple):
    """Who asks for what. `digest` is of the whole request: what a retry repeats. `actor` is whose
    the key is: what others have under the same one is not theirs to read."""

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
        self._waker = Waker(pool)
        self._turns: Turns[tuple[str, str, str], tuple[bytes, Done]] = Turns()

    async def run(self, call: Call, now: datetime, handle: Handle) -> Done:
        """Carries out a command, or finds that it was. Raises Refusal, Erased, OSError,
        TimeoutError, PostgresError: after these three it may have been carried out, and under the
        same key it can be sent again."""
        if call.key is None:
            return await self._tried(call, now, handle)
        try:
            async with self._turns.turn((call.shop, call.actor, call.key), _TURN_SECONDS) as turn:
                if turn.answer is not None:
                    return _repeated(call, *turn.answer)
                done = await self._tried(call, now, handle)
                turn.answer = call.digest, done
                return done
        except Waited:
            raise Conflict(
                "in_flight", "what came first under this key is not done yet", "Idempotency-Key"
            ) from None

    async def _tried(self, call: Call, now: datetime, handle: Handle) -> Done:
        for _ in range(_TRIES):
            try:
                async with self.pool.acquire(timeout=5) as connection:
                    async with connection.transaction():
                        done = await self._once(connection, call, now, handle)
                        reached("command_saved")
                    reached("command_committed")
            except asyncpg.LockNotAvailableError:
                break
            except _AGAIN:
                continue
            except (TooLarge, asyncpg.ProgramLimitExceededError) as error:
                raise Invalid("too_large", "it would be more than can be kept of one") from error
            self._waker.wake()
            return done
        raise Conflict("busy", "others change the same at this moment")

    async def _once(
        self, connection: Connection, call: Call, now: datetime, handle: Handle
    ) -> Done:
        if call.key is not None and (before := await _answered(connection, call, now)):
            return before
        work = Work(connection, self._vault, call.shop, now)
        answer = await handle(work)
        position = await work.save(call.correlation_id)
        body = dict(answer.body)
        if position is not None:
            body["position"] = str(position)
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
    done = Done(row["body"], row["status"], row["version"], row["location"])
    return _repeated(call, row["digest"], done)


def _repeated(call: Call, digest: bytes, done: Done) -> Done:
    """An answer for who asks again. Raises Invalid where it is something else that they ask."""
    if digest != call.digest:
        raise Invalid(
            "key_reused", "this key was used for another command before", "Idempotency-Key"
        )
    return done._replace(repeated=True)


async def forget_answers(connection: AloneConnection, now: datetime) -> int:
    """Lets go of answers that nobody will ask for any more, a part of them at a time; how many."""
    told = await connection.execute(
        "DELETE FROM answers WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM answers WHERE created_at < $1 ORDER BY created_at LIMIT $2))",
        now - KEPT,
        _FORGOTTEN_AT_ONCE,
    )
    return int(told.split()[-1])


async def keep_forgetting(connect: Connect, every_seconds: float = _FORGET_SECONDS) -> None:
    """Lets go of old answers now and then, for ever, while no other process does."""
    while True:
        try:
            async with alone(connect, "answers") as connection:
                while True:
                    while await forget_answers(connection, datetime.now(UTC)):
                        pass
                    await asyncio.sleep(every_seconds)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            logger.warning("old answers stay for now", error=repr(error))
        await asyncio.sleep(1)


def shown(state: msgspec.Struct) -> dict[str, Any]:
    """A state as it is shown: amounts as decimal strings."""
    found: dict[str, Any] = msgspec.to_builtins(state, enc_hook=str, str_keys=True)
    return found
