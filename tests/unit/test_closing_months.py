"""When a month of a shop is over, and what is told of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.clock import ShopClock, following
from projections.closing import NOTHING, Rules, Series, Values, closing_figures, corrections
from projections.closing import recall as recall_days
from projections.closing import telling as telling_days
from projections.closing_months import (
    ClosedDay,
    ToldMonth,
    closes,
    figures_of,
    recall,
    settled,
    telling,
)
from streams.events import Event

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
RULES = Rules(ShopClock(ZoneInfo("UTC")), grace=timedelta(hours=1), settle=30 * SECOND)
MARCH = date(2026, 3, 1)
TOTAL, MUGS = Series("total", "", "EUR"), Series("category", "mugs", "EUR")
PENS = Series("category", "pens", "USD")
MUG = Series("product", "mug", "EUR")  # of which no zeros are told


@pytest.mark.parametrize(
    ("month", "next_day", "over"),
    [
        (MARCH, date(2026, 3, 31), False),
        (MARCH, date(2026, 4, 1), True),
        (date(2026, 12, 1), date(2026, 12, 31), False),
        (date(2026, 12, 1), date(2027, 1, 1), True),
        (date(2024, 2, 1), date(2024, 2, 29), False),
    ],
)
def test_a_month_closes_with_its_last_day(month: date, next_day: date, *, over: bool) -> None:
    assert closes(month, next_day) is over


def test_a_month_is_told_again_once_what_came_late_has_rested() -> None:
    told = {MARCH: 0, MARCH + DAY: 1}
    days = {day: ClosedDay(revision, NOW) for day, revision in told.items()}
    assert not settled(days, told, NOW + DAY, RULES), "nothing has come since"
    days[MARCH] = ClosedDay(1, NOW)
    assert not settled(days, told, NOW + 29 * SECOND, RULES)
    assert settled(days, told, NOW + 30 * SECOND, RULES)
    days[MARCH - DAY] = ClosedDay(0, NOW + 20 * SECOND)  # an import reaches behind the first day
    assert not settled(days, told, NOW + 30 * SECOND, RULES)
    assert settled(days, told, NOW + 50 * SECOND, RULES)


VALUES = st.builds(
    Values,
    st.integers(0, 10**12),
    st.integers(0, 10**6),
    st.integers(0, 10**12),
    st.integers(-9, 99),
    st.integers(-9, 99),
)
FIGURES = st.dictionaries(st.sampled_from([TOTAL, MUGS, PENS, MUG]), VALUES)
DATES = st.dates(MARCH, date(2026, 3, 31))


@given(st.dictionaries(DATES, FIGURES), st.dates(date(2026, 2, 1), date(2026, 5, 1)))
def test_a_month_is_the_sum_of_its_days_zeros_included(
    days: Mapping[date, Mapping[Series, Values]], begun: date
) -> None:
    first_days = {TOTAL: MARCH, PENS: begun}
    found = figures_of(first_days, MARCH, days)
    assert list(found) == sorted(found)
    sold = {series for of_day in days.values() for series in of_day}
    if not any(map(any, (of_day.get(MUG, NOTHING) for of_day in days.values()))):
        sold.discard(MUG)
    if MUG in sold and MUG not in found:  # what was sold was taken back
        sums = map(sum, zip(*(of_day.get(MUG, NOTHING) for of_day in days.values()), strict=True))
        assert not any(sums)
        sold.discard(MUG)
    assert found.keys() == sold | {TOTAL} | ({PENS} if begun <= date(2026, 3, 31) else set())
    for series, values in found.items():
        for measure in range(len(values)):
            assert values[measure] == sum(
                of_day[series][measure] for of_day in days.values() if series in of_day
            )


@given(
    st.lists(
        st.tuples(st.dictionaries(DATES, FIGURES, max_size=4), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    st.randoms(),
)
def test_the_log_alone_says_what_is_known_of_days_and_months(
    rounds: Sequence[tuple[Mapping[date, Mapping[Series, Values]], bool]], random: Random
) -> None:
    """Days are told and corrected, the month after some of that; then all is read back."""
    log: list[Event] = []
    days: dict[date, dict[Series, Values]] = defaultdict(dict)
    revisions: dict[date, int] = {}
    month: ToldMonth | None = None
    for changes, then in rounds:
        for day, figures in changes.items():
            revision = revisions.get(day, -1) + 1
            changed = corrections(days[day], {**days[day], **figures}) if revision else figures
            if revision == 0 or changed:
                log += telling_days("main", day, revision, changed, {}, NOW)
                days[day].update(changed)
                revisions[day] = revision
        if then:
            sums = figures_of({}, MARCH, days)
            known = month.figures if month else {}
            changed = corrections(known, sums) if month else sums
            revision = month.revision + 1 if month else 0
            if month is None or changed:
                log += telling("main", MARCH, revision, dict(revisions), changed, NOW)
                month = ToldMonth(revision, NOW, dict(revisions), {**known, **changed})
    random.shuffle(log)
    found = dict(recall(log))
    assert found == ({} if month is None else {("main", MARCH): month})
    recalled = {day: told.figures for (_, day), told in recall_days(log)}
    assert recalled.keys() == set(revisions)
    if month is not None and all(then for _, then in rounds):
        told = {s: v for s, v in month.figures.items() if s != MUG or v != NOTHING}
        assert figures_of({}, MARCH, recalled) == told


def test_what_is_told_of_a_month_has_an_id_of_its_own_and_comes_in_parts() -> None:
    figures = closing_figures(
        {Series("category", str(n), "EUR"): MARCH for n in range(801)}, MARCH, {TOTAL: NOTHING}
    )
    events = telling("main", MARCH, 0, {MARCH: 2}, figures, NOW)
    assert [event.type for event in events] == ["MonthClosed", "MonthClosed"]
    (corrected,) = telling("main", MARCH, 1, {MARCH: 3}, {TOTAL: NOTHING}, NOW)
    assert (corrected.type, corrected.subject) == ("MonthCorrected", "2026-03")
    data = msgspec.json.decode(corrected.data)
    assert (data["month"], data["days"], data["revision"]) == ("2026-03", {"2026-03-01": 3}, 1)
    others = telling("east", MARCH, 0, {}, {}, NOW) + telling(
        "main", following(MARCH), 0, {}, {}, NOW
    )
    ids = {event.id for event in (*events, corrected, *others)}
    assert len(ids) == 5
    assert [one.id for one in telling("main", MARCH, 0, {}, figures, NOW + DAY)] == [
        event.id for event in events
    ]
