"""Recommending: how fast is it answered and learned, with a catalogue of 100,000 products."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from random import Random
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import numpy as np

from app.learner.client import LearnerClient
from app.learner.recommendation_answers import Told, recommended
from app.settings import Servers, Settings
from app.subscriptions import RECOMMENDERS, learners_of
from loadtests.bench.catch_up import Tell
from loadtests.bench.processes import started
from loadtests.bench.services import PARTITIONS, answering, free_port
from loadtests.bench.tables import Row, Table
from ml_online.models import Models
from projections.postgres import connect
from streams import codec
from streams.codec import Fact
from streams.events import (
    VOCABULARY,
    Context,
    Data,
    Event,
    Line,
    OrderCompleted,
    ProductAdded,
    ProductListed,
    ProductViewed,
    RecommendationClicked,
    RecommendationsViewed,
    StockReceived,
)
from streams.log import Log
from streams.money import Money
from streams.topics import create_topics

PRODUCTS, CATEGORIES = 100_000, 200
ASKED = 2_000
RATE, SECONDS = 200, 15
PATIENCE = 300.0
_IN_PROCESS, _HTTP, _CHANGED = "in process", "over HTTP at 200/s", "event to changed answer"


async def measure(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Events a second into all models of the group, and milliseconds for an answer."""
    count = min(count, 150_000)
    listed, events = list(catalogue()), list(visits(count))
    rate = Row("models alone", "the log, decoding, dedupe, journal, snapshots", goal="10,000")
    rows = {
        f"{name}, {part}": Row(f"{name}, {part}", "", goal=goal)
        for name, goals in (
            (_IN_PROCESS, ("2 ms", "8 ms")),
            (_HTTP, ("", "20 ms")),
            (_CHANGED, ("", "1,000 ms")),
        )
        for part, goal in zip(("p50", "p99"), goals, strict=True)
    }
    for number in range(rounds):
        models, seconds = learned(listed, events)
        rate.values.append(len(events) / seconds)
        found = {_IN_PROCESS: in_process(models)}
        tell(f"learning: {len(events) / seconds:,.0f} events/s")
        del models
        found |= await over_http(servers, home, [*listed, *events], tell)
        for name, times in found.items():
            for part in (50, 99):
                rows[f"{name}, p{part}"].values.append(float(np.percentile(times, part)))
                tell(f"{number}: {name}, p{part}: {rows[f'{name}, p{part}'].values[-1]:.2f} ms")
    note = f"{count:,} events of visitors over {PRODUCTS:,} listed products, all in stock."
    return [
        Table("Learning to recommend", "events/s", rate.contender, [rate], 0, [note]),
        Table("Recommending", "ms", f"{_IN_PROCESS}, p50", list(rows.values()), 2, [note]),
    ]


def _event(number: int, data: Data, subject: str, at: datetime, visitor: str = "") -> Event:
    return Event(
        id=f"{type(data).__name__}-{number}",
        type=type(data).__name__,
        shop="main",
        subject=subject,
        context=Context(visitor=visitor) if visitor else None,
        time=at,
        received_at=at,
        data=codec.raw(data),
    )


def catalogue() -> Iterator[Event]:
    """Every product listed, and in stock."""
    at = datetime.now(UTC) - timedelta(days=2)
    for n in range(PRODUCTS):
        listed = ProductListed(
            product_id=f"p{n}", category=f"c{n % CATEGORIES}", price=Money(10_000 + n)
        )
        yield _event(n, listed, f"p{n}", at)
        yield _event(n, StockReceived(product_id=f"p{n}", quantity=1_000), f"p{n}", at)


