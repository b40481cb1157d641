"""What is known ahead of the shop's days, as it was said."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import AskedRange, Column, Moment, Report
from projections import calendar
from projections.read_model import Transaction
from streams.events import CalendarKind

GROUP = "activity"


class AskedCalendar(AskedRange):
    """Which entries: those that hold on a day of the range."""

    kind: Annotated[CalendarKind | None, Field(description="only of this kind")] = None


async def _rows(
    transaction: Transaction, _moment: Moment, asked: AskedCalendar
) -> Sequence[Mapping[str, Any]]:
    found = await calendar.entries(
        transaction, shop=asked.shop, first=asked.first, last=asked.last, kind=asked.kind
    )
    return [
        {
            "id": one.entry_id,
            "kind": one.kind,
            "first": one.first.isoformat(),
            "last": one.last.isoformat(),
            "level": one.level,
            "key": one.key or None,
            "value": f"{one.value:f}",
            "name": one.name,
            "planned_at": one.planned_at.isoformat().replace("+00:00", "Z"),
        }
        for one in found
    ]


_COLUMNS = (
    *(Column("id"), Column("kind"), Column("first", "day"), Column("last", "day")),
    *(Column("level"), Column("key"), Column("value", "number"), Column("name")),
    Column("planned_at", "time"),
)

REPORTS: Sequence[Report[Any]] = (
    Report(
        name="calendar",
        says="what is known ahead of days: closed ones, promotions and other prices, from `first` "
        "to `last`, for the whole shop or for what `key` has",
        path="/v1/calendar",
        group=GROUP,
        asked=AskedCalendar,
        columns=lambda _: _COLUMNS,
        key=lambda _: ("id",),
        rows=_rows,
        tag="calendar",
    ),
)
