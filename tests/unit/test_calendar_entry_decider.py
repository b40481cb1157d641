"""What is decided about the calendar: entries that can be, and what of them is news."""

from typing import Any

import pytest

from app.domain.calendar_entry import CALENDAR_ENTRY, CalendarEntry, plan, withdraw
from app.domain.refusal import Conflict, Invalid
from streams.events import CalendarEntryPlanned, CalendarEntryWithdrawn
from tests.deciding import given

WITHDRAWN = CalendarEntryWithdrawn(entry_id="week")


def entry(**changed: Any) -> CalendarEntryPlanned:
    told: dict[str, Any] = {
        "entry_id": "week",
        "kind": "price",
        "first": "2026-11-23",
        "last": "2026-11-30",
        "value": "0.8",
    }
    return CalendarEntryPlanned(**{**told, **changed})


def test_an_entry_is_planned_and_said_again_it_is_no_news_however_its_value_is_written() -> None:
    given(CALENDAR_ENTRY).when(plan, entry()).then(entry())
    known = given(CALENDAR_ENTRY, entry())
    known.when(plan, entry(value="0.80")).then()
    for other in (entry(value="0.7"), entry(last="2026-11-29"), entry(name="Black week")):
        known.when(plan, other).then(other)


def test_a_withdrawn_entry_can_be_planned_again_and_not_be_withdrawn_again() -> None:
    given(CALENDAR_ENTRY, entry()).when(withdraw).then(WITHDRAWN)
    gone = given(CALENDAR_ENTRY, entry(), WITHDRAWN)
    assert gone.state == CalendarEntry(entry(), withdrawn=True)
    gone.when(withdraw).refused(Conflict)
    gone.when(plan, entry()).then(entry())
    assert given(CALENDAR_ENTRY, entry(), WITHDRAWN, entry()).state == CalendarEntry(entry())


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"first": "1969-12-31"}, "first"),
        ({"last": "9999-01-01"}, "last"),
        ({"last": "2026-11-22"}, "last"),
        ({"last": "2027-11-24"}, "last"),
        ({"key": "kitchen"}, "key"),
        ({"level": "category"}, "key"),
        ({"value": "0.000"}, "value"),
        ({"value": "100.01"}, "value"),
        ({"kind": "closed"}, "value"),
        ({"kind": "closed", "value": "1", "level": "product", "key": "mug"}, "level"),
    ],
)
def test_what_can_be_no_entry_is_refused_with_its_field(
    changed: dict[str, str], field: str
) -> None:
    given(CALENDAR_ENTRY).when(plan, entry(**changed)).refused(Invalid, field)


def test_a_year_and_a_day_of_a_country_can_be_closed() -> None:
    year = entry(kind="closed", value="1.0", level="country", key="DE", last="2027-11-23")
    given(CALENDAR_ENTRY).when(plan, year).then(year)
