"""Faust as its guide has it: an agent that takes 1,000 events and upserts them at once.

The stock transport on uvloop. Its offsets are Kafka's own: what was applied and not yet committed
there when it dies is applied again.
"""

from pathlib import Path
from typing import Any

import faust
import orjson
import uvloop
from yarl import URL

from loadtests.contenders.handwritten import commit, connect
from loadtests.contenders.job import Job, Progress, told


def worker(job: Job) -> faust.Worker:
    progress = Progress(job)
    app = faust.App(
        job.group,
        broker=URL(f"kafka://{job.kafka}"),
        datadir=Path.cwd() / job.group,
        autodiscover=False,
        web_enabled=False,
        value_serializer="raw",
        key_serializer="raw",
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )

    @app.on_partitions_assigned.connect
    async def on_assigned(*_: Any, **__: Any) -> None:
        progress.assigned()

    @app.agent(app.topic(job.topic, value_type=bytes, key_type=bytes))
    async def sales(stream: Any) -> None:
        connection = await connect(job.postgres, job.schema)
        async for values in stream.take(1000, within=0.1):
            await commit(connection, [orjson.loads(value) for value in values])
            progress.committed(len(values))

    return faust.Worker(app, loop=uvloop.new_event_loop(), loglevel="WARN", redirect_stdouts=False)


if __name__ == "__main__":
    worker(told()).execute_from_commandline()
