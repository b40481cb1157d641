"""Readers in a small world: everything counts once, whatever fails, whenever.

Hypothesis says what happens next; all that is random comes from one seed, which is printed
(`TILLSTREAM_SEED=… pytest …` repeats a run). Time is virtual, so hundreds of runs take seconds.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
from aiokafka import TopicPartition
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadtests.chaos.records import Fate, Judge, Record
from loadtests.chaos.recount import MEASURES, recount
from projections.clock import ShopClock
from projections.read_model import Setting
from streams import codec
from streams.batch import LogChanged, Partition
from streams.chunk import Chunk
from streams.subscribe import GroupReader
from streams.topics import key_of, partition_of
from tests.sales import AT, line, said
from tests.simulated import Failure, SimulatedLog, SimulatedStore, VirtualLoop

SEED = int(os.environ.get("TILLSTREAM_SEED") or secrets.randbelow(1 << 32))
PARTITIONS = 2
WINDOW = 12
MUCH = 20  # events, from which on no more come at once: each step recounts them all
SETTING = Setting(ShopClock(ZoneInfo("UTC")), AT)


class Arrived:
    """A chunk, as Faust's event brings it."""

    def __init__(self, value: Chunk) -> None:
        self.value = value


class Worker:
    """A reader, what it is given, and its two endless tasks."""

    def __init__(self, loop: VirtualLoop, store: SimulatedStore) -> None:
        self.reader: GroupReader[Any] = GroupReader(
            store, "", "", WINDOW, 8, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC)
        )
        self.seek = 0
        self.at: dict[int, int] = {}
        self.acknowledged = 0
        self._waiting: asyncio.Queue[Arrived] = asyncio.Queue()
        self._tasks = [
            loop.create_task(self.reader.consume(self)),
            loop.create_task(self.reader.apply(self._acknowledge)),
        ]

    def noack(self) -> "Worker":
        return self

    async def events(self) -> AsyncIterator[Arrived]:
        while True:
            yield await self._waiting.get()

    def _acknowledge(self, _: Any) -> None:
        self.acknowledged += 1

    @property
    def failure(self) -> BaseException | None:
        ended = [task for task in self._tasks if task.done()]
        return ended[0].exception() if ended else None

    async def assign(self, partitions: Sequence[int]) -> None:
        self.seek += 1
        wanted = {TopicPartition("orders", number) for number in partitions}
        positions = await self.reader.resume(wanted, self.seek)
        self.at = {tp.partition: offset for tp, offset in positions.items()}

    def fetch(self, log: SimulatedLog, most: int) -> None:
        """What a poll brings, chunk by chunk."""
        for number, offset in self.at.items():
            end = min(len(log.records[number]), offset + most)
            if offset < end:
                records = log.stretch(number, offset, end)
                self._waiting.put_nowait(Arrived(Chunk("orders", number, records, self.seek)))
                self.at[number] = end

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


kinds = st.sampled_from(
    ["OrderCompleted", "OrderCompleted", "OrderRefunded", "OrderCancelled", "OrderUpdated"]
)


