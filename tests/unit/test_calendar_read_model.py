"""The read model of the calendar: what was said last holds, however the log is cut."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from projections.calendar import fold
from projections.clock import ShopClock
from projections.read_model import Setting
from streams import codec
from streams.codec import Fact
from streams.events import CalendarEntryPlanned, CalendarEntryWithdrawn, Event

AT = datetime(2026, 3, 1, tzinfo=UTC)
SETTING = Setting(ShopClock(ZoneInfo("UTC")), AT)
Said = CalendarEntryPlanned | CalendarEntryWithdrawn

IDS = st.sampled_from(["week", "easter"])
DAYS = st.sampled_from(["2026-03-01", "2026-03-09", "2026-02-30"])
SAID: st.SearchStrategy[Said] = st.one_of(
    st.builds(
        CalendarEntryPlanned,
        entry_id=IDS,
        kind=st.sampled_from(["closed", "promotion"]),
        first=DAYS,
        last=DAYS,
        name=st.none(),
    ),
    st.builds(CalendarEntryWithdrawn, entry_id=IDS),
)
TOLD = st.lists(st.tuples(st.sampled_from(["main", "east"]), SAID), max_size=12)


def facts(told: Sequence[tuple[str, Said]]) -> list[Fact]:
    return [
        Fact(
            "days",
            0,
            offset,
            Event(
                id=str(offset),
                type=type(data).__name__,
                shop=shop,
                subject=data.entry_id,
                time=AT + timedelta(minutes=offset),
                received_at=AT,
                data=Raw(codec.raw(data)),
            ),
            data,
        )
        for offset, (shop, data) in enumerate(told)
    ]


@given(TOLD, st.data())
def test_what_was_said_last_holds_however_the_log_is_cut_and_repeated(
    told: Sequence[tuple[str, Said]], data: st.DataObject
) -> None:
    read = facts(told)
    table: dict[tuple[str, str], tuple[Any, ...]] = {}
    at = 0
    while at < len(read):
        end = data.draw(st.integers(at + 1, len(read)))
        begin = data.draw(st.integers(0, at))  # some of it was read before
        rows = fold(read[begin:end], {}, SETTING).rows
        assert [row[:2] for row in rows] == sorted({row[:2] for row in rows})
        for shop, entry_id, *row in rows:
            if row[-1] > table.get((shop, entry_id), (-1,))[-1]:  # as the table's upsert says
                table[shop, entry_id] = tuple(row)
        at = end
    expected: dict[tuple[str, str], tuple[Any, ...]] = {}
    for offset, (shop, said) in enumerate(told):
        if isinstance(said, CalendarEntryWithdrawn):
            expected[shop, said.entry_id] = *[None] * 8, offset
        elif "2026-02-30" not in (said.first, said.last):
            planned_at = (AT + timedelta(minutes=offset)).isoformat()
            expected[shop, said.entry_id] = (
                *(said.kind, said.first, said.last, "total", "", "1", None, planned_at, offset),
            )
    assert table == expected
