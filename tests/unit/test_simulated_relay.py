"""The outbox's relay in a small world: every row reaches the log, in order, in effect once.

Kafka loses what it has acknowledged, answers late or not at all, and topics are made again; the
relay dies between any two steps. Random only by the seed that is printed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch
from uuid import UUID

import hypothesis
from aiokafka import TopicPartition
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams import codec, outbox
from streams.events import VOCABULARY, Event
from streams.log import LogUnavailable, Position
from streams.outbox import Relay
from streams.topics import TOPICS, key_of, partition_of, partitions_of
from tests.sales import said
from tests.simulated import VirtualLoop
from tests.unit.test_simulated_reader import SEED

PARTITIONS = 2
Row = dict[str, Any]
Place = tuple[str, int]


class Kafka:
    """The log of all topics; it may forget its tail, and what a topic was."""

    def __init__(self) -> None:
        self.values: dict[Place, list[bytes]] = {
            (topic, number): []
            for topic in TOPICS
            for number in range(partitions_of(topic, PARTITIONS))
        }
        self.incarnation = 1
        self.lose_answer = self.refuse = False

    @property
    def topic_id(self) -> UUID:
        return UUID(int=self.incarnation)

    # What the relay asks for.

    async def append(self, events: Sequence[Event]) -> list[Position]:
        await asyncio.sleep(0.001)
        if self.refuse:
            self.refuse = False
            raise LogUnavailable("refused")
        positions = []
        for event in events:
            topic = VOCABULARY[event.type].topic
            number = partition_of(key_of(event), partitions_of(topic, PARTITIONS))
            self.values[topic, number].append(codec.encode(event))
            positions.append(Position(topic, number, len(self.values[topic, number]) - 1))
        if self.lose_answer:
            self.lose_answer = False
            raise LogUnavailable("no answer")
        return positions

    async def topic_ids(self, _: str, topics: Sequence[str]) -> Mapping[str, UUID]:
        return dict.fromkeys(topics, self.topic_id)

    async def log_ends(self, _: str, tps: Sequence[TopicPartition]) -> Mapping[Any, Any]:
        return {tp: (0, len(self.values[tp.topic, tp.partition])) for tp in tps}

    async def read_back(self, _: str, stretches: Mapping[Any, Any]) -> AsyncIterator[Any]:
        for tp, (start, end) in stretches.items():
            values = self.values[tp.topic, tp.partition][start:end]
            yield tp, [_Record(start + n, value) for n, value in enumerate(values)]


class _Record:
    def __init__(self, offset: int, value: bytes) -> None:
        self.offset, self.value = offset, value


class Outbox:
    """The table, behind the statements that the relay makes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def _waits(self, rows: Sequence[Row]) -> list[Row]:
        for row in rows:
            row.update(acknowledged=False, topic_id=None, partition=None, record_offset=None)
        return list(rows)

    @property
    def _noted(self) -> list[Row]:
        return [row for row in self.rows if row["acknowledged"]]

    async def fetch(self, query: str, *given: Any) -> list[Row]:
        if query is outbox._WAITING:
            return [row for row in self.rows if not row["acknowledged"]][: given[0]]
        if query is outbox._STRANGE:
            now = dict(zip(*given, strict=True))
            strange = {r["topic"] for r in self._noted if now[r["topic"]] != r["topic_id"]}
            return [{"topic": topic} for topic in sorted(strange)]
        if query is outbox._FROM_ANOTHER_TOPIC:
            now = dict(zip(*given, strict=True))
            return self._waits([r for r in self._noted if now[r["topic"]] != r["topic_id"]])
        if query is outbox._BEYOND_THE_END:
            ends = {(topic, number): end for topic, number, end in zip(*given, strict=True)}
            beyond = [r for r in self._noted if r["record_offset"] >= ends[_place(r)]]
            return self._waits(beyond)
        if query is outbox._WAIT_AGAIN:
            return self._waits([row for row in self._noted if row["id"] in given[0]])
        assert query is outbox._LATEST
        topics, numbers, befores, most = given
        latest: list[Row] = []
        for topic, number, before in zip(topics, numbers, befores, strict=True):
            found = [r for r in self._noted if _place(r) == (topic, number)]
            found = [row for row in found if row["record_offset"] < before]
            latest += sorted(found, key=lambda row: -int(row["record_offset"]))[:most]
        return latest

    async def execute(self, query: str, *given: Any) -> None:
        assert query is outbox.ACKNOWLEDGED
        by_id = {row["id"]: row for row in self.rows}
        for row_id, topic_id, partition, offset in zip(*given, strict=True):
            by_id[row_id].update(
                acknowledged=True, topic_id=topic_id, partition=partition, record_offset=offset
            )

    def transaction(self) -> "Outbox":
        return self

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def _place(row: Row) -> Place:
    return row["topic"], row["partition"]


