"""The job that makes sales records of a long log."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from app.folding import source_of
from app.jobs.job import Job, JobFailed, Kind, Progress
from app.reports.generated import Period, generate, kept
from app.settings import Settings
from projections.postgres import connect_alone
from projections.read_model import one_generation
from streams.batch import LogChanged


def asked_of(period: Period) -> Mapping[str, Any]:
    """What a job is told, as JSON."""
    return {"from": period.first.isoformat(), "to": period.last.isoformat()}


async def _run(settings: Settings, job: Job, progress: Progress) -> Mapping[str, Any]:
    """From the beginning, whatever an attempt before had read; the log's records are counted."""
    first, last = (date.fromisoformat(job.asked[name]) for name in ("from", "to"))
    period, source = Period(job.shop, first, last), source_of(settings)
    connection = await connect_alone(settings.servers.postgres, settings.schema_name, seconds=None)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await one_generation(connection)
            there = await kept(connection, source.clock, period)
    finally:
        connection.terminate()
    total = 2 * there.length  # it is read twice
    progress.tell(0, total)
    try:
        found = await generate(source, period, there, lambda done: progress.tell(done, total))
    except LogChanged as error:
        raise JobFailed(str(error)) from error
    progress.tell(total, total)
    return found


SALES_RECORDS = Kind("sales_records", _run, figures=True)
