"""Replaying: the pace of the past, the order of each key, and the wait until all is applied."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats import Account
from app.replay import Durations, applied_by_all, closing_lines, readers_by_topic
from streams.csv_file import Rejected
from streams.events import Event
from streams.log import LogUnavailable, Position
from streams.replay import Entry, Partition, Sent, replay, wait_applied

NINE = datetime(2011, 5, 6, 9, tzinfo=UTC)


def entry(number: int, subject: str = "", seconds: float = 0, lines: int = 1) -> Entry:
    event = Event(
        id=f"e-{number}",
        type="OrderShipped",
        shop="main",
        subject=subject or f"o-{number}",
        time=NINE + timedelta(seconds=seconds),
        received_at=NINE + timedelta(days=1),
        data=msgspec.Raw(b'{"order_id":"x"}'),
    )
    return Entry(event, lines)


class VirtualTime:
    """A clock that moves only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        for _ in range(10):  # whoever is ready goes first
            await asyncio.sleep(0)
        self.now += seconds


class MemoryLog:
    """A log of one topic with two partitions, which `refuses` a number of times."""

    def __init__(self, refuses: int = 0, on_append: Callable[[], None] = lambda: None) -> None:
        self.partitions: defaultdict[int, list[str]] = defaultdict(list)
        self.subjects: defaultdict[str, list[str]] = defaultdict(list)
        self.batches: list[int] = []
        self.in_flight = self.most_in_flight = 0
        self._refuses = refuses
        self._on_append = on_append

    async def append(self, events: Sequence[Event]) -> list[Position]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        self._on_append()
        if self._refuses:
            self._refuses -= 1
            self._write(events[: len(events) // 2])  # some may have arrived all the same
            raise LogUnavailable("not now")
        self.batches.append(len(events))
        return self._write(events)

    def _write(self, events: Sequence[Event]) -> list[Position]:
        return [self._write_one(event) for event in events]

    def _write_one(self, event: Event) -> Position:
        number = int(event.id.removeprefix("e-")) % 2
        self.partitions[number].append(event.id)
        self.subjects[event.subject].append(event.id)
        return Position("orders", number, len(self.partitions[number]) - 1)


@given(
    subjects=st.lists(st.sampled_from("abcdefgh"), max_size=3_000),
    refuses=st.integers(0, 5),
)
async def test_everything_arrives_and_each_key_keeps_its_order_even_through_retries(
    subjects: list[str], refuses: int
) -> None:
    entries = [entry(number, subject) for number, subject in enumerate(subjects)]
    log, virtual = MemoryLog(refuses), VirtualTime()
    await replay(log, entries, clock=virtual.clock, sleep=virtual.sleep)
    for subject in set(subjects):
        expected = [e.event.id for e in entries if e.event.subject == subject]
        assert [*dict.fromkeys(log.subjects[subject])] == expected


async def test_batches_are_bounded_and_only_a_few_are_under_way() -> None:
    log = MemoryLog()
    await replay(log, [entry(number) for number in range(10_000)])
    assert sum(log.batches) == 10_000
    assert 100 < max(log.batches) <= 400
    assert 1 < log.most_in_flight <= 4


async def test_large_events_go_in_small_batches() -> None:
    large = msgspec.Raw(b'"' + b"x" * 200_000 + b'"')
    entries = [
        Entry(msgspec.structs.replace(entry(number).event, data=large), 1) for number in range(40)
    ]
    log = MemoryLog()
    await replay(log, entries)
    assert max(log.batches) == 3


async def test_it_tells_what_is_acknowledged_and_ends_with_the_last_positions() -> None:
    told: list[Position] = []
    lines = 0

    def on_sent(entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        nonlocal lines
        lines += sum(entry.lines for entry in entries)
        told.extend(positions)

    last = await replay(MemoryLog(), [entry(n, lines=n) for n in range(5)], on_sent=on_sent)
    assert (len(told), lines) == (5, 10)
    assert last == [Position("orders", 0, 2), Position("orders", 1, 1)]


async def test_nothing_to_send_is_sent_at_once() -> None:
    assert await replay(MemoryLog(), []) == []


@pytest.mark.parametrize("speed", [1.0, 60.0, 0.5])
async def test_with_a_speed_the_gaps_of_the_past_are_kept(speed: float) -> None:
    virtual = VirtualTime()
    seconds = [0.0, 0.0, 60.0, 61.0, 3600.0]
    sent: list[float] = []

    def on_sent(entries: Sequence[Entry], _: Sequence[Position]) -> None:
        sent.extend(virtual.now for _ in entries)

    await replay(
        MemoryLog(),
        [entry(number, seconds=at) for number, at in enumerate(seconds)],
        speed=speed,
        on_sent=on_sent,
        clock=virtual.clock,
        sleep=virtual.sleep,
    )
    assert sent == pytest.approx([at / speed for at in seconds])


async def test_who_is_late_does_not_wait() -> None:
    virtual = VirtualTime()

    def slowly() -> None:
        virtual.now += 100

    log = MemoryLog(on_append=slowly)
    entries = [entry(number, seconds=number) for number in range(50)]
    await replay(log, entries, speed=1.0, clock=virtual.clock, sleep=virtual.sleep)
    assert sum(log.batches) == 50
    assert len(log.batches) < 10


async def test_without_a_speed_nothing_waits() -> None:
    virtual = VirtualTime()
    entries = [entry(number, seconds=number * 1e6) for number in range(5)]
    await replay(MemoryLog(), entries, clock=virtual.clock, sleep=virtual.sleep)
    assert virtual.now == 0


async def test_a_refusal_is_told_and_tried_again_more_and_more_patiently() -> None:
    virtual = VirtualTime()
    refusals: list[LogUnavailable] = []
    log = MemoryLog(refuses=7)
    await replay(
        log, [entry(1)], on_refused=refusals.append, clock=virtual.clock, sleep=virtual.sleep
    )
    assert len(refusals) == 7
    assert virtual.now == 0.25 + 0.5 + 1 + 2 + 5 + 5 + 5
    assert log.batches == [1]


# Waiting until it is applied.


def sent_to(*offsets: int, topic: str = "orders") -> Sent:
    sent = Sent(["orders"])
    entries = [entry(offset, lines=10) for offset in offsets]
    sent.note(entries, [Position(topic, 0, offset) for offset in offsets])
    return sent


def telling(*moments: int | None) -> Callable[[], Awaitable[Mapping[Partition, int]]]:
    """Progress on one partition as it is told, and then always the last of it."""
    left = list(moments)

    async def progress() -> Mapping[Partition, int]:
        offset = left.pop(0) if len(left) > 1 else left[0]
        return {} if offset is None else {("orders", 0): offset}

    return progress


def all_sent() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_waiting_ends_when_the_last_offset_is_passed() -> None:
    virtual, sent = VirtualTime(), sent_to(7, 3, 5)
    applied: list[int] = []
    await wait_applied(
        telling(None, 3, 4, 6, 7, 8),
        sent,
        all_sent(),
        on_progress=lambda: applied.append(sent.applied_lines),
        clock=virtual.clock,
        sleep=virtual.sleep,
    )
    assert applied == [0, 0, 10, 20, 20, 30]
    assert not sent.waiting


async def test_what_nobody_reads_is_not_waited_for() -> None:
    sent = sent_to(7, topic="catalog")
    await wait_applied(telling(None), sent, all_sent())
    assert (sent.lines, sent.read_lines, sent.applied_lines) == (10, 0, 0)


async def test_waiting_goes_on_while_more_is_to_be_sent() -> None:
    virtual, complete = VirtualTime(), asyncio.Event()
    sent = sent_to(1)
    asked = 0

    async def progress() -> Mapping[Partition, int]:
        nonlocal asked
        asked += 1
        if asked == 5:
            sent.note([entry(2)], [Position("orders", 0, 2)])
            complete.set()
        return {("orders", 0): 2 if asked < 10 else 3}

    await wait_applied(progress, sent, complete, clock=virtual.clock, sleep=virtual.sleep)
    assert asked == 10


async def stalls(*moments: int | None) -> list[float]:
    virtual, found = VirtualTime(), list[float]()
    waiting = wait_applied(
        telling(*moments),
        sent_to(10),
        all_sent(),
        on_stalled=lambda: found.append(round(virtual.now)),
        clock=virtual.clock,
        sleep=virtual.sleep,
    )
    await asyncio.wait_for(waiting, 10)
    return found


async def test_a_standstill_is_told_once() -> None:
    assert await stalls(*[0] * 1_000, 11) == [20]


async def test_a_standstill_is_told_again_after_something_has_moved() -> None:
    assert await stalls(*[None] * 300, *[5] * 300, 11) == [20, 50]


async def test_whoever_gets_on_slowly_does_not_stand_still() -> None:
    slowly = [offset for offset in range(11) for _ in range(150)]
    assert await stalls(*slowly, 11) == []


async def test_waiting_for_the_next_to_be_sent_is_no_standstill() -> None:
    virtual, complete, told = VirtualTime(), asyncio.Event(), list[float]()

    async def progress() -> Mapping[Partition, int]:
        if virtual.now > 1_000:
            complete.set()
        return {("orders", 0): 5}

    await wait_applied(
        progress,
        sent_to(1),
        complete,
        on_stalled=lambda: told.append(virtual.now),
        clock=virtual.clock,
        sleep=virtual.sleep,
    )
    assert told == []


# The command around it.


def test_a_partition_is_applied_as_far_as_all_who_read_it_have_come() -> None:
    rows = [
        ("sales", "orders", 0, 9),
        ("stock", "orders", 0, 5),
        ("sales", "orders", 1, 7),
        ("sales", "carts", 0, 8),
    ]
    assert applied_by_all(rows, {"orders": ["sales", "stock"]}) == {
        ("orders", 0): 5,
        ("orders", 1): 0,
    }


def test_every_topic_of_the_subscriptions_has_its_readers() -> None:
    assert "sales" in readers_by_topic()["orders"]
    assert all(readers_by_topic().values())


def test_rejected_lines_are_told_by_reason_with_the_first_of_each() -> None:
    rejected = [Rejected(line, "Quantity", "a quantity of zero") for line in (7, 9, 12)]
    rejected += [Rejected(line, "Country", f"[{line}]") for line in range(20, 40)]
    told = [*closing_lines(account(rejected), sent_to(1), Durations(1.0, 2.0, 1.0))]
    assert told[0].endswith("line 7 and 2 more: Quantity: a quantity of zero")
    assert told[1].endswith(r"line 20: Country: [20]")
    assert told[10].endswith("and 11 other reasons")
    assert told[-1] == (
        "[green]✓[/] 23 lines in 4.0 s, 6 lines/s: 1.0 s reading, 2.0 s sending, "
        "then 1.0 s until the last was committed"
    )


def account(rejected: Sequence[Rejected]) -> Account:
    return Account([], lines=len(rejected), events=0, rejected=rejected)
