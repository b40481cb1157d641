"""Tillstream's own worker as it is, with `orders` and `revenue` alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from app.settings import Settings
from app.worker import GroupWorker
from loadtests.contenders.job import Job, Progress, told
from projections.clock import ShopClock
from projections.orders import ORDERS
from projections.read_model import Step
from projections.revenue import REVENUE
from projections.store import GroupStore, Prepared
from streams.interpreter import tune

STEPS = (Step(ORDERS, topics=("orders",)), Step(REVENUE, of=ORDERS.name))


class CountedStore(GroupStore):
    """A store that tells what it has committed."""

    progress_of_job: Progress

    async def commit(self, prepared: Prepared) -> None:
        await super().commit(prepared)
        self.progress_of_job.committed(sum(p.next - p.first for p in prepared.batch.parts))


class Worker(GroupWorker):
    """A worker that ends when all is committed."""

    def __init__(self, job: Job, steps: Sequence[Step] = STEPS) -> None:
        self.job_progress = Progress(job)
        settings = Settings(
            home=Path.cwd(),
            kafka=job.kafka,
            postgres=job.postgres,
            redis=job.redis,
            prefix=job.prefix,
            schema_name=job.schema,
            commit_records=job.commit_records,
        )
        super().__init__(settings, job.group, steps, loop=uvloop.new_event_loop())
        self.app.on_partitions_assigned.connect(self._assigned)

    async def _assigned(self, *_: Any, **__: Any) -> None:
        self.job_progress.assigned()

    def open_store(self, pool: "asyncpg.Pool[asyncpg.Record]", clock: ShopClock) -> GroupStore:
        store = CountedStore(pool, self.group, self.steps, clock)
        store.progress_of_job = self.job_progress
        return store


if __name__ == "__main__":
    job = told()
    tune()
    Worker(job).execute_from_commandline()
