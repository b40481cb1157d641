"""POST → Kafka → Postgres → Redis → websocket by hand, with nothing that is not needed for it.

`python -m loadtests.contenders.minimal api|worker` with MINIMAL_KAFKA, _POSTGRES, _REDIS, _TOPIC,
_SCHEMA and, for the API, _PORT. It checks nothing, dedups nothing, resumes nothing on the socket.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastapi import FastAPI, Request, Response, WebSocket
from redis.asyncio import Redis


def setting(name: str) -> str:
    """What this process was told by its environment."""
    return os.environ[f"MINIMAL_{name}"]


def api() -> FastAPI:
    """A route that appends, a route that does nothing, and a socket."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.redis = Redis.from_url(setting("REDIS"))
        app.state.producer = AIOKafkaProducer(
            bootstrap_servers=setting("KAFKA"), acks="all", linger_ms=0
        )
        await app.state.producer.start()
        yield
        await app.state.producer.stop()

    app = FastAPI(lifespan=lifespan)

    @app.post("/events")
    async def events(request: Request) -> Response:
        body = await request.body()
        key = orjson.loads(body)["data"]["order_id"].encode()
        done = await app.state.producer.send_and_wait(setting("TOPIC"), body, key)
        return Response(orjson.dumps({"offset": done.offset}), 202)

    @app.post("/nothing")
    async def nothing(_: Request) -> Response:
        return Response(status_code=202)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {}

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        pubsub = app.state.redis.pubsub()
        await pubsub.subscribe(setting("TOPIC"))
        async for message in pubsub.listen():
            if message["type"] == "message":
                await socket.send_text(message["data"].decode())

    return app


_UPSERT = """
    INSERT INTO sales VALUES ('total', $1, $2) ON CONFLICT (key) DO UPDATE SET
        orders = sales.orders + excluded.orders, gross = sales.gross + excluded.gross
    RETURNING orders, gross
"""
_OFFSET = """
    INSERT INTO offsets SELECT * FROM unnest($1::int[], $2::bigint[])
    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset
"""


async def worker() -> None:
    """Reads, adds up, commits with the offsets, publishes the new total."""
    connection = await asyncpg.connect(setting("POSTGRES"))
    schema = setting("SCHEMA")
    await connection.execute(
        f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema};"
        "CREATE TABLE sales (key text PRIMARY KEY, orders bigint, gross numeric);"
        "CREATE TABLE offsets (partition int PRIMARY KEY, next_offset bigint)"
    )
    redis = Redis.from_url(setting("REDIS"))
    consumer = AIOKafkaConsumer(
        setting("TOPIC"),
        bootstrap_servers=setting("KAFKA"),
        group_id=schema,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    while True:
        fetched = await consumer.getmany(timeout_ms=1000)
        if not fetched:
            continue
        events: list[Any] = [orjson.loads(r.value) for rs in fetched.values() for r in rs]
        gross = sum(
            float(line["price"]) * line["quantity"]
            for event in events
            for line in event["data"]["products"]
        )
        async with connection.transaction():
            row = await connection.fetchrow(_UPSERT, len(events), gross)
            await connection.execute(
                _OFFSET,
                [tp.partition for tp in fetched],
                [records[-1].offset + 1 for records in fetched.values()],
            )
        assert row is not None
        await redis.publish(setting("TOPIC"), orjson.dumps({"orders": row["orders"]}))


def main() -> None:
    if sys.argv[1] == "worker":
        uvloop.run(worker())
    else:
        uvicorn.run(
            api(),
            port=int(setting("PORT")),
            loop="uvloop",
            log_level="warning",
            ws_per_message_deflate=False,
        )


if __name__ == "__main__":
    main()
