"""What a worker's death costs in time, how two share the work, and what grows over minutes."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from statistics import linear_regression, median
from typing import NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.stack.up import Stack
from loadtests.chaos.load import Load
from loadtests.chaos.run import Tell
from loadtests.chaos.site import Site, opened, until
from loadtests.chaos.traffic import USUAL, traffic


class Table(NamedTuple):
    """What was measured, as text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


SESSION_SECONDS = 10.0  # see `app.worker`
PARTITIONS = 12
_WARM_UP = 0.25
_LATE = 2 / 3  # by then what is kept up to a bound has come to it
_SAMPLE_SECONDS = 2.0
_CAUGHT_UP = 200  # records: what is on its way at any moment


def _load(site: Site, name: str, rate: float) -> Load:
    now = datetime.now(UTC)
    return Load(site.api, "key", "main", traffic(name, "main", 1, now, USUAL), rate, Random(name))


class Ends:
    """The ends of the log, asked again and again over one connection."""

    def __init__(self, consumer: AIOKafkaConsumer, site: Site) -> None:
        self._consumer, self._site = consumer, site
        self._names = [TopicPartition(site.topic, n) for n in range(site.settings.partitions)]

    async def lag(self) -> dict[int, int]:
        """Records that wait, by partition."""
        ends = await self._consumer.end_offsets(self._names)
        at = await self._site.next_offsets()
        return {tp.partition: end - at.get(tp.partition, 0) for tp, end in ends.items()}


# Recovery.


class Recovery(NamedTuple):
    """Seconds from kill -9: until what the dead one read is applied again, until nothing waits."""

    resumed: float
    caught_up: float


async def recovery(stack: Stack, rounds: int, rate: float, tell: Tell) -> list[Table]:
    """Kills one of two workers with SIGKILL under load, so many times."""
    found: list[Recovery] = []
    async with opened(
        stack, "recovery", {"key": "main"}, partitions=PARTITIONS, window=100_000, workers=2
    ) as site:
        load = _load(site, "recovery", rate)
        sending = asyncio.create_task(load.run(None))
        consumer = AIOKafkaConsumer(bootstrap_servers=site.servers.kafka)
        await consumer.start()
        try:
            ends = Ends(consumer, site)
            for number in range(rounds):
                await site.reads(2)
                await _no_lag(ends)
                await asyncio.sleep(3)
                found.append(await _killed(site, ends, number))
                tell(f"killed: back after {found[-1].caught_up:.1f} s")
        finally:
            await consumer.stop()
            load.stop()
            await sending
    return [_recovery_table(found, rate)]


async def _no_lag(ends: Ends) -> None:
    async def none() -> bool:
        return sum((await ends.lag()).values()) <= _CAUGHT_UP

    await until(none, 120, "the workers do not catch up")


async def _killed(site: Site, ends: Ends, number: int) -> Recovery:
    slot = site.workers[number % 2]
    slot.held = True  # nobody starts it again: the other one has to take over
    before = await site.next_offsets()
    site.kill(slot)
    begun = time.monotonic()
    await asyncio.sleep(1.0)  # what was under way is done
    after = await site.next_offsets()
    await asyncio.sleep(0.5)
    later = await site.next_offsets()
    stuck = {n for n in after if after[n] == later.get(n)} or set(before)

    async def moves() -> bool:
        at = await site.next_offsets()
        return all(at[n] > after[n] for n in stuck)

    await until(moves, 120, "nobody takes over")
    resumed = time.monotonic() - begun
    await _no_lag(ends)
    caught_up = time.monotonic() - begun
    slot.held = False
    return Recovery(resumed, caught_up)


def _recovery_table(found: Sequence[Recovery], rate: float) -> Table:
    resumed = median(one.resumed for one in found)
    caught_up = median(one.caught_up for one in found)
    rows = [
        ["Kafka's session timeout", f"{SESSION_SECONDS:.1f}", ""],
        ["until the other one applies", f"{resumed:.1f}", f"{resumed - SESSION_SECONDS:.1f}"],
        ["until nothing waits", f"{caught_up:.1f}", f"{caught_up - SESSION_SECONDS:.1f}"],
    ]
    return Table(
        f"From kill -9 of one of two workers, at {rate:,.0f} events/s, {len(found)} times",
        ["", "seconds, median", "beyond the session timeout"],
        rows,
    )


# The soak.


