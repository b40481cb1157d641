"""Asking the learner: with a deadline, and with 503 where it is away, never a hang."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg
import httpx2
import structlog
from fastapi import Response

from app.api.completeness import RETRY
from app.api.problems import Problem
from app.learner.leadership import address_of
from app.settings import Settings
from app.subscriptions import LEARNERS
from projections.postgres import connect

logger = structlog.get_logger()

Asked = Mapping[str, str | int | float | None]

_PATIENCE_SECONDS = 2.0
_CONNECT_SECONDS = 0.5
_GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_PASSED_ON = ("content-type", "retry-after")

NAME = "x-learner"
"""The header in which a learner says whose it is: an old address may be another's by now."""


class Away(Exception):
    """The learner did not answer, or not what it was asked; the message says why."""


def name_of(settings: Settings) -> str:
    """Whose learner this is."""
    return f"{settings.schema_name}/{LEARNERS}"


class LearnerClient:
    """Knows where the learner answers, and looks again when it does not."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", name: str) -> None:
        self._pool = pool
        self._name = name
        # The learner is a neighbour: a proxy that leads out of the house would not find it.
        self._client = httpx2.AsyncClient(trust_env=False)
        self._address: str | None = None

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, path: str, params: Asked, wait: float = 0.0) -> Response:
        """The learner's own answer, errors and all. Raises Problem where there is none."""
        given = {name: value for name, value in params.items() if value not in (None, "")}
        try:
            found = await self._ask(path, given, wait)
        except Away as away:
            raise Problem(
                503,
                "learner_unavailable",
                "the process that learns does not answer; ask again",
                headers=RETRY,
            ) from away
        headers = {name: found.headers[name] for name in _PASSED_ON if name in found.headers}
        return Response(found.content, found.status_code, headers)

    async def health(self) -> dict[str, Any]:
        """What the learner says of itself. Raises Away."""
        found: dict[str, Any] = json.loads((await self._ask("/health", {}, 0.0)).content)
        return found

    async def _ask(self, path: str, params: Asked, wait: float) -> httpx2.Response:
        known = self._address
        if known is not None:
            try:
                return await self._get(known, path, params, wait)
            except (httpx2.TransportError, Away) as error:
                logger.info("the learner does not answer", address=known, error=repr(error))
                self._address = None
                if isinstance(error, httpx2.ReadTimeout):
                    raise Away(repr(error)) from error  # it is there: twice is no better
        try:
            address = await address_of(self._pool, LEARNERS)
            if address is None:
                raise Away("no learner was ever here")
            answer = await self._get(address, path, params, wait)
        except (httpx2.TransportError, *_GONE) as error:
            raise Away(repr(error)) from error
        self._address = address
        return answer

    async def _get(self, address: str, path: str, params: Asked, wait: float) -> httpx2.Response:
        timeout = httpx2.Timeout(_PATIENCE_SECONDS + wait, connect=_CONNECT_SECONDS)
        answer = await self._client.get(address + path, params=dict(params), timeout=timeout)
        if answer.headers.get(NAME) != self._name:
            raise Away(f"somebody else answers at {address}")
        if answer.is_server_error and not answer.headers.get("content-type", "").endswith("json"):
            raise Away(
                "it went away in the midst of it"
            )  # the last word of its server, not of ours
        return answer


async def asked(settings: Settings, path: str, **params: str | None) -> dict[str, Any]:
    """One question of the command line. Raises Away."""
    servers = settings.servers
    try:
        async with await connect(servers.postgres, settings.schema_name, size=1) as pool:
            client = LearnerClient(pool, name_of(settings))
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
