"""Ingest on one API process: single events beside a route that does nothing, batches of 500 beside
a bare producer. Afterwards every acknowledged event must stand on the log."""

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from aiokafka import TopicPartition

from app.settings import Servers
from loadtests.bench.processes import Failed, output_of
from loadtests.bench.services import PARTITIONS, Pipeline, minimal, ours
from loadtests.bench.tables import Row, Table
from loadtests.bench.wire import drive, request
from streams import codec
from streams.readback import log_ends, read_back

SINGLE_SECONDS, BATCH_SECONDS = 8.0, 8.0
CONNECTIONS, BATCH_CONNECTIONS = 64, 4
BATCH = 500
MOST_SINGLES, MOST_BATCHES = 10_000, 150  # requests a second that there could be
BARE_EVENTS = 200_000
NOTHING, SINGLE = "a route that does nothing", "Tillstream, one event each"
BARE, BATCHED = "bare aiokafka producer", "Tillstream, batches of 500"


async def measure(
    servers: Servers, home: Path, rounds: int, tell: Callable[[str], None]
) -> list[Table]:
    """Requests and events a second, a value for each round."""
    nothing = Row(NOTHING, "anything")
    single = Row(SINGLE, "–")
    bare = Row(BARE, "HTTP, checks, positions")
    batched = Row(BATCHED, "–")
    missing = 0
    # Made beforehand: the client must never be the limit.
    singles = list(itertools.islice(_singles(), int(MOST_SINGLES * SINGLE_SECONDS)))
    batches = list(itertools.islice(_batches(), int(MOST_BATCHES * BATCH_SECONDS)))
    for number in range(rounds):
        async with minimal(servers, home, worker=False) as pipeline:
            requests = itertools.repeat(request("/nothing", json.dumps(_event("x")).encode()))
            count, _ = await _drive(pipeline, CONNECTIONS, requests, SINGLE_SECONDS)
            nothing.values.append(count)
            bare.values.append(await _bare(servers, home, pipeline.topic))
        async with ours(servers, home, worker=False) as pipeline:
            count, ids = await _drive(pipeline, CONNECTIONS, iter(singles), SINGLE_SECONDS)
            single.values.append(count)
            count, more = await _drive(pipeline, BATCH_CONNECTIONS, iter(batches), BATCH_SECONDS)
            batched.values.append(count)
            missing += len((ids | more) - await _on_log(servers, pipeline.topic))
        tell(f"ingest, round {number + 1}: {single.values[-1]:,.0f}, {batched.values[-1]:,.0f}/s")
    note = f"Acknowledged events that are not on the log: {missing}."
    return [
        Table("Ingest, single events", "requests/s", NOTHING, [single, nothing], notes=[note]),
        Table("Ingest, batches of 500", "events/s", BARE, [batched, bare], notes=[note]),
    ]


def _event(name: str) -> dict[str, object]:
    line = {"product_id": "p1", "category": "c1", "price": "9.90", "quantity": 2}
    data = {"order_id": name, "currency": "EUR", "country": "DE", "products": [line]}
    return {"id": name, "type": "OrderCompleted", "time": "2025-03-01T10:00:00Z", "data": data}


def _singles() -> Iterator[bytes]:
    for n in itertools.count():
        yield request("/v1/events", json.dumps(_event(f"s{n}")).encode())


def _batches() -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for n in itertools.count():
        events = [_event(f"b{n}-{i}") for i in range(BATCH)]
        yield request("/v1/events", encoder.encode(events))


async def _drive(
    pipeline: Pipeline, connections: int, requests: Iterator[bytes], seconds: float
) -> tuple[float, set[str]]:
    """Events a second, and the ids that were acknowledged."""
    acknowledged: set[str] = set()
    answers = 0

    def answered(status: int, body: bytes) -> None:
        nonlocal answers
        answers += 1
        if status != 202:
            raise Failed(f"{status}: {body[:200]!r}")
        bodies.append(body)

    bodies: list[bytes] = []
    took = await drive(pipeline.port, connections, requests, seconds, answered)
    for body in filter(None, bodies):
        found = msgspec.json.decode(body)
        acknowledged.update(one["id"] for one in found.get("accepted", [found]))
    return max(answers, len(acknowledged)) / took, acknowledged


async def _bare(servers: Servers, home: Path, topic: str) -> float:
    module = "loadtests.contenders.bare_producer"
    command = (sys.executable, "-m", module, servers.kafka, topic, str(BARE_EVENTS))
    return float(await output_of(command, home, patience=120))


async def _on_log(servers: Servers, topic: str) -> set[str]:
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    ends = await log_ends(servers.kafka, partitions)
    found: set[str] = set()
    async for _, records in read_back(servers.kafka, ends):
        found.update(codec.decode_envelope(record.value).id for record in records)
        await asyncio.sleep(0)
    return found
