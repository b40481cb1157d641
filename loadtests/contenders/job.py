"""What a contender is told, and what it tells when it has done. Needs nothing but Python."""

import gc
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Job:
    """The servers, the contender's own schema and group, and how many records there are."""

    kafka: str
    postgres: str
    redis: str
    schema: str
    prefix: str
    group: str
    partitions: int
    records: int
    commit_records: int
    dedupe: bool

    @property
    def topic(self) -> str:
        return f"{self.prefix}orders"


def told() -> Job:
    """The job that this process was started for. Also sets the collector as all contenders have it:
    what a batch is made of forms no cycles, and looking for them costs a fifth of the time."""
    gc.freeze()
    gc.set_threshold(500_000, 20, 50)
    return Job(**json.loads(sys.argv[1]))


class Progress:
    """Counts what is committed, from the moment when the consumer has its partitions."""

    def __init__(self, job: Job) -> None:
        self._left = job.records
        self._commits = 0
        self._assigned_at = 0.0
        self._busy_at = 0.0

    def assigned(self) -> None:
        """The consumer knows what it reads; only the first time counts."""
        if not self._assigned_at:
            self._assigned_at, self._busy_at = time.monotonic(), _busy()

    def committed(self, records: int) -> None:
        """Postgres has so many more. After the last one this process ends."""
        self._left -= records
        self._commits += 1
        if self._left <= 0:
            self._end()

    def _end(self) -> NoReturn:
        times = {"assigned": self._assigned_at, "committed": time.monotonic()}
        busy = _busy() - self._busy_at
        result = json.dumps(times | {"busy": busy, "commits": self._commits})
        print(f"\n{result}", flush=True)  # a framework may have begun a line
        os._exit(0)


def _busy() -> float:
    """Seconds of processor time, with that of processes that were started here and have ended."""
    return sum(os.times()[:4])
