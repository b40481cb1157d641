"""`/v1/calendar/{id}`: what is known ahead of days, by the staff; a report lists what holds."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.commands import Change, carried_out
from app.api.coupons import Staff, Text
from app.api.reading import one, reading
from app.commands import calendar
from app.domain.calendar_entry import CALENDAR_ENTRY
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.events import CalendarEntryPlanned, CalendarKind, SalesLevel

router = APIRouter(tags=["calendar"])

EntryId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]
Key = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
Day = Annotated[date, Field(ge=date(EARLIEST_YEAR, 1, 1), le=date(LATEST_YEAR, 12, 31))]


class NewCalendarEntry(BaseModel):
    """From `first` to `last`, both included, for the whole shop, or for what `key` has at a level:
    the shop is closed; there is a promotion, whose strength `value` is 1 unless it is told; or the
    price is `value` times the usual one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "kind": "price",
                "first": "2026-11-23",
                "last": "2026-11-30",
                "level": "category",
                "key": "kitchen",
                "value": "0.8",
                "name": "Black week",
            }
        },
    )

    kind: CalendarKind
    first: Day
    last: Day
    level: SalesLevel = "total"
    key: Key | None = None
    value: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$", examples=["0.8"])] = "1"
    name: Text | None = None


@router.put("/v1/calendar/{entry_id}", operation_id="calendar_plan")
async def calendar_plan(
    request: Request, actor: Staff, entry_id: EntryId, told: NewCalendarEntry, sent: Change
) -> Response:
    """What is known ahead of some days, past ones too; said again, it replaces what was said.

    Forecasts go by it from then on. What holds for a category holds for its products, and what
    holds for the shop for all; of two prices for one product, that of the narrower scope holds.
    """
    said = CalendarEntryPlanned(
        entry_id=entry_id,
        kind=told.kind,
        first=told.first.isoformat(),
        last=told.last.isoformat(),
        level=told.level,
        key=told.key or "",
        value=told.value,
        name=told.name,
    )
    return await carried_out(
        request, actor, sent, lambda work, call: calendar.plan_entry(work, call, said)
    )


@router.get("/v1/calendar/{entry_id}", operation_id="calendar_get")
async def calendar_get(request: Request, actor: Staff, entry_id: EntryId) -> Response:
    """One entry, a withdrawn one too."""
    async with reading(request, actor) as states:
        return await one(states, CALENDAR_ENTRY, entry_id, calendar.as_told)


@router.delete("/v1/calendar/{entry_id}", operation_id="calendar_withdraw")
async def calendar_withdraw(
    request: Request, actor: Staff, entry_id: EntryId, sent: Change
) -> Response:
    """It is not going to be so, or was not. Planned again, it is there again."""
    return await carried_out(
        request, actor, sent, lambda work, call: calendar.withdraw_entry(work, call, entry_id)
    )
