"""Capturing the real log: every record, exactly, in the order of its receipt."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from app.settings import Settings
from streams import codec
from streams.captured import capture, read
from streams.events import Event
from streams.log import Log
from streams.topics import create_topics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shipped(number: int, shop: str = "main", space: str = "") -> Event:
    data = f'{{{space}"order_id":"o-{number}"}}'
    return Event(
        id=f"e-{number}",
        type="OrderShipped",
        shop=shop,
        subject=f"o-{number}",
        time=NOON - timedelta(days=number),
        received_at=NOON + timedelta(seconds=number),
        data=msgspec.Raw(data.encode()),
    )


async def test_a_captured_log_is_the_log(settings: Settings, tmp_path: Path) -> None:
    servers, path = settings.servers, tmp_path / "log.jsonl.gz"
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    events = [shipped(number, "a" if number % 3 else "b") for number in range(300)]
    events.append(shipped(300, "a", space="\n  "))  # as a client may have written it
    log = Log(servers.kafka, settings.partitions, settings.prefix)
    await log.start()
    await log.connected()
    try:
        positions = await log.append(events)
    finally:
        await log.stop()
    async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
        await producer.send_and_wait(f"{settings.prefix}orders", b"no event", partition=0)

    found = await capture(servers.kafka, settings.prefix, settings.partitions, path)
    assert (found.events, found.left_out) == ({"orders": 301}, 1)
    again = [entry.event for entry in read(path, "a").entries]
    assert [event.id for event in again] == [event.id for event in events]
    assert again[1] == events[1]
    assert codec.fingerprint(again[-1]) == codec.fingerprint(events[-1])
    plain = tmp_path / "log.jsonl"
    arguments = (servers.kafka, settings.prefix, settings.partitions, plain)
    await capture(*arguments, topics=["orders", "carts"], shop="b")
    assert {json.loads(line)["shop"] for line in plain.read_bytes().splitlines()} == {"b"}
    await capture(*arguments, first_offset=5)
    late = [event for event, position in zip(events, positions, strict=True) if position.offset > 4]
    assert len(plain.read_bytes().splitlines()) == len(late)
    await capture(*arguments, topics=["carts"])
    assert plain.read_bytes() == b""
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 301
