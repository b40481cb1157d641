"""When a day of a shop is over, and what is told of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.clock import ShopClock
from projections.closing import (
    NOTHING,
    Change,
    Rules,
    Series,
    Shop,
    Values,
    closable,
    closing_figures,
    corrections,
    heard,
    may_close,
    recall,
    telling,
)
from streams import codec
from streams.events import DayClosed, Event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
RULES = Rules(ShopClock(ZoneInfo("UTC")), grace=HOUR, settle=timedelta(seconds=30))
TOTAL, MUGS = Series("total", "", "EUR"), Series("category", "mugs", "EUR")
MUG = Series("product", "mug", "EUR")
OLD, PAST = date(2010, 12, 1), date(2026, 2, 10)


def days(first: date, count: int) -> list[date]:
    return [first + n * DAY for n in range(count)]


def at(day: date, hour: float = 0) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + hour * HOUR


def once(moment: datetime) -> Change:
    return Change(moment, moment)


def closes(
    shop: Shop,
    open_days: Mapping[date, Change],
    watermark: datetime = NOW,
    *,
    closed: Iterable[date] = (),
    complete_at: datetime | None = None,
    rules: Rules = RULES,
) -> list[date]:
    found, _ = closable(
        shop,
        open_days,
        set(closed),
        at=watermark,
        complete_at=complete_at,
        rules=rules,
        until=shop.next_day + 400 * DAY,
    )
    return found


# A live shop.


def live(first: date) -> Shop:
    """A shop that was heard of on its first day."""
    found = heard(None, {first: once(at(first, 9))}, RULES)
    assert found == Shop(first, first, live_from=first)
    return found


def test_a_live_shops_day_closes_a_grace_after_its_end_by_the_watermark() -> None:
    day = date(2026, 3, 8)
    shop, heard_at = live(day), {day: once(at(day, 9))}
    over = at(day + DAY, 1)
    assert not may_close(shop, over - timedelta(microseconds=1), RULES)
    assert closes(shop, heard_at, over - timedelta(microseconds=1)) == []
    assert may_close(shop, over, RULES)
    assert closes(shop, heard_at, over) == [day]


def test_a_live_shops_days_without_a_sale_close_too_and_today_does_not() -> None:
    shop = live(TODAY - 5 * DAY)
    assert closes(shop, {}) == days(TODAY - 5 * DAY, 5)


def test_a_history_read_into_a_live_shop_never_closes_its_today() -> None:
    shop = live(TODAY)
    open_days = {day: once(NOW - HOUR) for day in days(OLD, 300)} | {TODAY: once(at(TODAY, 9))}
    known = heard(shop, open_days, RULES)
    assert known == Shop(OLD, TODAY, live_from=TODAY)
    found, day = [], known
    while further := closes(day, open_days, complete_at=NOW):
        found += further
        day = Shop(further[-1] + DAY, TODAY, TODAY)
    assert found == days(OLD, (TODAY - OLD).days)


def test_an_event_dated_a_little_ahead_of_midnight_closes_nothing() -> None:
    tomorrow = TODAY + DAY
    shop = heard(None, {tomorrow: once(at(TODAY, 23.95))}, RULES)
    assert shop == Shop(tomorrow, tomorrow, live_from=tomorrow)
    shop = heard(shop, {TODAY: once(at(TODAY, 23.97)), tomorrow: once(at(TODAY, 23.95))}, RULES)
    assert shop == Shop(TODAY, tomorrow, live_from=TODAY)
    assert closes(shop, {}, at(tomorrow, 0.9)) == []
    assert closes(shop, {}, at(tomorrow, 1)) == [TODAY]


@pytest.mark.parametrize(
    ("zone", "day", "over"),
    [
        ("Europe/Berlin", date(2026, 3, 29), datetime(2026, 3, 29, 22, tzinfo=UTC)),  # 23 hours
        ("Europe/Berlin", date(2026, 10, 25), datetime(2026, 10, 25, 23, tzinfo=UTC)),  # 25 hours
        ("Asia/Kolkata", date(2026, 3, 1), datetime(2026, 3, 1, 18, 30, tzinfo=UTC)),
        ("Africa/Cairo", date(2026, 4, 23), datetime(2026, 4, 23, 22, tzinfo=UTC)),  # no midnight
    ],
)
def test_a_day_ends_by_the_shops_own_clock(zone: str, day: date, over: datetime) -> None:
    rules = Rules(ShopClock(ZoneInfo(zone)), timedelta(0), timedelta(0))
    shop = heard(None, {day: once(over - 3 * HOUR)}, rules)
    assert shop is not None
    assert closes(shop, {}, over - timedelta(microseconds=1), rules=rules) == []
    assert closes(shop, {}, over, rules=rules) == [day]


# A history.


def test_a_history_closes_behind_its_latest_day_once_both_have_settled() -> None:
    open_days = {OLD: once(NOW - 60 * HOUR / 3600), OLD + 3 * DAY: once(NOW - 20 * HOUR / 3600)}
    shop = heard(None, open_days, RULES)
    assert shop == Shop(OLD, OLD + 3 * DAY)
    assert closes(shop, open_days, NOW) == []
    assert closes(shop, open_days, NOW + 9 * HOUR / 3600) == []
    # Of the days between nothing was heard: they are over with it.
    assert closes(shop, open_days, NOW + 10 * HOUR / 3600) == days(OLD, 3)


def test_a_partition_that_lags_keeps_a_history_open_however_far_the_others_are() -> None:
    """Its watermark stands at the moment before the history came; nothing was heard of any day
    that only it knows."""
    open_days = {day: once(NOW) for day in days(OLD, 300)[::2]}
    shop = heard(None, open_days, RULES)
    assert shop is not None
    assert closes(shop, open_days, NOW + 29 * HOUR / 3600) == []


def test_a_day_that_is_still_changing_stays_open_but_not_for_ever() -> None:
    open_days = {
        OLD: once(NOW - HOUR / 10),
        OLD + DAY: Change(NOW - HOUR / 30, NOW),
        OLD + 2 * DAY: once(NOW - HOUR / 60),
    }
    shop = heard(None, open_days, RULES)
    assert shop is not None
    assert closes(shop, open_days) == [OLD]
    open_days[OLD + DAY] = Change(NOW - HOUR / 12, NOW)
    assert closes(shop, open_days) == [OLD, OLD + DAY]


def test_the_last_day_of_a_history_closes_when_it_is_said_to_be_complete_or_after_a_silence() -> (
    None
):
    open_days = {OLD: once(NOW), OLD + DAY: once(NOW)}
    shop = heard(None, open_days, RULES)
    assert shop is not None
    assert closes(shop, open_days, NOW + HOUR / 2) == [OLD]
    assert closes(shop, open_days, NOW, complete_at=NOW) == [OLD, OLD + DAY]
    assert closes(shop, open_days, NOW + HOUR) == [OLD, OLD + DAY]
    # What was complete once is not, once there is more.
    assert closes(shop, open_days, NOW, complete_at=NOW - HOUR) == []


def test_after_a_history_alone_no_days_without_sales_follow() -> None:
    shop = Shop(OLD + 5 * DAY, OLD + 4 * DAY)
    assert not may_close(shop, NOW, RULES)
    assert closes(shop, {}) == []


def test_between_a_history_and_the_first_live_day_the_shop_sold_nothing() -> None:
    open_days = {OLD: once(NOW - 2 * HOUR), TODAY - DAY: once(at(TODAY - DAY, 12))}
    shop = heard(None, open_days, RULES)
    assert shop == Shop(OLD, TODAY - DAY, live_from=TODAY - DAY)
    assert closes(shop, open_days) == days(OLD, 400)
    late = Shop(TODAY - 3 * DAY, TODAY - DAY, TODAY - DAY)
    assert closes(late, open_days) == days(TODAY - 3 * DAY, 3)


def test_a_live_shops_own_sales_do_not_make_a_history_look_as_if_it_had_moved_on() -> None:
    open_days = {OLD: once(NOW - HOUR / 60), TODAY - DAY: once(at(TODAY - DAY, 12))}
    shop = heard(None, open_days, RULES)
    assert shop is not None
    assert closes(shop, open_days) == []


def test_behind_closed_days_a_history_closes_what_is_open_and_nothing_twice() -> None:
    shop = Shop(OLD + 10 * DAY, OLD + 9 * DAY)
    open_days = {day: once(NOW) for day in days(OLD - 3 * DAY, 2)}
    again = heard(shop, open_days, RULES)
    assert again == Shop(OLD - 3 * DAY, OLD + 9 * DAY)
    found, next_day = closable(
        again,
        open_days,
        set(days(OLD, 10)),
        at=NOW,
        complete_at=NOW,
        rules=RULES,
        until=OLD + 100 * DAY,
    )
    assert (found, next_day) == (days(OLD - 3 * DAY, 3), OLD + 10 * DAY)


def test_a_turns_share_is_bounded_and_goes_on_where_it_ended() -> None:
    shop = live(TODAY - 40 * DAY)
    found, next_day = closable(
        shop, {}, set(), at=NOW, complete_at=None, rules=RULES, until=shop.next_day + 31 * DAY
    )
    assert found == days(TODAY - 40 * DAY, 31)
    assert next_day == TODAY - 9 * DAY


# What is told.


def test_a_closing_has_every_series_that_has_begun_with_zeros_where_nothing_was_sold() -> None:
    first_days = {TOTAL: OLD, MUGS: OLD + DAY}
    cups = Series("category", "cups", "EUR")
    assert closing_figures(first_days, OLD, {TOTAL: Values(1)}) == {TOTAL: Values(1)}
    told = closing_figures(first_days, OLD + 2 * DAY, {cups: Values(7)})
    assert told == {cups: Values(7), MUGS: NOTHING, TOTAL: NOTHING}


def test_products_and_variants_are_told_where_something_was_sold_and_not_as_zeros() -> None:
    first_days = {TOTAL: OLD, MUG: OLD}
    assert closing_figures(first_days, OLD, {}) == {TOTAL: NOTHING}
    assert closing_figures(first_days, OLD, {MUG: Values(7)}) == {MUG: Values(7), TOTAL: NOTHING}
    assert corrections({MUG: Values(7)}, {}) == {MUG: NOTHING}, "but to nothing they are corrected"


def test_what_a_series_lies_in_and_where_the_shop_is_are_told() -> None:
    figures = {TOTAL: Values(1), MUG: Values(1)}
    [event] = telling(
        *("main", OLD, 0, figures, {}, NOW), parents={("product", "mug"): "mugs"}, country="GB"
    )
    data = codec.decode_data(event, "days")
    assert isinstance(data, DayClosed)
    assert data.country == "GB"
    assert [(one.level, one.parent) for one in data.figures] == [("total", ""), ("product", "mugs")]
    assert dict(recall([event]))["main", OLD].figures == figures


def test_no_names_are_so_long_that_an_event_cannot_hold_its_part() -> None:
    figures = {Series("variant", "\x01" * 509 + f"{n:03}", "EUR"): Values(n) for n in range(900)}
    parents = {("variant", series.key): "\x01" * 128 for series in figures}
    events = telling("main", OLD, 0, figures, {}, NOW, parents)
    assert max(len(codec.encode(event)) for event in events) < 1_000_000
    assert dict(recall(events))["main", OLD].figures == figures


def test_a_correction_has_the_series_that_changed_and_no_others() -> None:
    told = {TOTAL: Values(10), MUGS: Values(10)}
    assert corrections(told, told) == {}
    assert corrections(told, {TOTAL: Values(10)}) == {MUGS: NOTHING}
    assert corrections({}, {TOTAL: NOTHING}) == {}
    assert corrections(told, {TOTAL: Values(3), MUGS: Values(10)}) == {TOTAL: Values(3)}


def test_what_is_told_is_an_event_like_any_other_and_its_id_is_the_days_own() -> None:
    [event] = telling(
        "main", OLD, 0, {TOTAL: Values(25500, 100, 30000, 2, 3)}, {"orders:0": 5}, NOW
    )
    assert (event.type, event.subject, event.shop) == ("DayClosed", "2010-12-01", "main")
    assert msgspec.json.decode(event.data) == {
        "date": "2010-12-01",
        "positions": {"orders:0": 5},
        "figures": [
            {
                "level": "total",
                "currency": "EUR",
                "gross": "2.55",
                "discounts": "0.01",
                "refunds": "3.00",
                "net": "-0.46",
                "orders": 2,
                "units": 3,
            }
        ],
    }
    assert codec.decode_data(codec.decode_envelope(codec.encode(event)), "days")
    [again] = telling("main", OLD, 0, {}, {}, NOW + HOUR)
    [corrected] = telling("main", OLD, 1, {TOTAL: NOTHING}, {}, NOW)
    [elsewhere] = telling("other", OLD, 0, {}, {}, NOW)
    assert again.id == event.id
    assert len({event.id, corrected.id, elsewhere.id}) == 3
    assert corrected.type == "DayCorrected"


def test_more_series_than_an_event_can_hold_come_in_parts() -> None:
    figures = {
        Series("product", f"{n:0128}", "EUR"): Values(10**15, 1, 1, 1, n) for n in range(2000)
    }
    events = telling("main", OLD, 0, figures, {f"orders:{n}": 10**12 for n in range(200)}, NOW)
    assert len({event.id for event in events}) == len(events) == 3
    data: list[Any] = [msgspec.json.decode(event.data) for event in events]
    assert [(one.get("part", 1), one["parts"]) for one in data] == [(1, 3), (2, 3), (3, 3)]
    assert max(len(codec.encode(event)) for event in events) < 1_000_000
    assert dict(recall(events))["main", OLD].figures == figures


def test_the_log_is_recalled_by_revision_and_what_is_no_day_is_left_out() -> None:
    first = telling("main", OLD, 0, {TOTAL: Values(1), MUGS: Values(1)}, {}, NOW)
    second = telling("main", OLD, 1, {MUGS: Values(2)}, {}, NOW + HOUR)
    junk = msgspec.structs.replace(first[0], type="OrderPaid")
    told = dict(recall([*second, junk, *first, *first]))
    assert told == {("main", OLD): (1, NOW + HOUR, {TOTAL: Values(1), MUGS: Values(2)})}


# Any order of sales, commits, deaths and turns.


class World:
    """A shop's sales as folds commit them, partition by partition, and a closer beside them."""

    def __init__(self, partitions: int) -> None:
        self.now = NOW
        self.sales: dict[date, dict[Series, Values]] = defaultdict(dict)
        self.unread: list[list[tuple[date, Series, Values]]] = [[] for _ in range(partitions)]
        self.complete_to = [NOW] * partitions
        self.notes: dict[date, Change] = {}
        self.shop: Shop | None = None
        self.revisions: dict[date, int] = {}
        self.told: dict[date, dict[Series, Values]] = defaultdict(dict)
        self.first_days: dict[Series, date] = {}
        self.log: list[Event] = []

    def sell(self, partition: int, day: date, series: Series, amount: int, orders: int = 1) -> None:
        self.unread[partition].append((day, series, Values(amount, orders=orders)))

    def read(self, partition: int, most: int) -> None:
        """A fold: sales and notes in one transaction."""
        for day, series, (gross, _, _, orders, _) in self.unread[partition][:most]:
            old = self.sales[day].get(series, NOTHING)
            self.sales[day][series] = Values(old.gross + gross, 0, 0, old.orders + orders, 0)
            note = self.notes.get(day)
            self.notes[day] = Change(note.first_at if note else self.now, self.now)
        del self.unread[partition][:most]

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for partition, waiting in enumerate(self.unread):
            if not waiting:
                self.complete_to[partition] = self.now

    def turn(self, dies: bool) -> None:
        """As the closer does: tells, then takes the notes away, if it lives to."""
        moment = min(*self.complete_to, self.now)
        open_days = {day: note for day, note in self.notes.items() if day not in self.revisions}
        self.shop = heard(self.shop, open_days, RULES)
        found: list[date] = []
        if self.shop and may_close(self.shop, moment, RULES):
            found, next_day = closable(
                self.shop,
                open_days,
                set(self.revisions),
                at=moment,
                complete_at=None,
                rules=RULES,
                until=self.shop.next_day + 5 * DAY,
            )
            self.shop = Shop(next_day, self.shop.last_day, self.shop.live_from)
        late = [
            day
            for day, note in self.notes.items()
            if day in self.revisions and RULES.settled(note, moment)
        ]
        for day in found:
            figures = closing_figures(self.first_days, day, self.sales[day])
            self.first_days |= {s: min(day, self.first_days.get(s, day)) for s in figures}
            self.tell(day, 0, figures)
        for day in late:
            if figures := corrections(self.told[day], self.sales[day]):
                self.tell(day, self.revisions[day] + 1, figures)
        for day in [] if dies else [*found, *late]:
            self.notes.pop(day, None)

    def tell(self, day: date, revision: int, figures: Mapping[Series, Values]) -> None:
        assert RULES.over(day) <= self.now, "told before it was over"
        self.revisions[day] = revision
        self.told[day] |= figures
        self.log += telling("main", day, revision, figures, {}, self.now)


