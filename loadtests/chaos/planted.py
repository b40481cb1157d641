"""Bugs, planted on purpose: `python -m loadtests.chaos.planted NAME worker` is a worker with one.

A checker that has never found anything proves nothing. Each bug is one that somebody has had in
earnest; nothing of them is in the product, they are put over it here. With each goes the fault that
brings it to light.
"""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer
from faust.types import TP

from projections import fence, live, orders, store
from projections.live import LiveFigures, Publisher
from projections.read_model import Figure
from projections.store import GroupStore, Prepared
from streams import money, records, subscribe
from streams.batch import Moved, Part
from streams.crash_points import reached
from streams.dedupe import Seen, Window
from streams.subscribe import GroupReader


class Planted(NamedTuple):
    """A bug, and the faults under which it shows."""

    plant: Callable[[], None]
    faults: Sequence[str]


def dedupe_off() -> None:
    """Whatever comes counts."""
    judge = records.judge

    def all_new(*arguments: Any) -> Sequence[int]:
        return [int(Seen.NEW)] * len(judge(*arguments))

    vars(records)["judge"] = all_new


def window_lost() -> None:
    """What was seen before the start of a worker is not known to it."""

    def remember(last: Sequence[Any], window: Window) -> None:
        window.end = last[-1].offset + 1

    vars(subscribe)["remember"] = remember


def last_write_wins() -> None:
    """An id that is used again for something else counts again."""
    judge = records.judge

    def trusting(*arguments: Any) -> Sequence[int]:
        new, contradicted = int(Seen.NEW), int(Seen.CONTRADICTED)
        return [new if seen == contradicted else seen for seen in judge(*arguments)]

    vars(records)["judge"] = trusting


def _one_by_one(*, progress_first: bool) -> None:
    """What belongs into one transaction is committed in two: offsets and figures; or offsets with
    the first read model, and then the others."""

    async def commit(self: GroupStore, prepared: Prepared) -> None:
        if not prepared.stands():
            prepared.folded = (await self.prepare(prepared.batch)).folded
            prepared.ground = None
        parts, figures = prepared.batch.parts, list[Figure]()
        first = 0 if progress_first else 1
        try:
            async with self._transaction() as transaction:
                await self._advance(transaction, parts)
                await self._keep_quarantined(transaction, parts)
                for model, *_ in self._steps[:first]:
                    if rows := prepared.folded[model.name].rows:
                        await model.put(transaction, rows, prepared.setting)
        except store.Fenced:
            raise Moved(await self._next_offsets(parts)) from None
        reached("progress_moved")
        async with self._transaction() as transaction:
            for model, *_ in self._steps[first:]:
                if rows := prepared.folded[model.name].rows:
                    figures += await model.put(transaction, rows, prepared.setting)
        prepared.applied, prepared.ground = True, None
        if self.publisher is not None:
            self.publisher.offer(figures)

    GroupStore.commit = commit  # type: ignore[method-assign]


def acknowledged_early() -> None:
    """A batch is ticked off before its figures are committed."""
    _one_by_one(progress_first=True)


def not_atomic() -> None:
    """Orders are committed with the offsets, what builds on them in a transaction of its own."""
    _one_by_one(progress_first=False)


def no_fence() -> None:
    """A batch is applied wherever the offsets are."""
    bound = "AND progress.next_offset = first_offset"
    assert bound in fence.MOVE
    fence.MOVE = fence.MOVE.replace(bound, "")


def offsets_of_kafka() -> None:
    """Reading goes on where Kafka says that the group was."""
    no_fence()
    resume = GroupReader.resume

    async def as_committed(
        self: GroupReader[Any], partitions: Set[TP], seek: int
    ) -> Mapping[TP, int]:
        found = dict(await resume(self, partitions, seek))
        group = f"{self._prefix}sales"
        async with AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=group, enable_auto_commit=False
        ) as consumer:
            return {tp: await consumer.committed(tp) or 0 for tp in found}

    GroupReader.resume = as_committed  # type: ignore[method-assign]


def float_money() -> None:
    """Amounts are floats for a moment."""

    def decode(kind: type, value: object) -> Any:
        return kind(int(float(str(value)) * money.UNIT))

    money._decode = money._decode_text = decode  # type: ignore[assignment]


def increments() -> None:
    """Redis is told by how much a figure has changed, as far as this worker remembers."""
    before: dict[tuple[str, str, str], Mapping[str, Any]] = {}

    async def publish(self: LiveFigures, figures: Sequence[Figure]) -> None:
        if not await self._redis.exists(self.epoch_key):
            raise live.EpochLost
        for figure in figures:
            name = figure.metric, figure.shop, figure.key
            where = self._hash(figure.shop, figure.metric, figure.day)
            held: Any = await self._redis.hget(where, figure.key)
            there = msgspec.json.decode(held.split(b" ", 2)[2])["value"] if held else {}
            value = dict(figure.value)
            for measure in value.keys() & {"gross", "net", "orders", "units"}:
                change = Decimal(value[measure]) - Decimal(before.get(name, {}).get(measure, 0))
                total = Decimal(there.get(measure, 0)) + change
                value[measure] = int(total) if measure in ("orders", "units") else str(total)
            before[name] = figure.value
            encoded = live.encode(figure._replace(value=value))
            await self._redis.hset(where, figure.key, b"1 %d %b" % (figure.revision, encoded))

    LiveFigures.publish = publish  # type: ignore[method-assign]


def never_refilled() -> None:
    """What Redis has lost comes back only if it changes."""
    refill = LiveFigures.refill

    async def empty(self: LiveFigures, figures: Sequence[Figure]) -> None:
        del figures
        await refill(self, ())

    LiveFigures.refill = empty  # type: ignore[method-assign]
    assert Publisher is live.Publisher


def quarantine_dropped() -> None:
    """What is no event is passed over, and kept nowhere."""

    async def passed_over(self: GroupStore, transaction: Any, parts: Collection[Part]) -> None: ...

    GroupStore._keep_quarantined = passed_over  # type: ignore[method-assign]


def not_taken_back() -> None:
    """What an order comes to now is added; what it came to before stays."""
    orders.difference = lambda old, new: [one for one in new if one not in old]


def by_arrival() -> None:
    """Of two events that say the same, the one that came last holds."""
    vars(orders)["_earlier"] = lambda _known, told: told


PLANTED: Mapping[str, Planted] = {
    "dedupe off": Planted(dedupe_off, ("disorder",)),
    "dedupe window lost at a start": Planted(window_lost, ("worker killed+disorder",)),
    "last write wins": Planted(last_write_wins, ("disorder",)),
    "acknowledged before the commit": Planted(acknowledged_early, ("killed at progress_moved",)),
    "read models committed one by one": Planted(not_atomic, ("killed at progress_moved",)),
    "no fence": Planted(no_fence, ("commits cut",)),
    "offsets from Kafka": Planted(offsets_of_kafka, ("offsets moved",)),
    "float money": Planted(float_money, ("disorder",)),
    "increments in Redis": Planted(increments, ("worker killed",)),
    "Redis never refilled": Planted(never_refilled, ("Redis flushed",)),
    "quarantine dropped": Planted(quarantine_dropped, ("poison",)),
    "old contribution kept": Planted(not_taken_back, ("disorder",)),
    "by arrival": Planted(by_arrival, ("disorder",)),
}


if __name__ == "__main__":
    PLANTED[sys.argv.pop(1)].plant()
    from app.cli import main

    main()
