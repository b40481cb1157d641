"""How states are read over HTTP: one with its ETag, or some with a cursor."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Query, Request, Response
from msgspec import Struct

from app.api.access import Actor
from app.api.commands import etag, refused
from app.api.completeness import RETRY
from app.api.problems import Problem
from app.commands.execute import Commands
from app.domain.aggregate import Aggregate
from app.domain.refusal import Refusal
from app.queries.states import MOST_LISTED, States, at_one_moment
from projections.postgres import AWAY

S = TypeVar("S", bound=Struct)

Cursor = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00]+$",
        description="`next_cursor` of a page before",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]


@asynccontextmanager
async def reading(request: Request, actor: Actor) -> AsyncIterator[States]:
    """The states of the actor's shop, at one moment. Raises Problem."""
    commands: Commands = request.app.state.commands
    try:
        async with at_one_moment(commands.pool, actor.shop) as states:
            yield states
    except Refusal as refusal:
        raise refused(refusal) from None
    except AWAY as error:
        raise Problem(
            503, "postgres_unavailable", "it cannot be read now", headers=RETRY
        ) from error


async def one(
    states: States,
    kind: Aggregate[S],
    id: str,  # noqa: A002
    as_told: Callable[[S], Mapping[str, Any]],
) -> Response:
    """A state with its ETag. Raises Problem."""
    found = await states.find(kind, id)
    if found is None:
        raise Problem(404, "unknown", f"there is no {id!r} among the {kind.table}")
    return versioned(as_told(found[0]), found[1])


def versioned(body: Mapping[str, Any], version: int) -> Response:
    """What is there, with the ETag that a change of it may name."""
    return Response(
        orjson.dumps(body),
        headers={"ETag": etag(version), "Cache-Control": "no-store"},
        media_type="application/json",
    )


async def page(
    states: States,
    kind: Aggregate[S],
    name: str,
    as_told: Callable[[S], Mapping[str, Any]],
    cursor: str | None,
    limit: int,
) -> Mapping[str, Any]:
    """Some states in the order of their ids, and where to go on."""
    found, more = await states.page(kind, cursor, limit)
    return {name: [as_told(state) for state in found], "next_cursor": more}
