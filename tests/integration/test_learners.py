"""Learners on the real log and the real store: whatever dies wherever, the models are the same.

The oracle is the learners alone, taught by facts that were never on a log.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from zoneinfo import ZoneInfo

import asyncpg
import httpx2
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.learner.answers import create_answers
from app.learner.leadership import is_led, leadership
from app.learner.process import _Stream
from app.learner.store import LearnerStore
from app.settings import Settings
from app.subscriptions import LEARNERS
from ml_online.journal import Overtaken
from ml_online.models import Models
from projections.clock import ShopClock
from streams.batch import Partition
from streams.codec import Fact
from streams.events import Event
from streams.log import Log
from streams.subscribe import GroupReader
from tests.learning import baskets, day_event, facts, order_event, shifting, unordered, weekly

PARTITIONS = 3
WINDOW = 300
KEY = b"a key"

Pool = asyncpg.Pool


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


@pytest.fixture
def topics() -> Sequence[str]:
    return ("orders", "days")


def history(seed: int = 7) -> list[Event]:
    """Days and orders, some of them repeated."""
    days = [day_event(number, values) for number, values in enumerate(weekly(40, seed))]
    days.insert(30, day_event(20, {"": 77, "c1": 5}, corrected=True))
    orders = baskets(300, seed)
    random = Random(seed)
    for event in random.sample(orders, 30):
        orders.insert(random.randrange(len(orders)), event)
    return [*orders, *days]


def digest_of(events: Iterable[Event]) -> str:
    """Of models that learned each event once."""
    models = Models(unordered())
    for fact in facts({event.id: event for event in events}.values(), PARTITIONS):
        models.learn(fact)
    return models.digest()


class Crash(Exception):
    """Stands for kill -9: nothing that is in memory is used afterwards."""


class Mortal(Models):
    """Models that die once they have learned so many facts."""

    lives = -1

    def learn(self, fact: Fact) -> None:
        if self.lives == 0:
            raise Crash
        self.lives -= 1
        super().learn(fact)


def store_of(pool: Pool, models: Models, key: bytes = KEY, every: float = 1e9) -> LearnerStore:
    clock = ShopClock(ZoneInfo("UTC"))
    return LearnerStore(pool, LEARNERS, models, clock, key, every)


@asynccontextmanager
async def learning(
    settings: Settings, store: LearnerStore, commit_records: int = 60
) -> AsyncIterator[asyncio.Task[None]]:
    """A loaded learner that goes on reading; the task ends where it fails."""
    kafka = settings.servers.kafka
    await store.load(kafka, settings.prefix, WINDOW)
    reader = GroupReader(store, kafka, settings.prefix, WINDOW, commit_records)
    tps = {TopicPartition(f"{settings.prefix}orders", number) for number in range(PARTITIONS)}
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="none"
    ) as consumer:
        positions = await reader.resume(tps | {TopicPartition(f"{settings.prefix}days", 0)}, seek=1)
        tasks = [
            asyncio.create_task(reader.apply(lambda _: None)),
            asyncio.create_task(reader.consume(_Stream(consumer, positions))),
        ]
        try:
            yield tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reader.release()


def ends(positions: Iterable[object]) -> dict[Partition, int]:
    """The last offset of each partition among positions."""
    found: dict[Partition, int] = {}
    for text in map(str, positions):
        topic, number, offset = text.split(":")
        at = Partition(topic, int(number))
        found[at] = max(found.get(at, 0), int(offset))
    return found


async def learn_all(settings: Settings, store: LearnerStore, until: dict[Partition, int]) -> str:
    """Reads to these offsets; the digest then."""
    async with learning(settings, store) as applying:
        reaching = asyncio.create_task(store.reached(until))
        async with asyncio.timeout(30):
            await asyncio.wait({applying, reaching}, return_when=asyncio.FIRST_COMPLETED)
        if applying.done():
            reaching.cancel()
            applying.result()
        while not store._settled:
            await asyncio.sleep(0.01)
        return store.models.digest()


async def test_what_was_learned_is_what_the_facts_alone_teach(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = history()
    until = ends(await log.append(events))
    assert await learn_all(settings, store_of(pool, Models(unordered())), until) == (
        digest_of(events)
    )
    counts = await pool.fetchrow(
        "SELECT sum(applied) AS applied, sum(repeated) AS repeated FROM progress"
    )
    assert counts is not None
    assert (counts["applied"], counts["repeated"]) == (341, 30)


@pytest.mark.parametrize("snapshots", [True, False])
async def test_a_crash_after_any_fact_costs_and_doubles_nothing(
    settings: Settings, pool: Pool, log: Log, snapshots: bool
) -> None:
    """Between its place in the journal and its end a chunk may be learned in part: with the process
    that part is gone, and the next one learns the chunk as a whole."""
    events = history()
    until = ends(await log.append(events))
    random = Random(snapshots)
    crashes = 0
    for lives in [*sorted(random.sample(range(330), 5)), -1]:
        models = Mortal(unordered())
        models.lives = lives
        store = store_of(pool, models, every=0.0 if snapshots else 1e9)
        try:
            digest = await learn_all(settings, store, until)
        except Crash:
            crashes += 1
    assert crashes >= 3
    assert digest == digest_of(events)
    assert bool(await pool.fetchval("SELECT count(*) FROM learner_snapshots")) is snapshots


async def test_after_a_clean_end_the_snapshot_is_enough(
    settings: Settings, pool: Pool, log: Log
) -> None:
    until = ends(await log.append(history()))
    store = store_of(pool, Models(unordered()))
    digest = await learn_all(settings, store, until)
    await store.snapshot()
    models = Mortal(unordered())
    models.lives = 0  # it must not learn a thing
    another = store_of(pool, models)
    await another.load(settings.servers.kafka, settings.prefix, WINDOW)
    assert models.digest() == digest
    assert another.complete_to() == store.complete_to()


async def test_a_tampered_snapshot_is_refused_and_the_one_before_or_the_log_will_do(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = history()
    until = ends(await log.append(events))
    digest = await learn_all(settings, store_of(pool, Models(unordered()), every=0.0), until)
    assert await pool.fetchval("SELECT count(*) FROM learner_snapshots") == 2
    for left in (1, 0):
        await pool.execute(
            """
            UPDATE learner_snapshots SET body = set_byte(body, 9, 255 - get_byte(body, 9))
            WHERE seq = (SELECT seq FROM learner_snapshots ORDER BY seq DESC OFFSET $1 LIMIT 1)
            """,
            1 - left,
        )
        store = store_of(pool, Models(unordered()))
        await store.load(settings.servers.kafka, settings.prefix, WINDOW)
        assert store.models.digest() == digest
        assert (store._snapshot_seq > 0) is bool(left)
    another_key = store_of(pool, Models(unordered()), b"another key")
    await another_key.load(settings.servers.kafka, settings.prefix, WINDOW)
    assert another_key.models.digest() == digest == digest_of(events)


async def test_a_journal_with_a_hole_is_written_anew_from_the_log(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = history()
    until = ends(await log.append(events))
    store = store_of(pool, Models(unordered()))
    digest = await learn_all(settings, store, until)
    await pool.execute("DELETE FROM learner_journal WHERE seq = 2")
    models = Models(unordered())
    await store_of(pool, models).load(settings.servers.kafka, settings.prefix, WINDOW)
    assert models.digest() == digest
    assert await pool.fetchval("SELECT count(*) FROM learner_journal") == len(until)
    more = [order_event(1_000 + n, ["p1", f"p{n}"]) for n in range(20)]
    until = ends(await log.append(more))
    assert await learn_all(settings, store_of(pool, models), until) == (digest_of([*events, *more]))


async def test_of_two_that_learn_one_finds_out_that_it_was_overtaken(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """The lock keeps this from happening; should it go unnoticed, nothing is doubled."""
    events = history()
    await log.append(events[:200])
    slow, quick = (store_of(pool, Models(unordered())) for _ in range(2))
    await slow.load(settings.servers.kafka, settings.prefix, WINDOW)
    until = ends(await log.append(events[200:]))
    digest = await learn_all(settings, quick, until)
    slow.load = _nothing  # type: ignore[method-assign, assignment]
    third = baskets(5, seed=9)
    until = ends(await log.append(third))
    with pytest.raises(Overtaken):
        await learn_all(settings, slow, until)
    await slow.snapshot()
    assert await pool.fetchval("SELECT count(*) FROM learner_snapshots") == 0
    assert quick.models.digest() == digest == digest_of(events)


async def _nothing(*_: object) -> None: ...


async def test_what_is_no_event_is_kept_aside_and_learning_goes_on(
    settings: Settings, pool: Pool, log: Log
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.servers.kafka) as producer:
        for topic in ("days", "orders"):
            await producer.send_and_wait(settings.prefix + topic, b"no event", b"key", 0)
    events = history()
    until = ends(await log.append(events))
    digest = await learn_all(settings, store_of(pool, Models(unordered())), until)
    assert digest == digest_of(events)
    rows = await pool.fetch("SELECT topic, record_offset FROM quarantine ORDER BY topic")
    assert [tuple(row) for row in rows] == [("days", 0), ("orders", 0)]


async def test_while_models_are_loaded_the_answer_is_to_ask_again(
    settings: Settings, pool: Pool, log: Log
) -> None:
    store = store_of(pool, Models(unordered()))
    transport = httpx2.ASGITransport(create_answers(store, PARTITIONS))
    async with httpx2.AsyncClient(transport=transport, base_url="http://learner") as client:
        assert (await client.get("/health")).json()["loaded"] is False
        answer = await client.get("/forecasts/scores", params={"shop": "main"})
        assert (answer.status_code, answer.json()["code"]) == (503, "learner_loading")
        assert answer.headers["Retry-After"]
        await store.load(settings.servers.kafka, settings.prefix, WINDOW)
        answer = await client.get("/forecasts/scores", params={"shop": "main"})
        assert answer.status_code == 200


async def test_one_leads_and_the_next_waits_until_it_is_gone(
    settings: Settings, pool: Pool
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    led = asyncio.Event()

    async def second() -> None:
        async with leadership(dsn, schema, LEARNERS):
            led.set()

    async with leadership(dsn, schema, LEARNERS):
        assert await is_led(pool, schema, LEARNERS)
        waiting = asyncio.create_task(second())
        with suppress(TimeoutError):
            await asyncio.wait_for(led.wait(), 0.3)
        assert not led.is_set()
        async with leadership(dsn, schema, "another group"):
            pass
    await asyncio.wait_for(waiting, 10)
    assert led.is_set()
    assert not await is_led(pool, schema, LEARNERS)


async def test_who_waits_to_lead_does_not_keep_postgres_from_vacuuming(
    settings: Settings, pool: Pool
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    asked = "SELECT state, backend_xmin FROM pg_stat_activity WHERE query LIKE $1 AND pid <> $2"

    async def second() -> None:
        async with leadership(dsn, schema, LEARNERS):
            pass

    async with leadership(dsn, schema, LEARNERS), pool.acquire() as watching:
        own = watching.get_server_pid()
        before = len(await watching.fetch(asked, "SELECT pg_%advisory_lock($1)", own))
        waiting = asyncio.create_task(second())
        async with asyncio.timeout(20):
            while True:
                rows = await watching.fetch(asked, "SELECT pg_%advisory_lock($1)", own)
                # It has asked, and holds nothing until it asks again.
                if len(rows) > before and not any(row["backend_xmin"] for row in rows):
                    break
                await asyncio.sleep(0.01)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 20)


async def test_what_was_noticed_is_told_on_the_log_whenever_it_dies(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """Dying between what it learned and what it tells, it learns again, and tells the same."""
    events = [day_event(number, values) for number, values in enumerate(shifting())]
    alone = Models(unordered())
    for fact in facts(events):
        alone.learn(fact)
    noticed = alone.noticed()
    assert noticed
    until = ends(await log.append(events))
    store = store_of(pool, Models(unordered()), every=0.0)
    store._tell = _nothing  # type: ignore[method-assign]
    await learn_all(settings, store, until)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0
    await pool.execute("DELETE FROM learner_snapshots")  # none is taken before all is told
    again = store_of(pool, Models(unordered()))
    again._now = lambda: noticed[-1].time  # it died in that week
    await again.load(settings.servers.kafka, settings.prefix, WINDOW)
    told = [
        msgspec.json.decode(row["event"])["id"]
        for row in await pool.fetch("SELECT event FROM outbox ORDER BY id")
    ]
    assert told == [event.id for event in noticed]
