"""Sales records made of the log itself, up to the positions that those kept are of.

The orders of one period are folded once more, from the events of their whole lives, and added up
here: no table is read. The log is gone through twice, first for which orders have to do with the
period, then for their events alone: so it takes memory for the period, however long the log is.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from aiokafka import TopicPartition

from projections.clock import ShopClock
from projections.orders import ORDERS, Posting
from projections.read_model import Setting
from projections.records import Record, RecordGrain, Sums
from projections.refold import Offsets, Source
from streams.aside import aside
from streams.batch import LogChanged, Partition
from streams.codec import Fact
from streams.dedupe import Window
from streams.readback import log_ends, read_back
from streams.records import decode_part
from streams.topic_ids import described

TOPIC = "orders"
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_MOST_AT_ONCE = 2_500  # records

Key = tuple[date, str]  # period, currency


class Stretch(NamedTuple):
    """What to read: the log of orders before these offsets, but what was told to be passed by."""

    offsets: Offsets
    skipped: Mapping[Partition, Mapping[int, str]]


class Difference(NamedTuple):
    """A record that is kept otherwise than the log has it; None where there is none."""

    period: date
    currency: str
    kept: Sums | None
    log: Sums | None


async def sums_of_log(
    source: Source,
    stretch: Stretch,
    shop: str,
    first: date,
    last: date,
    grain: RecordGrain = "day",
    tell: Callable[[int], object] = lambda _: None,
) -> dict[Key, Sums]:
    """What a shop's days first..last come to, by period and currency; `tell` hears how many records
    were read, of twice those that there are.

    Raises LogChanged, ReadBackFailed, OSError, KafkaError.
    """
    days, read = range(first.toordinal(), last.toordinal() + 1), 0
    orders: set[str] = set()
    async for count, facts in _facts(source, stretch):
        read += count
        tell(read)
        orders.update(
            fact.event.subject
            for fact in facts
            if fact.event.shop == shop and _day(source.clock, fact.event.time) in days
        )
    of_orders: list[Fact] = []
    async for count, facts in _facts(source, stretch):
        read += count
        tell(read)
        of_orders += _of(facts, shop, orders)
    return await aside(len(of_orders), _sums, of_orders, source.clock, days, grain)


def _of(facts: Iterable[Fact], shop: str, orders: Collection[str]) -> list[Fact]:
    return [fact for fact in facts if fact.event.shop == shop and fact.event.subject in orders]


def _day(clock: ShopClock, at: datetime) -> int:
    return clock.day(clock.hour(at)).toordinal()


async def _facts(source: Source, stretch: Stretch) -> AsyncIterator[tuple[int, Sequence[Fact]]]:
    """The facts of the log, as the workers hear them, each time with how many records were read."""
    name = source.prefix + TOPIC
    numbers = sorted(partition.number for partition in stretch.offsets)
    tps = {TopicPartition(name, number): Partition(TOPIC, number) for number in numbers}
    for tp, (begin, _) in (await log_ends(source.kafka, list(tps))).items():
        if begin:
            raise LogChanged(f"{tps[tp]}: the log begins at {begin}, and not with its first event")
    count = (await described(source.kafka, [name]))[name].partitions
    windows = {tp: Window(source.window) for tp in tps}
    stretches = {tp: (0, stretch.offsets[partition]) for tp, partition in tps.items()}
    async for tp, records in read_back(source.kafka, stretches):
        skipped = stretch.skipped.get(tps[tp], {})
        for start in range(0, len(records), _MOST_AT_ONCE):
            few = records[start : start + _MOST_AT_ONCE]
            part = await aside(len(few), decode_part, tps[tp], few, windows[tp], count, skipped)
            yield len(few), part.facts


def _sums(
    facts: Sequence[Fact], clock: ShopClock, days: Collection[int], grain: RecordGrain
) -> dict[Key, Sums]:
    postings: Sequence[Posting] = ORDERS.fold(facts, {}, Setting(clock, _NEVER)).changes
    found: dict[Key, list[int]] = defaultdict(lambda: [0] * 6)
    buyers: dict[Key, set[str]] = defaultdict(set)
    for posting in postings:
        day = _day(clock, posting.at)
        if day not in days:
            continue
        period = date.fromordinal(day)
        key = (period if grain == "day" else period.replace(day=1), posting.currency)
        sums = found[key]
        sums[4] += posting.orders
        if posting.orders and posting.customer:
            buyers[key].add(posting.customer)
        for line in posting.lines:
            sums[0] += line.gross
            sums[1] += line.discounts
            sums[2] += line.refunds
            sums[3] += line.tax
            sums[5] += line.units
    return {
        key: Sums(*sums)._replace(customers=len(buyers[key]))
        for key, sums in sorted(found.items())
        if any(sums)
    }


def differences(kept: Iterable[Record], log: Mapping[Key, Sums]) -> list[Difference]:
    """Where what is kept is not what the log comes to; records of zeros say nothing."""
    nothing = Sums()
    of_kept = {(one.period, one.currency): one.sums for one in kept if one.sums != nothing}
    return [
        Difference(*key, of_kept.get(key), log.get(key))
        for key in sorted({*of_kept, *log})
        if of_kept.get(key) != log.get(key)
    ]
