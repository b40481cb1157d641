"""`tillstream rebuild all`, from making the tables to dropping the old ones."""

import asyncio
import logging
import os
from zoneinfo import ZoneInfo

import structlog
import uvloop

from app.subscriptions import steps_of
from loadtests.contenders.job import Job, Progress, told
from projections.clock import ShopClock
from projections.rebuild import rebuild
from projections.refold import COMMIT_RECORDS, Group, Source
from streams.interpreter import tune


async def run(job: Job, models: int | None = None) -> None:
    """Rebuilds a group's first read models, so many of them."""
    progress = Progress(job)
    group = Group(job.postgres, job.schema, job.group, steps_of(job.group)[:models])
    clock = ShopClock(ZoneInfo("UTC"))
    source = Source(job.kafka, job.prefix, 100_000, COMMIT_RECORDS, clock, os.cpu_count() or 1)
    progress.assigned()
    await rebuild(group, source)
    progress.committed(job.records)


def main(models: int | None = None) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    job = told()
    tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(job, models))


if __name__ == "__main__":
    main()
