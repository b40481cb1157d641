"""A small world without servers: a loop whose clock jumps, a log in lists, a store in memory.

What runs in it is the product's own code, `GroupReader` and the folds; what it leans on is here,
and fails when it is told to.
"""

import asyncio
import selectors
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from unittest.mock import patch
from uuid import UUID

import msgspec
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import TopicPartition as Tp

from app.subscriptions import steps_of
from projections import orders
from projections.read_model import Folded, Setting
from projections.store import Prepared
from streams import money, subscribe
from streams.batch import Batch, Moved, Partition, Progress, Transient
from streams.topic_ids import Described

TOPIC_ID = UUID(int=7)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only where everything waits for it, and then all at once."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, for nothing")
        if not ready and timeout:
            self._loop.now += timeout
        return ready


class SimulatedLog:
    """Partitions of one topic as lists of (key, value)."""

    def __init__(self, partitions: int) -> None:
        self.records: list[list[tuple[bytes | None, bytes | None]]] = [
            [] for _ in range(partitions)
        ]

    def append(self, partition: int, key: bytes | None, value: bytes | None) -> int:
        self.records[partition].append((key, value))
        return len(self.records[partition]) - 1

    def record(self, partition: int, offset: int) -> ConsumerRecord:
        key, value = self.records[partition][offset]
        sizes = len(key or b""), len(value or b"")
        return ConsumerRecord(
            "orders", partition, offset, 1_700_000_000_000 + offset, 0, key, value, None, *sizes, ()
        )

    def stretch(self, partition: int, start: int, end: int) -> list[ConsumerRecord]:
        return [self.record(partition, offset) for offset in range(start, end)]

    # What `streams.subscribe` asks of Kafka.

    async def described(self, _: str, topics: Collection[str]) -> Mapping[str, Described]:
        return {topic: Described(TOPIC_ID, len(self.records)) for topic in topics}

    async def log_ends(self, _: str, tps: Sequence[Tp]) -> Mapping[Any, tuple[int, int]]:
        return {tp: (0, len(self.records[tp.partition])) for tp in tps}

    async def read_back(
        self, _: str, stretches: Mapping[Any, tuple[int, int]]
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[ConsumerRecord]]]:
        for tp, (start, end) in stretches.items():
            await asyncio.sleep(0.001)
            if start < end:
                yield TopicPartition(*tp), self.stretch(tp.partition, start, end)

    def installed(self) -> ExitStack:
        """Puts it in Kafka's place until the stack is closed."""
        stack = ExitStack()
        for name in ("described", "log_ends", "read_back"):
            stack.enter_context(patch.object(subscribe, name, getattr(self, name)))
        return stack


class Failure(Enum):
    """What becomes of a commit."""

    REFUSED = "nothing is applied, and it is said"
    UNKNOWN = "all is applied, the answer is lost"
    SLOW = "it takes two seconds"


_state = msgspec.json.Decoder(orders.Order, dec_hook=money.decode)
_STEPS = steps_of("sales")

Sums = dict[tuple[Any, ...], list[int]]


@dataclass
class Row:
    """A partition's row of progress."""

    next_offset: int = 0
    last_digest: int | None = None
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])


class SimulatedStore:
    """What Postgres keeps, and a transaction that is whole or nothing; shared by all readers."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.rows: dict[Partition, Row] = defaultdict(Row)
        self.states: dict[Any, orders.Order] = {}
        self.status: dict[Any, str] = {}
        self.revenue: Sums = defaultdict(lambda: [0] * 7)
        self.best_sellers: Sums = defaultdict(lambda: [0] * 6)
        self.days: set[tuple[Any, ...]] = set()
        self.quarantine: set[tuple[Partition, int]] = set()
        self.failures: list[Failure] = []

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        await asyncio.sleep(0.001)
        return {
            p: Progress(self.rows[p].next_offset, TOPIC_ID, self.rows[p].last_digest) for p in ids
        }

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:
        """As the real one: folded on what is stored, and on the batch before if that is under
        way."""
        folded: dict[str, Folded] = {}
        ground = (before, before.folded) if before is not None and not before.applied else None
        known_states = dict(self.states)
        await asyncio.sleep(0.002)
        for model, topics, of in _STEPS:
            given: Sequence[Any] = folded[of].changes if of else batch.facts(topics)
            known: dict[Any, Any] = {}
            if model.load is not None and given:
                known = {**known_states, **(ground[1][model.name].states if ground else {})}
            folded[model.name] = model.fold(given, known, self.setting)
        return Prepared(batch, folded, self.setting, ground)

    async def commit(self, prepared: Prepared) -> None:
        if not prepared.stands():
            prepared.folded = (await self.prepare(prepared.batch)).folded
            prepared.ground = None
        failure = self.failures.pop(0) if self.failures else None
        await asyncio.sleep(2.0 if failure is Failure.SLOW else 0.003)
        if failure is Failure.REFUSED:
            raise Transient("refused")
        parts = prepared.batch.parts
        if any(self.rows[part.partition].next_offset != part.first for part in parts):
            raise Moved({p.partition: self.rows[p.partition].next_offset for p in parts})
        self._apply(prepared)
        if failure is Failure.UNKNOWN:
            raise Transient("no answer")
        prepared.applied, prepared.ground = True, None

    def _apply(self, prepared: Prepared) -> None:
        for part in prepared.batch.parts:
            row = self.rows[part.partition]
            row.next_offset, row.last_digest = part.next, part.last_digest
            for n, some in enumerate((part.facts, part.repeated, part.quarantined)):
                row.counts[n] += len(some)
            self.quarantine |= {(part.partition, one.offset) for one in part.quarantined}
        folded = prepared.folded
        for shop, order_id, status, state, is_new, *_ in folded["orders"].rows:
            key = shop, order_id
            assert bool(is_new) == (key not in self.states), "copied in where it is, or the reverse"
            self.states[key], self.status[key] = _state.decode(state), status
        for *key, a, b, c, d, e, f, g in folded["revenue"].rows:
            _add(self.revenue[tuple(key)], (a, b, c, d, e, f, g))
        for *key, _name, a, b, c, d, e, f in folded["best_sellers"].rows:
            _add(self.best_sellers[tuple(key)], (a, b, c, d, e, f))
        self.days.update(folded["day_changes"].rows)

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None: ...

    async def resumed(self) -> None: ...


def _add(row: list[int], amounts: Iterable[int]) -> None:
    row[:] = [known + more for known, more in zip(row, amounts, strict=True)]
