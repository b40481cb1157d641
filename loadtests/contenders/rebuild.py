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
from projections.refold import Group, Source
from streams.interpreter import tune


async def run(job: Job) -> None:
    progress = Progress(job)
    group = Group(job.postgres, job.schema, job.group, steps_of(job.group))
    clock = ShopClock(ZoneInfo("UTC"))
    source = Source(job.kafka, job.prefix, 100_000, job.commit_records, clock, os.cpu_count() or 1)
    progress.assigned()
    await rebuild(group, source)
    progress.committed(job.records)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    job = told()
    tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(job))
