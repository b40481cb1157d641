"""A route for each report: `/v1/metrics/…` and those with paths of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from app.api import access
from app.api.as_of import PastFigures
from app.api.completeness import CompleteTo, Figures
from app.api.kept import KeptAnswers
from app.api.problems import Problem
from app.reports.report import Asked, Moment, Report, TooManyRows
from app.reports.table import REPORTS
from projections.clock import ShopClock
from projections.read_model import Transaction

router = APIRouter()

MOST_ROWS = 200_000
"""In an answer, which is held in memory whole; files have room for more."""


@asynccontextmanager
async def seen(
    request: Request, report: Report[Any], asked: Asked
) -> AsyncIterator[tuple[Transaction, Moment, CompleteTo]]:
    """A transaction in which a report is made, the moment it is made for, and what it is complete
    to: of now, or as of then. Raises Problem, Underway."""
    if asked.as_of is not None:
        past: PastFigures = request.app.state.past
        async with past.snapshot(report, asked) as found:
            yield found
        return
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    others = report.others(asked)
    async with figures.snapshot(report.group, asked.min_position, asked.wait, others) as found:
        transaction, complete_to = found
        silence = timedelta(seconds=request.app.state.settings.cart_silence)
        yield transaction, Moment(clock, datetime.now(UTC), silence), complete_to


async def answer(request: Request, report: Report[Any], asked: Asked) -> dict[str, Any]:
    """A report's rows, and what they are complete to; of one that takes long, those that are kept
    where they will do. Raises Problem, Underway."""
    if not report.slow or asked.as_of is not None:
        return await _counted(request, report, asked)
    kept: KeptAnswers = request.app.state.kept
    figures: Figures = request.app.state.figures
    question = f"{report.name} {asked.model_dump_json(exclude={'min_position', 'wait'})}"
    ask = kept.anew if asked.min_position else kept.of
    return await ask(
        question,
        lambda: _counted(request, report, asked),
        lambda: figures.standing((report.group, *report.others(asked))),
    )


async def _counted(request: Request, report: Report[Any], asked: Asked) -> dict[str, Any]:
    async with seen(request, report, asked) as (transaction, moment, complete_to):
        try:
            rows = await report.rows(transaction, moment._replace(most_rows=MOST_ROWS), asked)
        except TooManyRows as error:
            raise Problem(422, "too_many_rows", str(error)) from None
    return {
        "report": report.name,
        "shop": asked.shop,
        "timezone": moment.clock.zone.key,
        **({} if asked.as_of is None else {"as_of": asked.as_of}),
        "columns": [column._asdict() for column in report.columns(asked)],
        "rows": rows,
        "complete_to": complete_to,
    }


_UNDER_WAY: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Figures of the past that are not kept: a job makes them. `Location` says "
        "where to look; when it is done, ask again",
    }
}


def _add(report: Report[Any]) -> None:
    async def endpoint(request: Request, asked: Asked) -> dict[str, Any]:
        return await answer(request, report, asked)

    # Each is asked with a model of its own, which FastAPI reads from the signature.
    endpoint.__annotations__["asked"] = Annotated[report.asked, Query()]
    router.add_api_route(
        report.path,
        endpoint,
        operation_id=f"report_{report.name}",
        summary=report.name.replace("_", " ").capitalize(),
        description=f"{report.says[0].upper()}{report.says[1:]}.",
        tags=[report.tag],
        responses=_UNDER_WAY,
        dependencies=[Depends(access.FIGURES)],
    )


for _report in REPORTS.values():
    _add(_report)


@router.get(
    "/v1/metrics",
    operation_id="metrics_list",
    tags=["metrics"],
    dependencies=[Depends(access.PUBLIC)],
)
async def metrics_list() -> dict[str, Any]:
    """All reports there are: what each says, where it is, and what it may be asked with."""
    return {
        "reports": [
            {
                "name": report.name,
                "says": report.says,
                "path": report.path,
                "parameters": sorted(report.asked.model_json_schema()["properties"]),
            }
            for report in REPORTS.values()
        ]
    }
