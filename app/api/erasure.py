"""`DELETE /v1/customers/{id}/data`: a person is erased; and what came of it."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Path, Request, Response

from app.api import access
from app.api.access import Actor
from app.api.commands import Change, carried_out
from app.api.customers import ME, CustomerId
from app.api.jobs import away
from app.api.problems import Problem, known_parameters
from app.commands.execute import Answer, Call
from app.commands.work import Work
from app.domain.account import By
from app.erasure.erase import Known, check_may_erase, erase, find
from app.erasure.names import ErasedNames
from app.identity.sessions import Sessions
from app.jobs.runner import Runner
from projections.postgres import AWAY

router = APIRouter(tags=["customers"], dependencies=[Depends(known_parameters)])

Someone = Annotated[Actor, Depends(access.CUSTOMER)]


@router.delete(
    "/v1/customers/{customer_id}/data",
    operation_id="customers_erase",
    status_code=202,
    responses={202: {"description": "They are erased. `Location` says when models forgot, too"}},
)
async def customers_erase(
    request: Request, actor: Someone, customer_id: CustomerId, sent: Change
) -> Response:
    """Erases a person: out of accounts, carts, orders, reviews and all that is kept for them, and
    out of every figure that names them; what was sealed on the log is unreadable. Sums stay as they
    are. It takes a fresh log-in of their own, or an admin. Models are then made anew without them.
    """
    person = actor.id if customer_id == ME else customer_id
    fresh = await _fresh(request, actor)

    async def handle(work: Work, _: Call) -> Answer:
        check_may_erase(By(actor.role.value, actor.id), person, fresh)
        return await erase(work, person)

    answer = await carried_out(request, actor, sent, handle)
    names: ErasedNames = request.app.state.erased
    runner: Runner = request.app.state.jobs
    try:
        await names.look()
    except AWAY as error:
        raise away() from error
    runner.wake()
    return answer


@router.get("/v1/customers/{customer_id}/data/erasure", operation_id="customers_erasure")
async def customers_erasure(
    request: Request, actor: Annotated[Actor, Depends(access.ADMIN)], customer_id: CustomerId
) -> dict[str, Any]:
    """Whether somebody was erased, and whether the models were made anew since. Admins may ask by
    an id that they have."""
    return await _shown(request, actor.shop, customer_id, None)


@router.get(
    "/v1/erasures/{erasure_id}",
    operation_id="erasures_get",
    dependencies=[Depends(access.PUBLIC)],
)
async def erasures_get(
    request: Request,
    erasure_id: Annotated[UUID, Path(description="from the answer that has erased")],
) -> dict[str, Any]:
    """What came of an erasure, for whoever has its id: they cannot log in any more."""
    return await _shown(request, None, None, erasure_id)


async def _fresh(request: Request, actor: Actor) -> bool:
    sessions: Sessions = request.app.state.sessions
    try:
        return actor.session is not None and await sessions.is_fresh(
            actor.session, datetime.now(UTC)
        )
    except AWAY as error:
        raise away() from error


async def _shown(
    request: Request, shop: str | None, person: str | None, number: UUID | None
) -> dict[str, Any]:
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    try:
        found: Known | None = await find(pool, shop, person, number)
    except AWAY as error:
        raise away() from error
    if found is None:
        raise Problem(404, "no_erasure", "nobody was erased under this id")
    return dict(found.shown())
