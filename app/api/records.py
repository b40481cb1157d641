"""`POST /v1/sales/records/generate`: a period's sales records made of the log itself."""

from datetime import date
from typing import Annotated, Any

from aiokafka.errors import KafkaError
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import access
from app.api.as_of import Underway
from app.api.completeness import RETRY, Figures
from app.api.problems import Problem, known_parameters
from app.api.sales import Shop
from app.folding import source_of
from app.jobs import queue
from app.jobs.job import Job
from app.jobs.records import SALES_RECORDS, asked_of
from app.jobs.runner import Runner
from app.reports.generated import GROUP, MOST_DAYS, Period, generate, kept
from app.settings import Settings
from projections.clock import ShopClock
from streams.batch import LogChanged
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.readback import ReadBackFailed

router = APIRouter(dependencies=[Depends(known_parameters)])

_AT_ONCE = 10_000  # records of the log; longer ones are read by a job

Day = Annotated[date, Field(ge=date(EARLIEST_YEAR, 1, 1), le=date(LATEST_YEAR, 12, 31))]


class Days(BaseModel):
    """Days of the shop, both ends included."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"from": "2026-03-01", "to": "2026-03-31"}},
    )

    first: Annotated[Day, Field(alias="from")]
    last: Annotated[Day, Field(alias="to")]

    @model_validator(mode="after")
    def _has_days(self) -> "Days":
        if self.first > self.last:
            raise ValueError(f"from ({self.first}) is after to ({self.last})")
        if (self.last - self.first).days >= MOST_DAYS:
            raise ValueError(f"more than {MOST_DAYS} days")
        return self


@router.post(
    "/v1/sales/records/generate",
    operation_id="sales_records_generate",
    tags=["sales"],
    dependencies=[Depends(access.FIGURES)],
    responses={202: {"description": "The log is long: a job reads it. `Location` says which"}},
)
async def sales_records_generate(
    request: Request, days: Days, shop: Shop = "main"
) -> dict[str, Any]:
    """The daily records of a period, made of the log of orders instead of what is kept of it, up to
    the positions (`next_offsets`) that the kept ones are of; and where these are otherwise, which
    should be nowhere. It changes nothing. Of a long log a job makes them, whose `result` they are.
    """
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    period = Period(shop, days.first, days.last)
    async with figures.snapshot(GROUP) as (transaction, _):
        there = await kept(transaction, clock, period)
    settings: Settings = request.app.state.settings
    if there.length > _AT_ONCE:
        raise Underway(await _job(request, settings, period))
    try:
        return dict(await generate(source_of(settings), period, there))
    except LogChanged as error:
        raise Problem(409, "log_changed", str(error)) from error
    except (KafkaError, ReadBackFailed, OSError, TimeoutError) as error:
        raise Problem(
            503, "log_unavailable", "the log cannot be read now", headers=RETRY
        ) from error


async def _job(request: Request, settings: Settings, period: Period) -> Job:
    """The job that makes them: one for the same days, however often it is asked for."""
    key = f"{period.first}/{period.last}"
    runner: Runner = request.app.state.jobs
    try:
        job, new = await queue.ask(
            request.app.state.pool,
            SALES_RECORDS,
            period.shop,
            asked_of(period),
            key,
            settings.jobs_waiting,
        )
    except queue.TooMany as error:
        raise Problem(429, "too_many_jobs", str(error), headers={"Retry-After": "10"}) from None
    if new:
        runner.wake()
    return job
