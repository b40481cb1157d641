"""What the staff says of days to come."""

from typing import Any
from urllib.parse import quote

from app.commands.execute import Answer, Call, check_version
from app.commands.work import Work
from app.domain import calendar_entry
from app.domain.calendar_entry import CALENDAR_ENTRY, CalendarEntry
from streams.events import CalendarEntryPlanned


async def plan_entry(work: Work, call: Call, said: CalendarEntryPlanned) -> Answer:
    """A new entry, or one as it is from now on."""
    known = await work.find(CALENDAR_ENTRY, said.entry_id)
    check_version(call, work.version(CALENDAR_ENTRY, said.entry_id))
    work.tell(*calendar_entry.plan(known, said))
    answer = _answer(work, said.entry_id)
    if known is not None and not known.withdrawn:
        return answer
    return answer._replace(status=201, location=f"/v1/calendar/{quote(said.entry_id, safe='')}")


async def withdraw_entry(work: Work, call: Call, entry_id: str) -> Answer:
    """An entry is not going to be so."""
    known = await work.get(CALENDAR_ENTRY, entry_id, "id")
    check_version(call, work.version(CALENDAR_ENTRY, entry_id))
    work.tell(*calendar_entry.withdraw(known))
    return _answer(work, entry_id)


def as_told(entry: CalendarEntry) -> dict[str, Any]:
    """An entry with all it says, what was not said among it."""
    told = entry.planned
    return {
        "id": told.entry_id,
        "kind": told.kind,
        "first": told.first,
        "last": told.last,
        "level": told.level,
        "key": told.key or None,
        "value": told.value,
        "name": told.name,
        "withdrawn": entry.withdrawn,
    }


def _answer(work: Work, entry_id: str) -> Answer:
    return Answer(
        as_told(work.state(CALENDAR_ENTRY, entry_id)),
        version=work.version(CALENDAR_ENTRY, entry_id),
    )
