"""Rebuilding read models of the sales, all and one, beside reading and decoding the same topic."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from aiokafka import TopicPartition

from app.settings import Servers
from app.subscriptions import steps_of
from loadtests.bench.catch_up import (
    PARTITIONS,
    PATIENCE,
    Tell,
    check,
    check_orders,
    produce,
    result_of,
)
from loadtests.bench.events import Recount
from loadtests.bench.processes import Failed, output_of
from loadtests.bench.tables import Row, Table
from loadtests.contenders.job import Job
from projections.postgres import connect, migrate
from projections.refold import COMMIT_RECORDS
from streams.readback import log_ends
from streams.topic_ids import topic_ids

PREFIX = "rebuild-"
GOAL = "0.30 ×"

_READ = "getmany and decode"
_CONTENDERS = {
    _READ: ("getmany", "everything but reading"),
    "rebuild all": ("rebuild", "–"),
    "rebuild of orders alone": ("rebuild_one", "the other read models"),
}


async def measure(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Events a second of each in every round, after one rebuild that fills the live tables."""
    expected, size = await produce(servers, count, PREFIX)
    jobs = {}
    for module, _ in _CONTENDERS.values():
        job = jobs[module] = Job(
            kafka=servers.kafka,
            postgres=servers.postgres,
            redis=servers.redis,
            schema=f"bench_{module}",
            prefix=PREFIX,
            group="sales",
            partitions=PARTITIONS,
            records=count,
            commit_records=COMMIT_RECORDS,
            dedupe=True,
        )
        await as_if_read(job)
        await run(home, module, job, expected)
    rates = {name: Row(name, leaves_out) for name, (_, leaves_out) in _CONTENDERS.items()}
    busy = {name: Row(name, leaves_out) for name, (_, leaves_out) in _CONTENDERS.items()}
    for number in range(rounds):
        for name in sorted(_CONTENDERS, reverse=bool(number % 2)):
            module, _ = _CONTENDERS[name]
            try:
                seconds, seconds_busy = await run(home, module, jobs[module], expected)
            except Failed as failed:
                rates[name].failed = busy[name].failed = str(failed)
                tell(f"{name}: {failed}")
                continue
            rates[name].values.append(count / seconds)
            busy[name].values.append(count / seconds_busy)
            tell(f"{name}: {count / seconds:,.0f} events/s")
    made = ", ".join(step.model.name for step in steps_of("sales"))
    note = (
        f"{count:,} events of {size:.0f} B on {PARTITIONS} partitions into {made}, by as many "
        "processes as there are cores, from making the tables to the comparison with the old ones "
        f"and their end, nobody else writing. The goal, for one read model, is {GOAL}."
    )
    by_rate, by_busy = list(rates.values()), list(busy.values())
    own = "Of all its processes; Postgres' own time comes on top."
    return [
        Table("Rebuilding from the log", "events/s", _READ, by_rate, 0, [note]),
        Table("Rebuilding, by processor time", "events/s", _READ, by_busy, 0, [own]),
    ]


async def as_if_read(job: Job) -> None:
    """The state of workers that stand at the log's end. Their tables are empty as yet."""
    await migrate(job.postgres, job.schema)
    names = [TopicPartition(job.topic, number) for number in range(job.partitions)]
    ends = await log_ends(job.kafka, names)
    ids = await topic_ids(job.kafka, [job.topic])
    async with await connect(job.postgres, job.schema, size=1) as pool:
        await pool.executemany(
            "INSERT INTO progress (group_name, topic, partition, topic_id, next_offset) "
            "VALUES ($1, 'orders', $2, $3, $4)",
            [(job.group, name.partition, ids[job.topic], ends[name][1]) for name in names],
        )


async def run(home: Path, module: str, job: Job, expected: Recount) -> tuple[float, float]:
    """The seconds that it took by the clock, and those of processor time. Raises Failed where it
    did not end, or ended in other figures."""
    command = [sys.executable, "-m", f"loadtests.contenders.{module}", json.dumps(asdict(job))]
    found = result_of(await output_of(command, home, PATIENCE))
    async with await connect(job.postgres, job.schema, size=1) as pool:
        async with pool.acquire() as connection:
            if module == "rebuild":
                await check(connection, job.schema, expected)  # type: ignore[arg-type]
            elif module == "rebuild_one":
                await check_orders(connection, job.schema, expected)  # type: ignore[arg-type]
    return found["committed"] - found["assigned"], found["busy"]