class Readers(RuleBasedStateMachine):
    """Two workers share a group. Nothing a worker does not commit may matter."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.log = SimulatedLog(PARTITIONS)
        self.installed = self.log.installed()
        self.store = SimulatedStore(SETTING)
        self.workers = [Worker(self.loop, self.store) for _ in range(2)]
        self.count = 0
        self._run(self._give([0], [1]))

    def _run(self, doing: Any) -> None:
        self.loop.run_until_complete(doing)

    async def _give(self, *parts: Sequence[int]) -> None:
        for worker, part in zip(self.workers, parts, strict=True):
            await worker.assign(part)

    # What comes in.

    @rule(kind=kinds, order=st.integers(1, 3), price=st.sampled_from(["0.0001", "2.55", "3.3333"]))
    def something_is_told(self, kind: str, order: int, price: str) -> None:
        self.count += 1
        sold: dict[str, Any] = (
            {} if kind == "OrderCancelled" else {"products": [line("p", price, 2), line("q", "1")]}
        )
        event = said(
            kind, f"o{order}", event_id=f"e{self.count}", minutes=self.count * 7 % 130, **sold
        )
        self._append(codec.encode(event), key_of(event))

    @precondition(lambda self: self.count < MUCH)
    @rule(order=st.integers(1, 3), count=st.integers(8, 16))
    def much_is_told_of_one_order(self, order: int, count: int) -> None:
        for _ in range(count):
            self.something_is_told("OrderRefunded", order, "0.0001")

    def _append(self, value: bytes, key: bytes) -> None:
        self.log.append(partition_of(key, PARTITIONS), key, value)

    @precondition(lambda self: any(self.log.records))
    @rule(data=st.data(), otherwise=st.booleans())
    def something_is_told_again(self, data: Any, otherwise: bool) -> None:
        number = data.draw(st.sampled_from([n for n, some in enumerate(self.log.records) if some]))
        key, value = data.draw(st.sampled_from(self.log.records[number][-2 * WINDOW :]))
        if value and otherwise:
            value = value.replace(b'"p"', b'"other"')
        self.log.append(number, key, value)

    @rule(number=st.integers(0, PARTITIONS - 1), value=st.sampled_from([b"{", None, b'{"id":1}']))
    def something_is_written_that_is_no_event(self, number: int, value: bytes | None) -> None:
        self.log.append(number, b"k", value)

    # What is done with it.

    @rule(number=st.integers(0, 1), most=st.integers(1, 6))
    def a_worker_fetches(self, number: int, most: int) -> None:
        self.workers[number].fetch(self.log, most)

    @rule(seconds=st.sampled_from([0.001, 0.002, 0.003, 0.004, 0.005, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(asyncio.sleep(seconds))

    # What goes wrong.

    @rule(failure=st.sampled_from(list(Failure)))
    def a_commit_will_fail(self, failure: Failure) -> None:
        self.store.failures.append(failure)

    @rule(number=st.integers(0, 1), in_order=st.booleans())
    def a_worker_is_killed(self, number: int, in_order: bool) -> None:
        worker = self.workers[number]
        if in_order:
            self._run(worker.reader.release())
        self._run(worker.kill())
        self.workers[number] = Worker(self.loop, self.store)
        self._run(self.workers[number].assign(list(worker.at)))

    @rule(owners=st.lists(st.integers(0, 1), min_size=PARTITIONS, max_size=PARTITIONS))
    def partitions_change_hands(self, owners: Sequence[int]) -> None:
        for worker in self.workers:
            self._run(worker.reader.release())
        self._run(self._give(*self._of(owners)))

    @rule(
        taker=st.integers(0, 1),
        what=st.sampled_from([[0], [1], [0, 1]]),
        most=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    )
    def a_zombie_is_taken_for_dead(
        self, taker: int, what: Sequence[int], most: tuple[int, int]
    ) -> None:
        """One is given what another reads, who does not know that, and is in the midst of it: of
        its batch the store has none, some or all."""
        self._run(self.workers[taker].assign(what))
        for worker, records in zip(
            (self.workers[1 - taker], self.workers[taker]), most, strict=True
        ):
            worker.fetch(self.log, records)

    @rule(number=st.integers(0, 1), most=st.integers(1, 6), moved=st.booleans())
    def partitions_come_again_while_chunks_of_before_wait(
        self, number: int, most: int, moved: bool
    ) -> None:
        """The reader begins where the store is, and gets what was fetched from further on."""
        worker = self.workers[number]
        for _ in range(4):
            worker.fetch(self.log, most)
        if moved:
            self._run(asyncio.sleep(0))  # some of them on their way already
        self._run(worker.assign(list(worker.at)))

    def _of(self, owners: Sequence[int]) -> list[list[int]]:
        return [[n for n, owner in enumerate(owners) if owner == worker] for worker in range(2)]

    # What has to hold.

    @invariant()
    def what_is_stored_is_what_the_log_says_up_to_there(self) -> None:
        check(self.log, self.store)

    @invariant()
    def no_worker_gives_up(self) -> None:
        for worker in self.workers:
            assert not isinstance(worker.failure, LogChanged | Exception), worker.failure

    def teardown(self) -> None:
        """Heal, stop the load, and converge."""
        try:
            self.store.failures.clear()
            for worker in self.workers:
                self._run(worker.reader.release())
            self._run(self._give([0, 1], []))
            for _ in range(40):
                self.workers[0].fetch(self.log, 100)  # more would go to a thread
                self._run(asyncio.sleep(0.5))
            for number, records in enumerate(self.log.records):
                assert self.store.rows[Partition("orders", number)].next_offset == len(records)
            check(self.log, self.store)
        finally:
            self._run(_end_all())
            self.installed.close()
            self.loop.close()


async def _end_all() -> None:
    """Also what killed workers have left under way, as a server would go on with it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def check(log: SimulatedLog, store: SimulatedStore) -> None:
    """Every read model, against a recount of the log up to the store's offsets."""
    judge, events, aside = Judge(PARTITIONS, WINDOW), [], set()
    for number, records in enumerate(log.records):
        partition = Partition("orders", number)
        row = store.rows[partition]
        raw = [Record(number, n, *record) for n, record in enumerate(records[: row.next_offset])]
        judged = judge.judge(raw)
        fates = [one.fate for one in judged]
        assert row.counts == [fates.count(fate) for fate in Fate]
        events += [one.event for one in judged if one.fate is Fate.COUNTS and one.event]
        aside |= {(partition, one.record.offset) for one in judged if one.fate is Fate.QUARANTINED}
    assert store.quarantine == aside
    books = recount(events)
    assert {key: page.status for key, page in books.orders.items()} == store.status
    revenue = {
        (shop, dimension, int(hour.timestamp()), key, currency): measures
        for (shop, dimension, hour, key, currency), measures in books.revenue.items()
    }
    assert revenue == _nonzero(store.revenue, MEASURES)
    sellers = {
        key: {name: value for name, value in measures.items() if name != "adjustments"}
        for key, measures in books.best_sellers.items()
    }
    measures = ("gross", "discounts", "refunds", "orders", "units", "refunded_units")
    assert sellers == _nonzero(store.best_sellers, measures)
    days = {(row[0], row[2].date()) for row in books.revenue}
    assert days <= store.days


def _nonzero(sums: Any, names: Sequence[str]) -> dict[Any, dict[str, Decimal]]:
    money = ("gross", "discounts", "refunds", "adjustments")
    found = {
        key: {
            name: Decimal(value) / (10_000 if name in money else 1)
            for name, value in zip(names, row, strict=True)
            if value
        }
        for key, row in sums.items()
    }
    return {key: measures for key, measures in found.items() if measures}


def test_readers_count_everything_once_whatever_fails() -> None:
    print(f"TILLSTREAM_SEED={SEED}")  # noqa: T201
    hypothesis.seed(SEED)(Readers)
    hypothesis.stateful.run_state_machine_as_test(
        Readers,
        settings=settings(
            max_examples=120,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