def visits(count: int) -> Iterator[Event]:
    """Sessions of some ten events, over few products much and many a little; some are bought, and
    some were recommended."""
    random, at = Random(9), datetime.now(UTC) - timedelta(days=1)
    number = 0
    for session in range(count):
        taste, visitor = random.randrange(CATEGORIES), f"v{session}"
        for _ in range(random.randint(2, 16)):
            if number >= count:
                return
            number += 1
            at += timedelta(milliseconds=400)
            rank = min(int(random.paretovariate(0.6)), PRODUCTS // CATEGORIES - 1)
            one = f"p{rank * CATEGORIES + taste}"
            lot = random.random()
            if lot < 0.86:
                viewed = ProductViewed(product_id=one)
                yield _event(number, viewed, visitor, at)
            elif lot < 0.92:
                added = ProductAdded(cart_id=f"cart-{visitor}", product_id=one)
                yield _event(number, added, added.cart_id, at, visitor)
            elif lot < 0.95:
                lines = [Line(product_id=one, price=Money(10_000))]
                order = OrderCompleted(order_id=f"o{number}", currency="EUR", products=lines)
                yield _event(number, order, order.order_id, at, visitor)
            elif lot < 0.98:
                shown = [f"p{random.randrange(PRODUCTS)}" for _ in range(10)]
                seen = RecommendationsViewed(answer_id=f"home.mixed.{number}", products=shown)
                yield _event(number, seen, visitor, at)
            else:
                clicked = RecommendationClicked(answer_id=f"home.mixed.{number}", product_id=one)
                yield _event(number, clicked, visitor, at)


def learned(listed: Sequence[Event], events: Sequence[Event]) -> tuple[Models, float]:
    """All models of the group, and the seconds of processor time that the events took."""
    models = Models(learners_of(RECOMMENDERS))
    import_module("river.linear_model")  # learners load it with the first that they learn by it
    for fact in _facts(listed):
        models.learn(fact)
    facts = list(_facts(events))
    begun = time.process_time()
    for fact in facts:
        models.learn(fact)
    return models, time.process_time() - begun


def _facts(events: Sequence[Event]) -> Iterator[Fact]:
    for offset, event in enumerate(events):
        topic = VOCABULARY[event.type].topic
        yield Fact(topic, 0, offset, event, codec.decode_data(event, topic))


def _asked(number: int) -> Told:
    return Told("main", uuid4().hex, session=f"v{number}", diversity=0.2, explore=0.05)


def in_process(models: Models) -> list[float]:
    """Milliseconds for each of some answers."""
    found, random = [], Random(1)
    for _ in range(ASKED):
        told = _asked(random.randrange(10_000))
        begun = time.perf_counter()
        recommended(models, told, datetime.now(UTC))
        found.append((time.perf_counter() - begun) * 1000)
    return found


async def over_http(
    servers: Servers, home: Path, events: Sequence[Event], tell: Tell
) -> dict[str, list[float]]:
    """Milliseconds for an answer of an API beside the recommenders, and for an event to change
    one."""
    name, port = f"b{uuid4().hex[:8]}", free_port()
    more = {
        "TILLSTREAM_HOME": str(home / name),
        "TILLSTREAM_KAFKA": servers.kafka,
        "TILLSTREAM_POSTGRES": servers.postgres,
        "TILLSTREAM_REDIS": servers.redis,
        "TILLSTREAM_PREFIX": f"{name}-",
        "TILLSTREAM_SCHEMA_NAME": name,
    }
    await create_topics(servers.kafka, PARTITIONS, f"{name}-")
    log = Log(servers.kafka, PARTITIONS, f"{name}-", deadline=60)
    await log.start()
    await log.connected()
    for start in range(0, len(events), 5_000):
        await log.append(events[start : start + 5_000])
    command = (sys.executable, "-m", "app.cli")
    settings = Settings(schema_name=name, postgres=servers.postgres)
    try:
        async with (
            started((*command, "api", "--port", str(port)), home, more),
            started((*command, "learner", "--group", RECOMMENDERS), home, more),
        ):
            await answering(port)
            async with await connect(servers.postgres, name, size=2) as pool:
                await _caught_up(pool, settings, len(events))
            tell("all is learned; asking")
            api = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(api) as client:  # HTTPX would be measured itself
                await _at_a_rate(client, RATE, 2)  # until all is warm
                answers = await _at_a_rate(client, RATE, SECONDS)
                changed = [await _changed(client, log, number) for number in range(40)]
    finally:
        await log.stop()
    return {_HTTP: answers, _CHANGED: changed}


async def _caught_up(pool: "asyncpg.Pool[asyncpg.Record]", settings: Settings, count: int) -> None:
    recommender = LearnerClient(pool, settings, RECOMMENDERS)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if (await recommender.health())["learned"] >= count:
                        return
                except Exception:  # noqa: S110  (it is not there yet)
                    pass
                await asyncio.sleep(0.2)
    finally:
        await recommender.close()


async def _at_a_rate(client: aiohttp.ClientSession, rate: int, seconds: int) -> list[float]:
    """Asked on time whether others are answered or not; the time since each was to be asked."""
    random, begun = Random(2), time.perf_counter()

    async def ask(due: float) -> float:
        path = f"/v1/recommendations/session/v{random.randrange(10_000)}"
        async with client.get(path, raise_for_status=True) as answer:
            await answer.read()
        return (time.perf_counter() - due) * 1000

    tasks = []
    for number in range(rate * seconds):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    return list(await asyncio.gather(*tasks))


async def _changed(client: aiohttp.ClientSession, log: Log, number: int) -> float:
    """From the event's way to the log until an answer knows of it, without waiting for it."""
    visitor, at = f"new-{uuid4().hex[:8]}", datetime.now(UTC)
    viewed = ProductViewed(product_id=f"p{number}")
    begun = time.perf_counter()
    event = msgspec.structs.replace(_event(number, viewed, visitor, at), id=visitor)
    await log.append([event])
    while True:
        async with client.get(f"/v1/recommendations/session/{visitor}") as answer:
            found = await answer.json()
        if found["known"]["session"]:
            return (time.perf_counter() - begun) * 1000
        await asyncio.sleep(0.005)
