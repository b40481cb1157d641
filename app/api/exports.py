"""`/v1/exports`: any report as Excel, CSV or Parquet, and a month's sales as a workbook.

A file is made whole before its first byte is sent: so it says how long it is, an error is an answer
and not a torn file, and whoever takes it slowly holds no snapshot of Postgres, and no place of the
few that there are for making one.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from app.api import access
from app.api.completeness import CompleteTo, Figures, MinPosition, Wait
from app.api.problems import Problem, known_parameters
from app.api.reports import seen
from app.exports.making import File, Making, NoPlace, NotMade, Unmakeable
from app.exports.task import MEDIA_TYPES, Format, OfMonth, OfReport, Seen, Task
from app.reports.asking import asked_of, parameters
from app.reports.report import Asked, Moment, Report
from app.reports.table import REPORTS
from app.settings import Settings
from projections.read_model import Transaction
from streams.codec import EARLIEST_YEAR, LATEST_YEAR, Refused

router = APIRouter()

_AT_ONCE = 256 * 1024  # bytes
_BESIDE = ("as_of", "min_position", "wait")


def _documented() -> list[dict[str, Any]]:
    """The documentation's list of what a report may be asked with."""
    names = {name for report in REPORTS.values() for name in parameters(report)} - {"shop"}
    schema = {"type": "array", "items": {"type": "string"}}
    said = "as the report itself is asked with it"
    return [
        {"name": name, "in": "query", "description": said, "schema": schema}
        for name in sorted(names)
    ]


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)}
}


@router.get(
    "/v1/exports/{report}.{format}",
    operation_id="exports_report",
    tags=["exports"],
    response_class=Response,
    responses=_FILES,
    openapi_extra={"parameters": _documented()},
    dependencies=[Depends(access.FIGURES)],
)
async def exports_report(
    request: Request,
    report: Annotated[str, Path(json_schema_extra={"enum": list(REPORTS)})],
    format: Format,  # noqa: A002  (the name in the path)
    shop: access.Shop = "main",  # noqa: ARG001  (read with the parameters)
) -> Response:
    """Any report as a file, asked as the report itself.

    `.xlsx` has a summary with totals and charts beside the rows; numbers beyond 15 digits, which
    Excel does not have, are text. `.csv` is UTF-8 with a byte order mark; text that a spreadsheet
    could take for a formula has an apostrophe before it. `.parquet` is exact and as it is.
    """
    if report not in REPORTS:
        raise Problem(404, "unknown_report", f"no report {report!r}; /v1/metrics lists them")
    found = REPORTS[report]
    asked = _asked(found, request.query_params.multi_items())
    of = OfReport(report, asked.model_dump_json(by_alias=True, exclude_unset=True), format)
    with _place(request):
        async with seen(request, found, asked) as (transaction, moment, complete_to):
            looking = await _seen(request, transaction, moment, complete_to)
            made = await _made(request, of, asked.shop, looking)
    return _sent(made, f"{asked.shop}-{_named(found, asked)}", format)


def _asked(report: Report[Any], query: Sequence[tuple[str, str]]) -> Asked:
    """Raises Problem."""
    told: dict[str, list[str]] = {}
    for name, value in query:
        told.setdefault(name, []).append(value)
    try:
        return asked_of(report, told)
    except Refused as refused:
        errors = [{"field": refused.field or "query", "reason": refused.reason}]
        raise Problem(422, "invalid", str(refused), errors) from None


def _named(report: Report[Any], asked: Asked) -> str:
    """What a file is called: the report, and what it was asked."""
    told = asked.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"shop"})
    words = [
        "-".join(map(str, what)) if isinstance(what, list) else str(what)
        for name, what in told.items()
        if name not in _BESIDE
    ]
    return "-".join([report.name, *words])


@router.get(
    "/v1/exports/sales/{year}/{month}.xlsx",
    operation_id="exports_month",
    tags=["exports"],
    response_class=Response,
    responses=_FILES,
    dependencies=[Depends(access.FIGURES), Depends(known_parameters)],
)
async def exports_month(
    request: Request,
    year: Annotated[int, Path(ge=EARLIEST_YEAR, le=LATEST_YEAR)],
    month: Annotated[int, Path(ge=1, le=12)],
    shop: access.Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """A month's sales as a workbook: totals and charts, days, products, countries, categories, tax,
    and the lines of its orders."""
    figures: Figures = request.app.state.figures
    with _place(request):
        async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
            moment = Moment(request.app.state.clock, datetime.now(UTC))
            looking = await _seen(request, transaction, moment, complete_to)
            made = await _made(request, OfMonth(year, month), shop, looking)
    return _sent(made, f"{shop}-sales-{year}-{month:02d}", "xlsx")


_SEEN = "SELECT pg_export_snapshot() AS snapshot, current_setting('search_path') AS search_path"


async def _seen(
    request: Request, transaction: Transaction, moment: Moment, complete_to: CompleteTo
) -> Seen:
    """What this transaction sees, for another process, for as long as this transaction is open."""
    settings: Settings = request.app.state.settings
    row = await transaction.fetchrow(_SEEN)
    assert row is not None
    return Seen(
        settings.servers.postgres,
        row["search_path"],
        row["snapshot"],
        moment.now,
        moment.cart_silence,
        complete_to.time,
    )


@contextmanager
def _place(request: Request) -> Iterator[None]:
    """Raises Problem where too many files are being made."""
    making: Making = request.app.state.making
    try:
        with making.place():
            yield
    except NoPlace:
        said = "as many files are being made as may be at once"
        raise Problem(503, "too_many_exports", said, headers={"Retry-After": "5"}) from None


async def _made(request: Request, of: OfReport | OfMonth, shop: str, looking: Seen) -> File:
    """Raises Problem."""
    making: Making = request.app.state.making
    zone = request.app.state.clock.zone.key
    try:
        return await making.make(lambda path: Task(of, shop, zone, looking, path))
    except Unmakeable as error:
        raise Problem(422, error.code, str(error)) from None
    except TimeoutError:
        raise Problem(503, "export_too_slow", "it took too long: ask for less") from None
    except NotMade:
        raise Problem(500, "bug", "this is our fault, and was logged") from None


def _sent(made: File, name: str, format: Format) -> Response:  # noqa: A002
    file = f"{re.sub('[^A-Za-z0-9_.-]+', '_', name)[:120]}.{format}"
    headers = {
        "Content-Disposition": f'attachment; filename="{file}"',
        "Content-Length": str(made.size),
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_bytes(made.content), headers=headers, media_type=MEDIA_TYPES[format])


async def _bytes(content: BinaryIO) -> AsyncIterator[bytes]:
    with content:
        while part := await asyncio.to_thread(content.read, _AT_ONCE):
            yield part
