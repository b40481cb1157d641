"""`/v1/forecasts/train`: a shop's sales learned anew by a job, beside what is served."""

from datetime import date
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.as_of import Underway
from app.api.completeness import RETRY
from app.api.jobs import away, shown
from app.api.problems import Problem, known_parameters
from app.api.sales import Shop
from app.jobs import queue
from app.jobs.runner import Runner
from app.jobs.train import TRAIN, Parameters, asked_of, key_of, read_by_learner
from app.settings import Settings
from ml_online.daily_regression import FORGETTING
from projections.postgres import AWAY
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

router = APIRouter(
    tags=["forecasts"], dependencies=[Depends(access.FIGURES), Depends(known_parameters)]
)

_LISTED = 50


class Training(BaseModel):
    """From which day on is learned, the shop's first where none is named; and how much of what was
    learned on a day remains on the next."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"from": "2026-01-01", "forgetting": 0.99}}
    )

    first: Annotated[
        date | None,
        Field(alias="from", ge=date(EARLIEST_YEAR, 1, 1), le=date(LATEST_YEAR, 12, 31)),
    ] = None
    forgetting: Annotated[float, Field(ge=0.9, le=1)] = FORGETTING


@router.post(
    "/v1/forecasts/train",
    operation_id="forecasts_train",
    responses={202: {"description": "A job learns. `Location` says which"}},
)
async def forecasts_train(
    request: Request, training: Training, shop: Shop = "main"
) -> dict[str, Any]:
    """Learns a shop's days anew from the log, up to where the served models have read it, with
    parameters of its own: how well these models did, their digest, and what they foretell of the
    whole shop are the job's `result`. What is served stays as it is. The same again, before another
    day is told, is answered by the finished one."""
    settings: Settings = request.app.state.settings
    runner: Runner = request.app.state.jobs
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    parameters = Parameters(training.first, training.forgetting)
    try:
        end = await read_by_learner(pool)
        if not end:
            raise Problem(409, "nothing_learned", "no day is learned yet; ask again", headers=RETRY)
        key = key_of(shop, parameters, end)
        last = await queue.last(pool, TRAIN, key)
        if last is not None and last.state == "done":
            return {"job": shown(last)}
        most = settings.jobs_waiting
        job, new = await queue.ask(pool, TRAIN, shop, asked_of(parameters, end), key, most)
    except queue.TooMany as error:
        raise Problem(429, "too_many_jobs", str(error), headers={"Retry-After": "10"}) from None
    except AWAY as error:
        raise away() from error
    if new:
        runner.wake()
    raise Underway(job)


@router.get("/v1/forecasts/train", operation_id="forecasts_trainings")
async def forecasts_trainings(request: Request, shop: Shop = "main") -> dict[str, Any]:
    """The latest fifty trainings of a shop, those that a closed month has asked for among them."""
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    try:
        found = await queue.listed(pool, shop, [TRAIN.name], None, None, _LISTED)
    except AWAY as error:
        raise away() from error
    return {"jobs": [shown(job) for job in found[:_LISTED]]}