class Relaying(RuleBasedStateMachine):
    """Rows are written, relayed and lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.kafka, self.table = VirtualLoop(), Kafka(), Outbox()
        self.patches = [
            patch.object(outbox, name, getattr(self.kafka, name))
            for name in ("topic_ids", "log_ends", "read_back")
        ]
        for one in self.patches:
            one.start()
        self.topics: Mapping[str, UUID] = {}
        self._reconnect()

    def _run(self, doing: Any) -> Any:
        return self.loop.run_until_complete(doing)

    def _reconnect(self) -> None:
        async def nobody() -> Any: ...

        self.relay = Relay(nobody, "", PARTITIONS)
        self.topics = self._run(self.relay.check(self.table))  # type: ignore[arg-type]

    @rule(count=st.integers(1, 4), order=st.integers(1, 3))
    def something_is_said(self, count: int, order: int) -> None:
        for _ in range(count):
            row_id = len(self.table.rows) + 1
            event = said("OrderPaid", f"o{order}", event_id=f"e{row_id}", minutes=row_id)
            row: Row = {"id": row_id, "topic": "orders", "event": codec.encode(event)}
            self.table.rows.append(row | {"acknowledged": False})

    @rule()
    def it_relays(self) -> None:
        try:
            self._run(self.relay._append(self.table, self.kafka, self.topics))  # type: ignore[arg-type]
        except LogUnavailable:
            self._reconnect()

    @rule(answered=st.booleans())
    def kafka_will_fail(self, answered: bool) -> None:
        self.kafka.refuse, self.kafka.lose_answer = answered, not answered

    @rule()
    def it_dies_after_kafka_has_acknowledged(self) -> None:
        execute = self.table.execute
        self.table.execute = _dies  # type: ignore[method-assign, assignment]
        try:
            self._run(self.relay._append(self.table, self.kafka, self.topics))  # type: ignore[arg-type]
        except (_Dead, LogUnavailable):
            pass
        finally:
            self.table.execute = execute  # type: ignore[method-assign]
        self._reconnect()

    @precondition(lambda self: any(self.kafka.values.values()))
    @rule(data=st.data(), kept=st.floats(0, 1), regrown=st.booleans())
    def kafka_loses_its_tail(self, data: Any, kept: float, regrown: bool) -> None:
        place = data.draw(st.sampled_from([p for p, some in self.kafka.values.items() if some]))
        values = self.kafka.values[place]
        lost = len(values) - int(kept * len(values))
        del values[len(values) - lost :]
        if regrown:
            values += [b"another's"] * data.draw(st.integers(0, lost + 1))
        self._reconnect()

    @rule()
    def the_topics_are_made_again(self) -> None:
        self.kafka.incarnation += 1
        for values in self.kafka.values.values():
            values.clear()
        self._reconnect()

    @invariant()
    def what_is_noted_is_there(self) -> None:
        for row in self.table._noted:
            assert row["topic_id"] == self.kafka.topic_id
            assert self.kafka.values[_place(row)][row["record_offset"]] == row["event"]

    def teardown(self) -> None:
        try:
            self.kafka.refuse = self.kafka.lose_answer = False
            self._reconnect()
            while self._run(self.relay._append(self.table, self.kafka, self.topics)):  # type: ignore[arg-type]
                pass
            self.what_is_noted_is_there()
            assert all(row["acknowledged"] for row in self.table.rows)
            there = [value for values in self.kafka.values.values() for value in values]
            assert {row["event"] for row in self.table.rows} <= set(there)
        finally:
            for one in self.patches:
                one.stop()
            self.loop.close()


class _Dead(Exception):
    """The process is gone."""


async def _dies(*_: object) -> None:
    raise _Dead


def test_the_outbox_reaches_the_log_whatever_fails() -> None:
    print(f"TILLSTREAM_SEED={SEED}")  # noqa: T201
    hypothesis.seed(SEED)(Relaying)
    hypothesis.stateful.run_state_machine_as_test(
        Relaying,
        settings=settings(
            max_examples=120,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
