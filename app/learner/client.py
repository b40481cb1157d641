"""Asking the learner: with a deadline, and with 503 where it is away, never a hang."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import structlog
from fastapi import Response

from app.api.completeness import RETRY
from app.api.problems import Problem
from app.learner.leadership import address_of
from app.settings import Settings
from projections.postgres import connect

logger = structlog.get_logger()

Asked = Mapping[str, str | int | float | None]
Body = Mapping[str, Any]

_PATIENCE_SECONDS = 2.0
_CONNECT_SECONDS = 0.5
_GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_PASSED_ON = ("content-type", "retry-after")

NAME = "x-learner"
"""The header in which a learner says whose it is: an old address may be another's by now."""


class Away(Exception):
    """The learner did not answer, or not what it was asked; the message says why."""


class Told(NamedTuple):
    """An answer of the learner's."""

    status: int
    body: dict[str, Any]


def _given(params: Asked) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value not in (None, "")}


def name_of(settings: Settings, group: str) -> str:
    """Whose learner this is."""
    return f"{settings.schema_name}/{group}"


class _Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class LearnerClient:
    """Knows where the learner of a group answers, and looks again when it does not."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", settings: Settings, group: str
    ) -> None:
        self._pool = pool
        self._group = group
        self._name = name_of(settings, group)
        # Not HTTPX: a question takes it longer than what is asked takes the models. And no proxy is
        # asked, for the learner is a neighbour.
        self._client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._address: str | None = None

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, path: str, params: Asked, wait: float = 0.0, body: Body | None = None
    ) -> Response:
        """The learner's own answer, errors and all. Raises Problem where there is none."""
        try:
            found = await self._ask(path, _given(params), wait, body)
        except Away as away:
            raise Problem(
                503,
                "learner_unavailable",
                "the process that learns does not answer; ask again",
                headers=RETRY,
            ) from away
        headers = {name: found.headers[name] for name in _PASSED_ON if name in found.headers}
        return Response(found.content, found.status, headers)

    async def told(self, path: str, params: Asked, wait: float = 0.0) -> Told:
        """What the learner answers, and with which status. Raises Away."""
        found = await self._ask(path, _given(params), wait)
        body = json.loads(found.content)
        if found.status >= 500:
            raise Away(body["detail"])
        return Told(found.status, body)

    async def health(self) -> dict[str, Any]:
        """What the learner says of itself. Raises Away."""
        found: dict[str, Any] = json.loads((await self._ask("/health", {}, 0.0)).content)
        return found

    async def _ask(
        self, path: str, params: Mapping[str, str], wait: float, body: Body | None = None
    ) -> _Answer:
        known = self._address
        if known is not None:
            try:
                return await self._send(known, path, params, wait, body)
            except (aiohttp.ClientError, Away) as error:
                logger.info("the learner does not answer", address=known, error=repr(error))
                self._address = None
                if isinstance(error, aiohttp.SocketTimeoutError):
                    raise Away(repr(error)) from error  # it is there: twice is no better
        try:
            address = await address_of(self._pool, self._group)
            if address is None:
                raise Away("no learner was ever here")
            answer = await self._send(address, path, params, wait, body)
        except (aiohttp.ClientError, *_GONE) as error:
            raise Away(repr(error)) from error
        self._address = address
        return answer

    async def _send(
        self, address: str, path: str, params: Mapping[str, str], wait: float, body: Body | None
    ) -> _Answer:
        timeout = aiohttp.ClientTimeout(
            sock_connect=_CONNECT_SECONDS, sock_read=_PATIENCE_SECONDS + wait
        )
        method, url = "GET" if body is None else "POST", address + path
        async with self._client.request(
            method, url, params=params, json=body, timeout=timeout
        ) as found:
            answer = _Answer(found.status, found.headers, await found.read())
        if answer.headers.get(NAME) != self._name:
            raise Away(f"somebody else answers at {address}")
        if answer.status >= 500 and not answer.headers.get("content-type", "").endswith("json"):
            # The last word of its server, not of ours.
            raise Away("it went away in the midst of it")
        return answer


async def asked(settings: Settings, group: str, path: str, **params: str | None) -> dict[str, Any]:
    """One question of the command line to the learner of a group. Raises Away."""
    servers = settings.servers
    try:
        async with await connect(servers.postgres, settings.schema_name, size=1) as pool:
            client = LearnerClient(pool, settings, group)
            try:
                answer = await client.ask(path, params)
            finally:
                await client.close()
    except Problem as problem:
        raise Away(problem.detail) from problem
    except _GONE as error:
        raise Away(f"Postgres, which knows where the learner is, fails: {error!r}") from error
    found: dict[str, Any] = json.loads(bytes(answer.body))
    if answer.status_code != 200:
        raise Away(found["detail"])
    return found
