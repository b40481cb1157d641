"""What a chaos run does to a site under load. Each fault heals what it has hurt before it returns,
and says how often it struck."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis

from app.stack.process import Child
from loadtests.chaos.load import Writer
from loadtests.chaos.proxy import Cut
from loadtests.chaos.site import CLI, GROUP, Site, Slot, until
from loadtests.chaos.traffic import MUCH, USUAL, Disorder, poison
from streams.crash_points import POINTS

_SESSION_SECONDS = 10.0  # see `app.worker`
_PATIENCE = 60.0
_LIVES = 10  # of a worker that is to die at a point, and ends otherwise
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Scene:
    """Where a fault strikes, and what it may draw lots with."""

    site: Site
    random: Random
    writer: Writer
    shop: str
    seed: int
    now: datetime


class Fault(NamedTuple):
    """Something that goes wrong while events come in."""

    name: str
    strike: Callable[[Scene], Awaitable[int]]
    disorder: Disorder = USUAL


def _free_worker(scene: Scene) -> Slot:
    return scene.random.choice([slot for slot in scene.site.workers if not slot.held])


# Workers.


async def worker_killed(scene: Scene) -> int:
    struck = 0
    for _ in range(3):
        await asyncio.sleep(scene.random.uniform(0.5, 3))
        struck += scene.site.kill(_free_worker(scene))
    return struck


async def crash(point: str, scene: Scene) -> int:
    """A worker dies at a named point."""
    site = scene.site
    # Only one worker empties the outbox: to be sure that it is ours, there must be no other.
    slots = site.workers if point == "relayed" else [_free_worker(scene)]
    times = 1 if point in ("resumed", "relayed") else scene.random.randint(1, 4)
    for slot in slots:
        slot.held = True
    try:
        await asyncio.gather(*(site.stop(slot) for slot in slots))
        for _ in range(_LIVES):
            child = site.start(slots[0], TILLSTREAM_CRASH_AT=f"{point}:{times}")

            async def dead(child: Child = child) -> bool:
                return child.code is not None

            await until(dead, _PATIENCE, f"no worker came to {point}")
            if child.code == -signal.SIGKILL:
                return 1
            # Something else that was done to it was quicker: the next one is armed again, once what
            # it was done to may have come back.
            site.ended.append((slots[0].name, child.code or 0))
            await asyncio.sleep(_PAUSE_SECONDS)
        return 0
    finally:
        for slot in slots:
            slot.held = False


async def zombie(scene: Scene) -> int:
    """A worker sleeps through its session, others go on, and it wakes where it stood."""
    site, slot = scene.site, _free_worker(scene)
    slot.held = True
    try:
        struck = site.signal(slot, signal.SIGSTOP)
        await asyncio.sleep(_SESSION_SECONDS + 3)
        site.signal(slot, signal.SIGCONT)
        await asyncio.sleep(1)
    finally:
        slot.held = False
    return int(struck)


async def join_leave(scene: Scene) -> int:
    """One more worker joins, one leaves, comes back, and the new one leaves."""
    site, settled = scene.site, len(scene.site.workers)
    leaving = _free_worker(scene)
    joining = site.add("worker-guest", "worker")
    await site.reads(settled + 1)
    leaving.held = True
    await site.stop(leaving)
    await site.reads(settled)
    leaving.held = False
    joining.held = True
    await site.stop(joining)
    del site.slots[joining.name]
    return 4


async def offsets_moved(scene: Scene) -> int:
    """Kafka's committed offsets of the group are set to anything, while nobody reads."""
    site, slots = scene.site, scene.site.workers
    for slot in slots:
        slot.held = True
    try:
        await asyncio.gather(*(site.stop(slot) for slot in slots))
        await site.reads(0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=site.servers.kafka,
            group_id=site.settings.prefix + GROUP,
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            names = [TopicPartition(site.topic, n) for n in range(site.settings.partitions)]
            consumer.assign(names)
            ends = await consumer.end_offsets(names)
            wrong = {tp: scene.random.choice((0, end // 2, end)) for tp, end in ends.items()}
            await consumer.commit(wrong)
        finally:
            await consumer.stop()
    finally:
        for slot in slots:
            slot.held = False
    return len(wrong)


async def clocks(scene: Scene) -> int:
    """One worker's clock is an hour ahead, another's an hour behind, the API's one or the other."""
    site = scene.site
    hour = 3600
    off = {site.slots["api"]: scene.random.choice((-hour, hour))}
    off |= {slot: hour if n % 2 else -hour for n, slot in enumerate(site.workers)}

    async def restart() -> None:
        for slot in off:
            slot.held = True
        await asyncio.gather(*(site.stop(slot) for slot in off))
        for slot in off:
            slot.held = False
        await site.answers()
        await site.reads(len(site.workers))

    try:
        for slot, seconds in off.items():
            slot.command = (sys.executable, "-m", "loadtests.chaos.clocks", str(seconds))
        await restart()
        await asyncio.sleep(4)
    finally:
        for slot in off:
            slot.command = CLI
    await restart()
    return len(off)


# Servers.


async def server_killed(name: str, scene: Scene) -> int:
    """kill -9; the stack starts it again."""
    stack = scene.site.stack
    pid = stack.pid(name)
    if pid is None:
        return 0
    os.kill(pid, signal.SIGKILL)

    async def back() -> bool:
        return stack.pid(name) not in (None, pid)

    await until(back, _PATIENCE, f"{name} was not started again")
    await scene.site.answers()
    await _server_answers(scene.site, name)
    return 1


async def _server_answers(site: Site, name: str) -> None:
    async def asked() -> bool:
        if name == "postgres":
            await site.sql("SELECT 1")
        elif name == "redis":
            async with Redis.from_url(site.servers.redis) as redis:
                await redis.ping()
        else:
            await site.reads(len(site.workers))
        return True

    await until(asked, _PATIENCE, f"{name} does not answer")


async def redis_flushed(scene: Scene) -> int:
    async with Redis.from_url(scene.site.servers.redis) as redis:
        for _ in range(3):
            await asyncio.sleep(scene.random.uniform(0.5, 2))
            await redis.flushall()
    return 3


async def api_killed(scene: Scene) -> int:
    struck = 0
    for _ in range(3):
        await asyncio.sleep(scene.random.uniform(0.5, 2))
        struck += scene.site.kill(scene.site.slots["api"])
        await scene.site.answers()
    return struck


# The way to Postgres, and Postgres' own refusals.


async def commits_cut(scene: Scene) -> int:
    """The link breaks at COMMITs: some never arrive, of some the answer does not."""
    cuts = [scene.random.choice(list(Cut)) for _ in range(4)] + [Cut.AFTER, Cut.BEFORE]
    try:
        for cut in cuts:
            await asyncio.wait_for(scene.site.link.cut_at_commits(cut), _PATIENCE)
            await asyncio.sleep(scene.random.uniform(0.1, 0.8))
    finally:
        scene.site.link.spare()
    return len(cuts)


async def link_slowed(scene: Scene) -> int:
    """Every packet takes longer; then nothing passes for a while; then all links break."""
    link = scene.site.link
    link.delay = 0.05
    try:
        await asyncio.sleep(3)
    finally:
        link.delay = 0.0
    async with link.stalled():
        await asyncio.sleep(3)
    link.cut()
    return 3


async def sessions_ended(scene: Scene) -> int:
    """An administrator ends every session of ours, several times."""
    struck = 0
    for _ in range(3):
        await asyncio.sleep(scene.random.uniform(0.3, 1.5))
        struck += len(
            await scene.site.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'tillstream'"
            )
        )
    return struck


_DISK_FULL = """
    CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END $$
"""


async def disk_full(scene: Scene) -> int:
    """Postgres answers as where its disk is full, in the middle of a batch's transaction."""
    site = scene.site
    await site.sql(_DISK_FULL)
    try:
        await site.sql(
            "CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON best_sellers "
            "FOR EACH STATEMENT EXECUTE FUNCTION disk_full()"
        )
        await asyncio.sleep(4)
    finally:
        await site.sql("DROP FUNCTION disk_full CASCADE")
    return 1


# What comes in.


async def disordered(scene: Scene) -> int:
    """Nothing breaks, but what comes in is late, repeated, shuffled and contradicted, much."""
    del scene
    await asyncio.sleep(6)
    return 1


async def poisoned(scene: Scene) -> int:
    """Records that are no events are written past the door."""
    site, struck = scene.site, 0
    raws = poison(scene.shop, scene.shop, scene.seed, scene.now, site.settings.partitions)
    for _ in range(10):
        some = list(islice(raws, 46))
        await scene.writer.write(some)
        struck += len(some)
        await asyncio.sleep(0.4)
    return struck


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("worker killed", worker_killed),
        *(Fault(f"killed at {point}", partial(crash, point)) for point in POINTS),
        Fault("zombie", zombie),
        Fault("join and leave", join_leave),
        Fault("Kafka killed", partial(server_killed, "kafka")),
        Fault("Postgres killed", partial(server_killed, "postgres")),
        Fault("Redis killed", partial(server_killed, "redis")),
        Fault("Redis flushed", redis_flushed),
        Fault("API killed", api_killed),
        Fault("offsets moved", offsets_moved),
        Fault("commits cut", commits_cut),
        Fault("link slowed", link_slowed),
        Fault("sessions ended", sessions_ended),
        Fault("disk full", disk_full),
        Fault("clocks off", clocks),
        Fault("disorder", disordered, MUCH),
        Fault("poison", poisoned),
    )
}

_OF_WORKERS = (
    "worker killed",
    "zombie",
    *(name for name in FAULTS if name.startswith("killed at")),
)
_OF_OTHERS = (
    *("Kafka killed", "Postgres killed", "Redis killed", "API killed", "commits cut"),
    *("sessions ended", "disk full", "poison"),
)


def mixed(random: Random) -> Sequence[Fault]:
    """Two faults for one time: one of a worker, one of something else."""
    of_workers = [name for name in _OF_WORKERS if name not in ("killed at relayed",)]
    return FAULTS[random.choice(of_workers)], FAULTS[random.choice(_OF_OTHERS)]
