"""Clients that send at a pace, whatever happens, and write down what they were told."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from random import Random

import httpx2
from aiokafka import AIOKafkaProducer

from loadtests.chaos.history import Operation, Outcome, body
from loadtests.chaos.records import envelope
from loadtests.chaos.traffic import Raw, Told

_CLIENTS = 4
_ATTEMPTS = 12
_GIVES_UP = 0.1
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 8.0


class Load:
    """Sends the events of one shop through the API."""

    def __init__(
        self, api: str, key: str, shop: str, events: Iterator[Told], rate: float, random: Random
    ) -> None:
        self._api, self._key, self.shop = api, key, shop
        self._events, self._rate, self._random = events, rate, random
        self._batch = max(1, min(200, int(rate / 10)))
        self._stopping = False
        self.history: list[Operation] = []
        self.sent = 0

    async def run(self, count: int | None) -> None:
        """Sends so many events, or as many as it comes to until it is told to stop."""
        begun, left = time.monotonic(), islice(self._events, count)
        limits = httpx2.Limits(max_connections=_CLIENTS)
        async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits) as client:

            async def one() -> None:
                while not self._stopping and (batch := list(islice(left, self._batch))):
                    due = begun + self.sent / self._rate
                    self.sent += len(batch)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    await self._send(client, batch)

            async with asyncio.TaskGroup() as clients:
                for _ in range(_CLIENTS):
                    clients.create_task(one())

    def stop(self) -> None:
        """Sends no more; what is under way is ended."""
        self._stopping = True

    async def _send(self, client: httpx2.AsyncClient, batch: Sequence[Told]) -> None:
        """Sends a batch again until it is acknowledged. Some clients give up."""
        for _ in range(_ATTEMPTS):
            operation = await self._attempt(client, batch)
            self.history.append(operation)
            if operation.outcome is Outcome.OK or self._random.random() < _GIVES_UP:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _attempt(self, client: httpx2.AsyncClient, batch: Sequence[Told]) -> Operation:
        ids = [event["id"] for event in batch]
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            answer = await client.post(f"{self._api}/v1/events", json=batch, headers=headers)
        except httpx2.ConnectError:
            return Operation(self.shop, ids, Outcome.FAILED)
        except httpx2.HTTPError:
            return Operation(self.shop, ids, Outcome.UNKNOWN)
        if answer.status_code == 202:
            accepted = answer.json()["accepted"]
            told = [ids[one["index"]] for one in accepted]
            bodies = [_body(batch[one["index"]]) for one in accepted]
            positions = [one["position"] for one in accepted]
            return Operation(self.shop, told, Outcome.OK, positions, bodies)
        unknown = answer.status_code >= 500
        return Operation(self.shop, ids, Outcome.UNKNOWN if unknown else Outcome.FAILED)


def _body(event: Told) -> int:
    """Of an event that is sent."""
    at = event.get("time")
    return body(event["type"], event["data"], datetime.fromisoformat(at) if at else None)


class Writer:
    """Who writes to Kafka past the API; remembers the (shop, id) of what could be an event."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self.written: set[tuple[str, str]] = set()

    async def write(self, raws: Sequence[Raw]) -> None:
        done = []
        for partition, key, value in raws:
            if (event := envelope(value)) is not None:
                self.written.add((event["shop"], event["id"]))
            done.append(await self._producer.send(self._topic, value, key=key, partition=partition))
        await asyncio.gather(*done)


@asynccontextmanager
async def writing(bootstrap: str, topic: str) -> AsyncIterator[Writer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield Writer(producer, topic)
    finally:
        await producer.stop()
