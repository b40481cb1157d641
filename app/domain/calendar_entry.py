"""What the staff knows ahead of some days: closed days, promotions, other prices."""

from datetime import date, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.events import CalendarEntryPlanned, CalendarEntryWithdrawn, Data

_LONGEST = timedelta(days=366)
_STRONGEST = 100  # times the usual price, or the usual promotion


class CalendarEntry(Struct, frozen=True, omit_defaults=True):
    """What was said last of it. A withdrawn one can be planned again."""

    planned: CalendarEntryPlanned
    withdrawn: bool = False


def plan(entry: CalendarEntry | None, said: CalendarEntryPlanned) -> list[Data]:
    """An entry, past days too; nothing where it is so already. Raises Invalid."""
    _check(said)
    known = entry and not entry.withdrawn and entry.planned
    return [] if known and _same(known, said) else [said]


def _check(said: CalendarEntryPlanned) -> None:
    first, last = date.fromisoformat(said.first), date.fromisoformat(said.last)
    for field, day in (("first", first), ("last", last)):
        if not EARLIEST_YEAR <= day.year <= LATEST_YEAR:
            raise Invalid("day", f"not between {EARLIEST_YEAR} and {LATEST_YEAR}", field)
    if last < first:
        raise Invalid("no_time", f"it ends before it begins ({first})", "last")
    if last - first >= _LONGEST:
        raise Invalid("too_long", f"at most {_LONGEST.days} days: plan several", "last")
    if (said.level == "total") == bool(said.key):
        reason = "needed" if said.level != "total" else "the whole shop has none: name its level"
        raise Invalid("key", reason, "key")
    if said.kind == "closed" and said.level not in ("total", "country"):
        raise Invalid("level", "it is shops and countries that are closed", "level")
    value = Decimal(said.value)
    if said.kind == "closed" and value != 1:
        raise Invalid("value", "closed is closed: it has no value", "value")
    if not 0 < value <= _STRONGEST:
        raise Invalid("value", f"expected more than 0, and {_STRONGEST} at most", "value")


def _same(known: CalendarEntryPlanned, said: CalendarEntryPlanned) -> bool:
    """`0.8` is `0.80`."""
    one, other = (msgspec.structs.replace(entry, value="1") for entry in (known, said))
    return one == other and Decimal(known.value) == Decimal(said.value)


def withdraw(entry: CalendarEntry) -> list[Data]:
    """It is not going to be so. Raises Conflict."""
    if entry.withdrawn:
        raise Conflict("withdrawn", f"{entry.planned.entry_id} was withdrawn before")
    return [CalendarEntryWithdrawn(entry_id=entry.planned.entry_id)]


def evolve(entry: CalendarEntry | None, told: Told) -> CalendarEntry:
    """The entry after one more event."""
    data = told.data
    if isinstance(data, CalendarEntryPlanned):
        return CalendarEntry(data)
    assert isinstance(data, CalendarEntryWithdrawn)
    assert entry is not None
    return msgspec.structs.replace(entry, withdrawn=True)


CALENDAR_ENTRY = Aggregate(
    "calendar_entries",
    CalendarEntry,
    evolve,
    {
        CalendarEntryPlanned: lambda data: data.entry_id,
        CalendarEntryWithdrawn: lambda data: data.entry_id,
    },
)
