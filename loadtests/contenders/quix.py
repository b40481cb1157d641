# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "quixstreams==3.28.1",
#     "asyncpg==0.31.0",
#     "orjson==3.11.9",
#     "uvloop==0.22.1",
# ]
# ///
"""Quix Streams with a batching sink; its dependencies do not go together with ours.

A checkpoint every so many records; at each, one transaction for all that the sink holds, then
Kafka's own offsets. What was written and not yet committed there when it dies is written again.
"""

import sys
from typing import Any

import orjson
import uvloop
from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch

from loadtests.contenders.handwritten import commit, connect
from loadtests.contenders.job import Job, Progress, told


class Sink(BatchingSink):  # type: ignore[misc]
    """Writes what has gathered since the last checkpoint, of all partitions at once."""

    def __init__(self, job: Job, progress: Progress) -> None:
        super().__init__()
        self._job = job
        self._progress = progress
        self._loop = uvloop.new_event_loop()

    def setup(self) -> None:
        self._connection = self._loop.run_until_complete(
            connect(self._job.postgres, self._job.schema)
        )

    def flush(self) -> None:
        events = [item.value for batch in self._batches.values() for item in batch]
        self._batches.clear()
        if events:
            self._loop.run_until_complete(commit(self._connection, events))
            self._progress.committed(len(events))

    def write(self, batch: SinkBatch) -> None: ...


def run(job: Job) -> None:
    progress = Progress(job)
    app = Application(
        broker_address=job.kafka,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_every=job.commit_records,
        commit_interval=5.0,
        loglevel="WARNING",
        consumer_extra_config={
            "queued.min.messages": 4 * job.commit_records,
            "max.partition.fetch.bytes": 4 * 1024 * 1024,
        },
        auto_create_topics=False,
        use_changelog_topics=False,
        on_message_processed=None,
    )
    topic = app.topic(job.topic, value_deserializer="bytes", key_deserializer="bytes")
    assigned = app._on_assign

    def on_assign(*arguments: Any) -> None:
        progress.assigned()
        assigned(*arguments)

    app._on_assign = on_assign
    app.dataframe(topic).apply(orjson.loads).sink(Sink(job, progress))
    app.run()


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        run(told())
