"""What Kafka itself has lost: there a reader must stop and say so, and never skip.

Each loss is done to a topic of its own, to a worker that is down or that is reading.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from random import Random

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.stack.up import Stack
from loadtests.chaos import records
from loadtests.chaos.load import Load
from loadtests.chaos.run import Round, Tell, told
from loadtests.chaos.site import Impatient, Site, opened, until
from loadtests.chaos.traffic import USUAL, traffic
from streams.topics import create_topics

PARTITIONS = 2
_EVENTS, _MORE = 400, 200
_REFUSES_SECONDS = 60.0
_ASKED_SECONDS = 2.0  # by then Kafka has answered what a reader had asked before
_WORDS = "LogChanged"

Damage = Callable[[Site], Awaitable[None]]


async def recreated(site: Site) -> None:
    """The topic is deleted, and there is a new one of its name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.servers.kafka)
    await admin.start()
    try:
        await admin.delete_topics([site.topic])

        async def gone() -> bool:
            return site.topic not in await admin.list_topics()

        await until(gone, 30, "the topic was not deleted")
    finally:
        await admin.close()
    await create_topics(site.servers.kafka, PARTITIONS, site.settings.prefix)
    await _send(site, _MORE)


async def passed_by_retention(site: Site) -> None:
    """What was not read yet is deleted. Who reads is asleep meanwhile, as a machine may be."""
    (slot,) = site.workers
    asleep = site.signal(slot, signal.SIGSTOP)
    try:
        if asleep:
            await asyncio.sleep(_ASKED_SECONDS)
        await _send(site, _MORE)
        await _delete_all(site)
    finally:
        site.signal(slot, signal.SIGCONT)


async def _delete_all(site: Site) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=site.servers.kafka)
    await admin.start()
    try:
        names = [TopicPartition(site.topic, number) for number in range(PARTITIONS)]
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in names})
    finally:
        await admin.close()


async def tail_lost(site: Site) -> None:
    """Kafka comes back without the end of what it had acknowledged, as after a loss of power."""
    async with site.stack.without("kafka"):
        data = site.stack.home / "kafka" / "data"
        for number in range(PARTITIONS):
            (segment,) = sorted((data / f"{site.topic}-{number}").glob("*.log"))
            with segment.open("r+b") as log:
                log.truncate(segment.stat().st_size // 2)
        # So that it looks at what it has.
        for name in (".kafka_cleanshutdown", "recovery-point-offset-checkpoint"):
            (data / name).unlink(missing_ok=True)


async def tail_regrown(site: Site) -> None:
    """The same, and other events have taken the place of what was lost."""
    await tail_lost(site)
    await site.answers()
    await _send(site, _EVENTS + _MORE)


LOSSES: Mapping[str, Damage] = {
    "topic recreated": recreated,
    "retention passed": passed_by_retention,
    "tail lost": tail_lost,
    "tail regrown": tail_regrown,
}


async def _send(site: Site, count: int) -> Load:
    """Sends events that nobody has sent before."""
    name = f"n{time.monotonic_ns()}"
    events = traffic(name, "main", 1, datetime.now(UTC), USUAL)
    load = Load(site.api, "key", "main", islice(events, count), 2_000, Random(1))
    await load.run(count)
    return load


async def refused(stack: Stack, seed: int, names: Sequence[str], tell: Tell) -> list[Round]:
    """Does each of these losses to a worker that is down, and to one that reads."""
    found = []
    for name in names:
        for live in (False, True):
            found.append(await _refused(stack, seed, name, live=live))
            tell(told(found[-1]))
    return found


async def _refused(stack: Stack, seed: int, name: str, *, live: bool) -> Round:
    where = f"loss{seed}-{list(LOSSES).index(name)}{'-live' if live else ''}"
    async with opened(
        stack, where, {"key": "main"}, partitions=PARTITIONS, window=1_000, workers=1
    ) as site:
        load = await _send(site, _EVENTS)
        await _applied(site)
        (slot,) = site.workers
        slot.held = True
        if not live:
            await site.stop(slot)
        before, trouble = await _figures(site), ""
        await LOSSES[name](site)
        begun = time.monotonic()
        try:
            if not live:
                site.start(slot)
            await _ends(site)
        except Impatient as impatient:
            trouble = str(impatient)
        seconds = time.monotonic() - begun
        # Whoever starts it again, and again, gets no further.
        if not trouble:
            site.start(slot)
            with suppress(Impatient):
                await _ends(site)
            assert slot.child is not None
            if slot.child.code in (None, 0) or _WORDS not in slot.child.log.read_text():
                trouble = "started again it reads on"
        after = await _figures(site)
        skipped = sum(1 for row in before if row not in after)
        label = f"{name}, {'reading' if live else 'down'}"
        return Round(seed, label, 1, load.sent, skipped, 0, skipped, seconds, len(before), trouble)


async def _applied(site: Site) -> None:
    async def all_applied() -> bool:
        log = await records.read(site.servers.kafka, site.topic, PARTITIONS, {})
        at = await site.next_offsets()
        return len(log) == sum(at.values()) >= _EVENTS

    await until(all_applied, 60, "not all is applied")


async def _ends(site: Site) -> None:
    (slot,) = site.workers

    async def ended() -> bool:
        assert slot.child is not None
        return slot.child.code not in (None, 0)

    await until(ended, _REFUSES_SECONDS, "the worker has not stopped")


async def _figures(site: Site) -> list[tuple[object, ...]]:
    """Where the reader is, and its figures."""
    progress = await site.sql("SELECT topic, partition, next_offset, applied FROM progress")
    revenue = await site.sql("SELECT * FROM revenue")
    return [tuple(row) for row in (*progress, *revenue)]
