"""A report as a file of any format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.exports import csv_file, parquet_file
from app.exports.cells import sums, value
from app.exports.charts import charts
from app.exports.task import OfReport, Said, Task, TooLarge
from app.exports.workbook import Book, Summed
from app.reports.report import Asked, Moment, Report
from app.reports.table import REPORTS
from projections.clock import ShopClock
from projections.read_model import Transaction

MOST_ROWS = 5_000_000
MOST_ROWS_OF_WORKBOOK = 2_000_000

Rows = Sequence[Mapping[str, Any]]


async def write(path: Path, transaction: Transaction, task: Task, clock: ShopClock) -> int:
    """Writes what a report answers; how many rows. Raises TooLarge."""
    assert isinstance(task.of, OfReport)
    report = REPORTS[task.of.report]
    asked: Asked = report.asked.model_validate_json(task.of.asked)
    moment = Moment(clock, task.seen.now, task.seen.cart_silence)
    rows = await report.rows(transaction, moment, asked)
    columns = report.columns(asked)
    most = MOST_ROWS_OF_WORKBOOK if task.of.format == "xlsx" else MOST_ROWS
    if len(rows) > most:
        raise TooLarge(f"{len(rows)} rows, and {most} fit into .{task.of.format}: {_INSTEAD}")
    if task.of.format == "csv":
        csv_file.write(path, columns, rows)
    elif task.of.format == "parquet":
        parquet_file.write(path, columns, rows)
    else:
        totals = await _totals(report, transaction, moment, asked, rows)
        _workbook(path, task, report, asked, clock, rows, totals)
    return len(rows)


_INSTEAD = "ask for less, or for .csv"


async def _totals(
    report: Report[Any], transaction: Transaction, moment: Moment, asked: Asked, rows: Rows
) -> Summed:
    """What it comes to. A metric is asked once more, for all of it: orders that are told by product
    are not to be added up, and averages never are. Else what the report says may be added up."""
    if (whole := _whole(report, asked)) is not None:
        found = await report.rows(transaction, moment, whole)
        return Summed("Over all of it", report.columns(whole), found)
    return Summed("Sums of the rows", *sums(report.columns(asked), report.sums, rows))


def _whole(report: Report[Any], asked: Asked) -> Asked | None:
    """The same, asked for all of it at once; None where it cannot be."""
    told = asked.model_dump(by_alias=True, exclude_unset=True)
    try:
        whole: Asked = report.asked.model_validate({**told, "grain": "total", "by": []})
    except ValidationError:
        return None
    return whole


def _workbook(
    path: Path,
    task: Task,
    report: Report[Any],
    asked: Asked,
    clock: ShopClock,
    rows: Rows,
    totals: Summed,
) -> None:
    columns = report.columns(asked)
    book = Book(path, clock.zone)
    table = book.table("Data", columns)
    for row in rows:
        table.add(value(row[column.name], column.kind) for column in columns)
    table.end()
    drawn = charts(columns, report.key(asked), rows)
    said = _said(task, report, asked, clock, len(rows))
    book.summary(said, [totals] if totals.columns else [], drawn)
    book.close()


def _said(task: Task, report: Report[Any], asked: Asked, clock: ShopClock, count: int) -> Said:
    complete = task.seen.complete_to
    told = asked.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"shop"})
    return Said(
        report.name.replace("_", " ").capitalize(),
        (
            ("What it says", report.says),
            ("Shop", asked.shop),
            *((f"Asked: {name}", _text(what)) for name, what in told.items()),
            ("Time zone", clock.zone.key),
            ("Complete to", complete.isoformat() if complete else "nothing was read yet"),
            ("Made", task.seen.now.isoformat(timespec="seconds")),
            ("Rows", str(count)),
        ),
    )


def _text(what: Any) -> str:
    return ", ".join(map(str, what)) if isinstance(what, list) else str(what)