async def soak(stack: Stack, minutes: float, rate: float, tell: Tell) -> list[Table]:
    """Resident memory of every process under a steady load, and its slope after warm-up."""
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    async with opened(
        # Windows that are full long before the end: filling them is no leak.
        stack,
        "soak",
        {"key": "main"},
        partitions=PARTITIONS,
        window=10_000,
        workers=2,
    ) as site:
        load = _load(site, "soak", rate)
        sending = asyncio.create_task(load.run(None))
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < minutes * 60:
            for name, pid in _pids(site).items():
                with suppress(psutil.NoSuchProcess):
                    samples[name].append((now, _resident(pid) / 2**20))
            await asyncio.sleep(_SAMPLE_SECONDS)
        load.stop()
        await sending
        tell(f"soak: {load.sent:,} events in {minutes:g} minutes")
    return [_memory_table(samples, minutes, load.sent)]


def _pids(site: Site) -> dict[str, int]:
    found = {name: site.stack.pid(name) for name in ("kafka", "postgres", "redis")}
    found |= {name: slot.child.pid if slot.child else None for name, slot in site.slots.items()}
    return {name: pid for name, pid in found.items() if pid is not None}


def _resident(pid: int) -> int:
    """With its children, which Postgres has; memory that they share counts once."""
    process = psutil.Process(pid)
    total = int(process.memory_info().rss)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            memory = child.memory_info()
            total += int(memory.rss - memory.shared)
    return total


def _memory_table(
    samples: Mapping[str, Sequence[tuple[float, float]]], minutes: float, sent: int
) -> Table:
    rows = []
    for name, found in samples.items():
        warm = [(at, size) for at, size in found if at >= _WARM_UP * minutes * 60]
        if len(warm) < 2:
            continue
        late = [(at, size) for at, size in found if at >= _LATE * minutes * 60]
        sizes = [size for _, size in warm]
        rows.append(
            [
                name,
                f"{median(sizes):.0f}",
                f"{max(sizes):.0f}",
                f"{_slope(warm):+.2f}",
                f"{_slope(late):+.2f}",
                f"{100 * 60 * _slope(late) / median(sizes):+.0f}",
            ]
        )
    return Table(
        f"Resident memory over {minutes:g} minutes, {sent:,} events",
        [
            *("process", "MiB, median", "most", "MiB a minute after the first quarter"),
            *("in the last third", "% an hour"),
        ],
        rows,
    )


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """MiB a minute; nothing of a process that has hardly been there."""
    return linear_regression(*zip(*samples, strict=True)).slope * 60 if len(samples) > 1 else 0.0


# Two beside one.


async def sharing(stack: Stack, events: int, tell: Tell) -> list[Table]:
    """How fast one worker, and then two, catch up with the same number of events."""
    seconds: dict[int, float] = {}
    shares: dict[int, Sequence[float]] = {}
    for workers in (1, 2):
        async with opened(
            stack,
            f"sharing{workers}",
            {"key": "main"},
            partitions=PARTITIONS,
            window=100_000,
            workers=workers,
        ) as site:
            for slot in site.workers:
                slot.held = True
            await asyncio.gather(*(site.stop(slot) for slot in site.workers))
            load = _load(site, "sharing", 50_000)
            await load.run(events)
            seconds[workers], shares[workers] = await _catch_up(site)
            tell(f"{workers} workers: {seconds[workers]:.1f} s")
    rows = [
        [
            str(workers),
            f"{events / seconds[workers]:,.0f}",
            f"{seconds[1] / seconds[workers]:.2f}",
            " ".join(f"{share:.1f}" for share in shares[workers]),
        ]
        for workers in (1, 2)
    ]
    return [
        Table(
            f"Catching up with {events:,} events on {PARTITIONS} partitions",
            ["workers", "events/s", "ratio to one", "processor seconds of each"],
            rows,
        )
    ]


async def _catch_up(site: Site) -> tuple[float, Sequence[float]]:
    """Seconds from the first record applied to the last, and what each worker used till then."""
    for slot in site.workers:
        slot.held = False
    consumer = AIOKafkaConsumer(bootstrap_servers=site.servers.kafka)
    await consumer.start()
    try:
        ends = Ends(consumer, site)

        async def some() -> bool:
            return any((await site.next_offsets()).values())

        async def none() -> bool:
            return not any((await ends.lag()).values())

        await until(some, 120, "no worker begins")
        begun = time.monotonic()
        await until(none, 300, "the workers do not catch up")
        times = [
            sum(psutil.Process(slot.child.pid).cpu_times()[:2])
            for slot in site.workers
            if slot.child
        ]
        return time.monotonic() - begun, times
    finally:
        await consumer.stop()
