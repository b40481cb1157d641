"""The figures held against the log by lot: a few orders of one partition, and a day of theirs.

The orders are folded anew from the whole log of their partition, and compared with those served. A
day on which one of them counts is added up anew from all orders that are served, and compared with
what is served of it. Together that is a way from the log to the figures, at little cost: it takes
memory for the sample alone, and rests as a worker is told to.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import structlog
import xxhash
from aiokafka import TopicPartition
from msgspec import Struct

from projections import skips
from projections.contents import Comparison, Side, compared, of_day, of_keys, together
from projections.erasure import count, erased
from projections.orders import ORDERS, postings_on
from projections.postgres import connect_alone
from projections.read_model import Setting, one_generation
from projections.refold import Group, Source, offsets_of
from projections.verify import Checked, keep, same_versions
from streams.aside import aside
from streams.batch import LogChanged, Partition
from streams.codec import Fact
from streams.dedupe import Window
from streams.erased import Erased
from streams.exclusive import Connection, alone
from streams.readback import log_ends, read_back
from streams.records import decode_part
from streams.topic_ids import described

logger = structlog.get_logger()

_MOST_DAYS = 7
_AT_ONCE = 500  # records
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_PAUSE_SECONDS = 5.0

Key = tuple[str, str]


class Drawn:
    """So many keys, or up to twice as many, of all that come by: those with the least hashes."""

    def __init__(self, number: int, seed: int) -> None:
        self._number = number
        self._seed = seed
        self._below = 1 << 64
        self.facts: dict[Key, list[Fact]] = {}

    def offer(self, fact: Fact) -> None:
        """A fact counts if its key is drawn."""
        key = (fact.event.shop, fact.event.subject)
        if self._hash(key) >= self._below:
            return
        self.facts.setdefault(key, []).append(fact)
        while len(self.facts) > 2 * self._number:
            self._below //= 2
            self.facts = {
                k: found for k, found in self.facts.items() if self._hash(k) < self._below
            }

    def _hash(self, key: Key) -> int:
        return xxhash.xxh3_64_intdigest(f"{key[0]}\0{key[1]}".encode(), self._seed)


class _Reading(Struct):
    """How far a partition is read, and what was drawn from it."""

    partition: Partition
    of: int  # partitions that the topic has
    at: int
    window: Window
    drawn: Drawn
    skipped: Mapping[int, str]
    erased: Erased

    async def to(self, end: int, source: Source, rest: float) -> None:
        """Reads on; after each few records it rests so many times as long as they took."""
        name = TopicPartition(source.prefix + self.partition.topic, self.partition.number)
        async for _, records in read_back(source.kafka, {name: (self.at, end)}):
            for start in range(0, len(records), _AT_ONCE):
                begun = time.monotonic()
                few = records[start : start + _AT_ONCE]
                part = await aside(
                    len(few), decode_part, self.partition, few, self.window, self.of, self.skipped
                )
                for fact in self.erased.facts(part.facts):
                    self.drawn.offer(fact)
                await asyncio.sleep(rest * (time.monotonic() - begun))
        self.at = end


async def verify_sample(
    group: Group, source: Source, number: int, random: Random, rest: float = 0.0
) -> list[Checked]:
    """Checks about so many orders of one partition, and up to seven days on which they count.

    Raises ReadModelChanged, LogChanged, ReadBackFailed, OSError, PostgresError, KafkaError.
    """
    begun = time.monotonic()
    async with _connections(group) as (served, scratch):
        live = await offsets_of(served, group.name, group.schema)
        partitions = [p for p, end in live.items() if p.topic in _topics(group) and end]
        if not partitions:
            return []
        drawn = Drawn(number, random.getrandbits(63))
        partition = random.choice(partitions)
        skipped = (await skips.of_group(served, group.name)).get(partition, {})
        names = await erased(served)
        reading = await _begun(source, partition, drawn, skipped, names)
        await reading.to(live[reading.partition], source, rest)
        async with served.transaction(isolation="repeatable_read", readonly=True):
            await one_generation(served)
            await same_versions(served, [step.model for step in group.steps])
            if await count(served) != names.count:
                return []  # somebody was erased meanwhile, and is known by two names here
            offsets = await offsets_of(served, group.name, group.schema)
            await reading.to(offsets[reading.partition], source, 0.0)
            found = await _compare(group, source, drawn, served, scratch, number, random)
        offsets = {reading.partition: offsets[reading.partition]}
        seconds = time.monotonic() - begun
        checked = [Checked(name, "sample", one, offsets, seconds) for name, one in found.items()]
        await keep(scratch, checked)
    return checked


def _topics(group: Group) -> Sequence[str]:
    return next((step.topics for step in group.steps if step.model.name == ORDERS.name), ())


async def _begun(
    source: Source,
    partition: Partition,
    drawn: Drawn,
    skipped: Mapping[int, str],
    names: Erased,
) -> _Reading:
    """A partition at its beginning. Raises LogChanged where the log has lost it."""
    name = TopicPartition(source.prefix + partition.topic, partition.number)
    first, _ = (await log_ends(source.kafka, [name]))[name]
    if first:
        # What is left of an order's events would come to other figures, and those are not wrong.
        raise LogChanged(
            f"{partition.topic}:{partition.number}: the log begins at {first}: what stood before "
            "cannot be folded again"
        )
    count = (await described(source.kafka, [name.topic]))[name.topic].partitions
    return _Reading(partition, count, first, Window(source.window), drawn, skipped, names)


@asynccontextmanager
async def _connections(group: Group) -> AsyncIterator[tuple[Connection, Connection]]:
    """One that sees what is served, and one with tables of its own, which end with it."""
    async with AsyncExitStack() as stack:
        served, scratch = [await connect_alone(group.dsn, group.schema) for _ in range(2)]
        stack.push_async_callback(served.close)
        stack.push_async_callback(scratch.close)
        for table in group.tables:
            await scratch.execute(
                f'CREATE TEMP TABLE {table} (LIKE "{group.schema}".{table} INCLUDING ALL)'
            )
        yield served, scratch


async def _compare(
    group: Group,
    source: Source,
    drawn: Drawn,
    served: Connection,
    scratch: Connection,
    number: int,
    random: Random,
) -> dict[str, Comparison]:
    """What is served of the drawn orders and their days, against what it has to be."""
    setting = Setting(source.clock, _NEVER)  # nobody is told of what changes here
    facts = [fact for of_key in drawn.facts.values() for fact in of_key]
    folded = ORDERS.fold(facts, {}, setting)
    found: dict[str, list[Comparison]] = {}
    assert ORDERS.contents is not None
    if keys := [(row[0], row[1]) for row in folded.rows]:
        async with scratch.transaction():
            await ORDERS.put(scratch, folded.rows, setting)
            found[ORDERS.name] = [
                compared(
                    await of_keys(Side(served, group.schema), ORDERS.contents, keys),
                    await of_keys(Side(scratch, group.schema), ORDERS.contents, keys),
                )
            ]
    clock = source.clock
    days = sorted({(posting.shop, clock.day(clock.hour(posting.at))) for posting in folded.changes})
    for shop, day in random.sample(days, min(number, _MOST_DAYS, len(days))):
        steps = [
            (step.model, contents)
            for step in group.steps
            if step.of == ORDERS.name and (contents := step.model.contents) and contents.of_day
        ]
        async for changes in postings_on(served, shop, day, clock):
            for model, _ in steps:
                rows = await aside(len(changes), model.fold, changes, {}, setting)
                async with scratch.transaction():
                    await model.put(scratch, rows.rows, setting)
        for model, contents in steps:
            async with scratch.transaction():
                ours = await of_day(Side(scratch, group.schema), contents, shop, day, clock)
            theirs = await of_day(Side(served, group.schema), contents, shop, day, clock)
            found.setdefault(model.name, []).append(compared(theirs, ours))
    return {name: together(of_model) for name, of_model in found.items()}


class Sampler:
    """Checks a sample now and then, in one worker of a group, and says so where figures differ."""

    def __init__(
        self,
        group: Group,
        source: Source,
        number: int,
        every: timedelta,
        rest: float,
        random: Callable[[], Random] = Random,
    ) -> None:
        self._group = group
        self._source = source
        self._number = number
        self._every = every.total_seconds()
        self._rest = rest
        self._random = random()

    async def run(self) -> None:
        """Checks, for ever, while no other process does. Never fails."""

        async def connected() -> Connection:
            return await connect_alone(self._group.dsn, self._group.schema)

        while True:
            try:
                async with alone(connected, f"sample/{self._group.name}"):
                    while True:
                        await asyncio.sleep(self._every)
                        await self.turn()
            except Exception as error:
                # Whatever it was, it must not stop the folds.
                logger.warning("no sample was checked", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def turn(self) -> None:
        """Checks one sample."""
        checked = await verify_sample(
            self._group, self._source, self._number, self._random, self._rest
        )
        for one in checked:
            if one.found.differing:
                logger.critical(
                    "figures are not what the log says: see `tillstream verify`",
                    read_model=one.read_model,
                    differing=one.found.differing,
                    examples=[example.key for example in one.found.examples[:3]],
                )
