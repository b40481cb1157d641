"""`calendar`: what is known ahead of a shop's days, as it was said last.

It is told on `days`, which is one partition: so of two that were said of an entry, which one was
last is the same for every reader.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from projections.read_model import Contents, Folded, ReadModel, Setting, Transaction, Write
from streams.codec import Fact
from streams.events import CalendarEntryPlanned, CalendarEntryWithdrawn

_WITHDRAWN = (None,) * 8


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What was said last of each entry, with where it stands in the log, sorted by key."""
    said: dict[tuple[str, str], tuple[Any, ...]] = {}
    for fact in facts:
        data = fact.data
        if isinstance(data, CalendarEntryPlanned | CalendarEntryWithdrawn) and _has_days(data):
            key = fact.event.shop, data.entry_id
            if key not in said or said[key][-1] < fact.offset:
                said[key] = *_row(fact, data), fact.offset
    return Folded([(*key, *row) for key, row in sorted(said.items())])


def _row(fact: Fact, data: CalendarEntryPlanned | CalendarEntryWithdrawn) -> tuple[Any, ...]:
    if isinstance(data, CalendarEntryWithdrawn):
        return _WITHDRAWN
    return (
        *(data.kind, data.first, data.last, data.level, data.key, data.value, data.name),
        fact.event.time.isoformat(),
    )


def _has_days(data: CalendarEntryPlanned | CalendarEntryWithdrawn) -> bool:
    """Whether a calendar has the days that are named."""
    try:
        if isinstance(data, CalendarEntryPlanned):
            date.fromisoformat(data.first), date.fromisoformat(data.last)
    except ValueError:
        return False
    return True


# What was said last is kept.
_WRITE = """
    INSERT INTO calendar AS known (
        shop, entry_id, kind, first_day, last_day, level, key, value, name, planned_at,
        record_offset
    )
    SELECT row->>0, row->>1, row->>2, (row->>3)::date, (row->>4)::date, row->>5, row->>6,
        (row->>7)::numeric, row->>8, (row->>9)::timestamptz, (row->>10)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, entry_id) DO UPDATE SET
        kind = excluded.kind, first_day = excluded.first_day, last_day = excluded.last_day,
        level = excluded.level, key = excluded.key, value = excluded.value, name = excluded.name,
        planned_at = excluded.planned_at, record_offset = excluded.record_offset
    WHERE known.record_offset < excluded.record_offset
"""
WRITE = Write(_WRITE)
_KEY = ("shop", "entry_id")
_CONTENTS = Contents(
    _KEY,
    "SELECT shop, entry_id, kind, first_day, last_day, level, key, value, name, planned_at, "
    "record_offset FROM calendar",
)
CALENDAR = ReadModel("calendar", version=1, fold=fold, write=WRITE, contents=_CONTENTS)


# The query.


class Entry(NamedTuple):
    """What is known of the days from first to last, both included, for all that a key has."""

    entry_id: str
    kind: str
    first: date
    last: date
    level: str
    key: str
    value: Decimal
    name: str | None
    planned_at: datetime


async def entries(
    transaction: Transaction,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    kind: str | None = None,
) -> list[Entry]:
    """The entries that hold on a day of first..last (both included), by their first day."""
    rows = await transaction.fetch(_QUERY, shop, first or date.min, last or date.max, kind)
    return [Entry(*row) for row in rows]


_QUERY = """
    SELECT entry_id, kind, first_day, last_day, level, key, value, name, planned_at
    FROM calendar
    WHERE shop = $1 AND kind IS NOT NULL AND last_day >= $2 AND first_day <= $3
        AND ($4::text IS NULL OR kind = $4)
    ORDER BY first_day, last_day, entry_id
"""
