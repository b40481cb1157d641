"""`/v1/quarantine`: records that were refused after they had reached the log, for staff and read
keys.

They may hold personal data: everyone sees what belongs to their own shop, and nothing may be
cached. A write key is not enough, for a page may hold one. A record that does not say whose it is
is shown by the command line alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import access
from app.api.access import Actor
from app.api.completeness import RETRY
from app.api.ingest import Intake
from app.api.limits import read_body
from app.api.problems import Problem, known_parameters
from app.resubmission import (
    AppliedElsewhere,
    Contradicted,
    Resubmission,
    as_json,
    resubmitted_json,
)
from app.vault import Vault
from projections.postgres import AWAY
from projections.quarantine import MOST_LISTED, FailedEvent, Filter, find, listed, parse_position
from streams.codec import Refused

_SECRET = {"Cache-Control": "no-store"}
_NO_NUL = r"^[^\x00]*$"
_Text = Annotated[str | None, Query(max_length=512, pattern=_NO_NUL)]
At = Annotated[str, Path(max_length=200, description="where it stands, such as `orders:3:1234`")]

router = APIRouter(tags=["quarantine"])


class Quarantine:
    """The quarantine as one shop sees it."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", intake: Intake, vault: Vault) -> None:
        self._pool = pool
        self._resubmission = Resubmission(pool, intake, vault)

    async def page(self, wanted: Filter, limit: int, cursor: str | None) -> dict[str, Any]:
        """Some records, latest first, and where to go on. Raises Problem."""
        try:
            async with _answering():
                found, more = await listed(self._pool, wanted, limit, cursor)
        except ValueError:
            reason = "no cursor of an answer before"
            errors = [{"field": "cursor", "reason": reason}]
            raise Problem(422, "invalid", f"cursor: {reason}", errors) from None
        return {"records": [as_json(one) for one in found], "next_cursor": more}

    async def find(self, position: str, shop: str) -> FailedEvent:
        """One record. Raises Problem where this shop has none there."""
        found = None
        async with _answering():
            with suppress(ValueError):
                found = await find(self._pool, parse_position(position), shop)
        if found is None:
            raise Problem(
                404, "not_in_quarantine", f"no record of this shop is in quarantine at {position!r}"
            )
        return found

    async def resubmit(
        self, position: str, shop: str, body: bytes | None, wait: float
    ) -> dict[str, Any]:
        """What the record was sent again as, now or before. Raises Problem."""
        failed = await self.find(position, shop)
        try:
            async with _answering():
                again, new = await self._resubmission.send(
                    failed, shop, body, datetime.now(UTC), wait
                )
        except Refused as refused:
            told = f"{refused.field}: {refused.reason}".removeprefix(": ")
            errors = [{"field": refused.field, "reason": refused.reason}]
            raise Problem(422, "invalid_event", told, errors) from None
        except (Contradicted, AppliedElsewhere) as error:
            raise Problem(409, "resubmitted", str(error)) from None
        return {**resubmitted_json(again), "repeated": not new}


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Raises Problem where Postgres is away."""
    try:
        yield
    except AWAY as error:
        raise Problem(
            503, "postgres_unavailable", "the quarantine cannot be read now", headers=RETRY
        ) from error


BackOffice = Annotated[Actor, Depends(access.BACK_OFFICE)]


@router.get(
    "/v1/quarantine",
    operation_id="quarantine_list",
    dependencies=[Depends(known_parameters)],
)
async def quarantine_list(
    request: Request,
    response: Response,
    actor: BackOffice,
    reason: Annotated[_Text, Query(description="a part of the reason")] = None,
    field: _Text = None,
    topic: _Text = None,
    group: _Text = None,
    resubmitted: Annotated[bool | None, Query(description="sent again already, or not")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[_Text, Query(description="`next_cursor` of the answer before")] = None,
) -> dict[str, Any]:
    """Records that are no events, or were passed by, latest first; of long ones the beginning.

    Each stands there once, with all the groups that have refused it.
    """
    response.headers.update(_SECRET)
    quarantine: Quarantine = request.app.state.quarantine
    wanted = Filter(
        shop=actor.shop,
        topic=topic,
        field=field,
        reason=reason,
        group=group,
        resubmitted=resubmitted,
    )
    return await quarantine.page(wanted, limit, cursor)


@router.get(
    "/v1/quarantine/{position}",
    operation_id="quarantine_get",
    dependencies=[Depends(known_parameters)],
)
async def quarantine_get(
    request: Request, response: Response, actor: BackOffice, position: At
) -> dict[str, Any]:
    """One record, whole: `payload` is its value, in base64 where it is no text."""
    response.headers.update(_SECRET)
    quarantine: Quarantine = request.app.state.quarantine
    return as_json(await quarantine.find(position, actor.shop))


@router.post(
    "/v1/quarantine/{position}/resubmit",
    operation_id="quarantine_resubmit",
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    },
    dependencies=[Depends(known_parameters)],
)
async def quarantine_resubmit(
    request: Request,
    response: Response,
    actor: BackOffice,
    position: At,
    wait: Annotated[float, Query(ge=0, le=30, description="seconds to wait for the position")] = 5,
) -> dict[str, Any]:
    """Sends a record again, as it is or, with a body, as the body says; it counts once.

    A second time changes nothing and gives the same answer; saying something else then is a 409.
    `position` is null while the event waits for Kafka.
    """
    response.headers.update(_SECRET)
    quarantine: Quarantine = request.app.state.quarantine
    intake: Intake = request.app.state.intake
    with intake.room.share() as share:
        body = await read_body(request, share)
        return await quarantine.resubmit(position, actor.shop, body or None, wait)
