"""`/v1/jobs`: what takes longer than an answer may, how far it is, and what came of it."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import access
from app.api.access import Actor, Role
from app.api.completeness import RETRY
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import Problem, known_parameters
from app.jobs import queue
from app.jobs.job import Job, State
from app.jobs.kinds import KINDS
from projections.postgres import AWAY

router = APIRouter(tags=["jobs"])

Reader = Annotated[Actor, Depends(access.OPERATIONS)]
BackOffice = Annotated[Actor, Depends(access.BACK_OFFICE)]
JobId = Annotated[str, Path(max_length=64, description="from the answer that has begun it")]

_STAFF = (Role.STAFF, Role.ADMIN)
_OFFICE = (*_STAFF, Role.READER)


def shown(job: Job) -> dict[str, Any]:
    """A job as JSON has it. `done` of `total` count what the kind counts in, such as records."""
    left = job.left()
    return {
        "id": str(job.id),
        "kind": job.kind,
        "shop": job.shop,
        "state": job.state,
        "asked": job.asked,
        "progress": {
            "done": job.done,
            "total": job.total,
            "eta_seconds": None if left is None else round(left.total_seconds(), 1),
        },
        "result": job.result,
        "error": job.error,
        "created": job.created.isoformat(),
        "started": job.started.isoformat() if job.started else None,
        "changed": job.changed.isoformat(),
    }


def _seen_by(actor: Actor) -> Collection[str]:
    """The kinds of jobs that somebody may see."""
    return [kind.name for kind in KINDS.values() if kind.figures or actor.role in _OFFICE]


@router.get("/v1/jobs", operation_id="jobs_list", dependencies=[Depends(known_parameters)])
async def jobs_list(
    request: Request,
    actor: Reader,
    kind: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
    state: State | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """The latest first; those that have ended for 30 days."""
    kinds = [name for name in _seen_by(actor) if kind in (None, name)]
    before = parse_cursor(cursor, tuple[datetime, UUID])
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    try:
        found = await queue.listed(pool, actor.shop, kinds, state, before, limit)
    except AWAY as error:
        raise away() from error
    return page(found, limit, shown, lambda job: (job.created, job.id), "jobs")


@router.get("/v1/jobs/{job_id}", operation_id="jobs_get", dependencies=[Depends(known_parameters)])
async def jobs_get(
    request: Request, response: Response, actor: Reader, job_id: JobId
) -> dict[str, Any]:
    """How far it is, how long it will still take, and at its end what came of it."""
    job = await _found(request, actor, job_id)
    if job.state in ("waiting", "running"):
        response.headers["Retry-After"] = "1"
    return shown(job)


@router.delete(
    "/v1/jobs/{job_id}",
    operation_id="jobs_cancel",
    status_code=202,
    dependencies=[Depends(known_parameters)],
)
async def jobs_cancel(request: Request, actor: BackOffice, job_id: JobId) -> dict[str, Any]:
    """Cancels it; whoever is doing it stops within a second or two. What has ended stays as it is:
    409, unless it was cancelled before."""
    job = await _found(request, actor, job_id)
    if not KINDS[job.kind].figures and actor.role not in _STAFF:
        raise Problem(403, "role", f"this is for {', '.join(_STAFF)} alone")
    try:
        cancelled = await queue.cancel(request.app.state.pool, job.id)
    except AWAY as error:
        raise away() from error
    if cancelled is None:
        job = await _found(request, actor, job_id)
        if job.state != "cancelled":
            raise Problem(409, "ended", f"this job is {job.state}")
    return shown(cancelled or job)


async def _found(request: Request, actor: Actor, job_id: str) -> Job:
    """Raises Problem."""
    job = None
    try:
        number = UUID(job_id)
    except ValueError:
        number = None
    try:
        if number is not None:
            job = await queue.find(request.app.state.pool, number, actor.shop)
    except AWAY as error:
        raise away() from error
    if job is None or job.kind not in _seen_by(actor):
        raise Problem(404, "no_job", f"this shop has no job {job_id!r}")
    return job


def away() -> Problem:
    """Postgres does not answer."""
    return Problem(503, "postgres_unavailable", "no job can be looked at now", headers=RETRY)