steps = st.one_of(
    st.tuples(
        st.just("sell"),
        st.integers(0, 2),
        st.sampled_from([*days(PAST, 6), PAST - 4 * DAY, TODAY - 2 * DAY, TODAY]),
        st.sampled_from([TOTAL, MUGS, MUG]),
        st.integers(0, 2),
        st.sampled_from([-1, 1]),
    ),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 4)),
    st.tuples(st.just("pass_time"), st.sampled_from([0.5, 20, 40, 4000, 100_000])),
    st.tuples(st.just("turn"), st.booleans()),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=60))
def test_in_whatever_order_the_log_of_days_ends_as_the_sales(
    history: list[tuple[Any, ...]],
) -> None:
    world = World(3)
    for what, *arguments in history:
        getattr(world, what)(*arguments)
    for partition in range(3):
        world.read(partition, len(world.unread[partition]))
    for _ in range(30):  # then there is peace
        world.pass_time(4000)
        for _ in range(4):
            world.turn(dies=False)
    told = dict(recall(world.log))
    sold = {day for day in world.sales if RULES.over(day) <= world.now}
    closed = {day for _, day in told}
    assert sold <= closed
    for (_, day), (revision, _, figures) in told.items():
        assert revision == world.revisions[day]
        now = {s: v for s, v in world.sales[day].items() if v != NOTHING}
        assert {s: v for s, v in figures.items() if v != NOTHING} == now
    if closed:
        assert closed == set(days(min(closed), (max(closed) - min(closed)).days + 1))
    first = [event.subject for event in world.log if event.type == "DayClosed"]
    assert len(first) == len(set(first))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=60
    ),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=60),
)
def test_a_file_read_at_full_speed_is_told_once_though_partitions_are_read_unevenly(
    file: list[tuple[int, int, int]], reads: list[tuple[int, int]]
) -> None:
    world = World(3)
    for partition, day, amount in sorted(file, key=lambda one: one[1]):
        world.sell(partition, OLD + day * DAY, TOTAL, amount)
    for partition, most in reads:
        world.read(partition, most)
        world.pass_time(7)
        world.turn(dies=False)
        if any(world.unread):
            assert not world.log, "told while some of it was unread"
    for partition in range(3):
        world.read(partition, len(file))
    for _ in range(30):
        world.pass_time(4000)
        world.turn(dies=False)
    first, last = (OLD + pick(day for _, day, _ in file) * DAY for pick in (min, max))
    expected = [day.isoformat() for day in days(first, (last - first).days + 1)]
    assert [event.subject for event in world.log] == expected
    assert {event.type for event in world.log} == {"DayClosed"}
