"""How states are read over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import Path, Request, Response

from app.api.commands import etag
from app.api.completeness import RETRY
from app.api.problems import Problem
from projections.read_model import Transaction

NO_NUL = r"^[^\x00]*$"
Word = Annotated[str, Path(max_length=128, pattern=r"^[^\x00/]+$")]


@asynccontextmanager
async def reading(request: Request) -> AsyncIterator[Transaction]:
    """A connection for one answer. Raises Problem where Postgres is away."""
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    try:
        async with pool.acquire(timeout=5) as connection:
            yield connection
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError) as e:
        raise Problem(503, "postgres_unavailable", "nothing can be read now", headers=RETRY) from e


def answered(body: Any, version: int) -> Response:
    """One state, with its ETag."""
    headers = {"ETag": etag(version), "Cache-Control": "no-cache"}
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def unknown(what: str) -> Problem:
    return Problem(404, "unknown", f"there is no {what}")
