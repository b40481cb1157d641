"""The rate that holds: API, read models, learner, servers and who sends, all on this machine at
once, with nobody falling behind.

Rates are tried in turn, from low to high, until one is not held: what is acknowledged and not yet
applied has grown by more than half a second's worth in the second half of a try, or the API did not
take in what was sent.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import asyncpg
import msgspec

from app.settings import Servers
from app.subscriptions import ALL_GROUPS, GROUPS
from loadtests.bench.events import generate
from loadtests.bench.processes import Failed
from loadtests.bench.services import ours
from loadtests.bench.tables import Row, Table
from loadtests.bench.wire import Connection, request

RATES = (1000, 2000, 3000, 4000, 6000, 8000, 10_000, 12_000, 15_000, 20_000, 25_000)
SECONDS = 20
BATCH = 50
CONNECTIONS = 8
EVENTS = 60_000  # different ones; then they come again as events of other orders
SLACK_SECONDS = 0.5
TRIES = 2  # a rate is not held where it is not held twice
PATIENCE_SECONDS = 60

EVERYTHING, WITHOUT = "all read models and both learners", "the same without the learners"


class Tried(NamedTuple):
    """A try: events a second that were acknowledged, and by how many seconds' worth each group's
    lag grew in its second half."""

    rate: float
    grown: Mapping[str, float]

    def holds(self, rate: int) -> bool:
        """Whether what was sent at this rate was taken in, and nobody fell behind."""
        return self.rate >= 0.97 * rate and max(self.grown.values()) <= SLACK_SECONDS


async def measure(
    servers: Servers, home: Path, rounds: int, tell: Callable[[str], None]
) -> list[Table]:
    """The highest rate held, in events a second, a value for each round."""
    events = list(_events())
    rows = [Row(EVERYTHING, "–"), Row(WITHOUT, "forecasts, recommendations")]
    for number in range(rounds):
        for row in rows:
            rate = await _highest(servers, home, events, row.contender == EVERYTHING, tell)
            row.values.append(rate)
            tell(f"held, round {number + 1}: {row.contender}: {rate:,.0f}/s")
    note = f"By HTTP in batches of {BATCH}, each rate for {SECONDS} s, the next not held."
    return [Table("Events held at a flat lag", "events/s", EVERYTHING, rows, notes=[note])]


def _events() -> Iterator[bytes]:
    """Submissions of events of now, `@` standing for what tells one pass from another."""
    for event in generate(EVENTS):
        body = {"id": f"{event.id}@", "type": event.type, "data": event.data}
        yield msgspec.json.encode(body).replace(b'_id":"order-', b'_id":"@-')


async def _highest(
    servers: Servers, home: Path, events: list[bytes], learner: bool, tell: Callable[[str], None]
) -> float:
    best = 0.0
    async with ours(servers, home, worker=True, learner=learner) as pipeline:
        schema = pipeline.environment["TILLSTREAM_SCHEMA_NAME"]
        postgres = await asyncpg.connect(
            servers.postgres, server_settings={"search_path": f'"{schema}"'}
        )
        groups = len(ALL_GROUPS if learner else GROUPS)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(await _applied(postgres)) < groups:
                    await asyncio.sleep(0.1)
            bodies = _bodies(events)
            sent = 0
            for rate in RATES:
                for _ in range(TRIES):
                    tried, sent = await _try(pipeline.port, postgres, bodies, rate, sent)
                    grown = ", ".join(f"{group} {by:+.2f} s" for group, by in tried.grown.items())
                    tell(f"  {rate:,}/s: {tried.rate:,.0f}/s acknowledged; lag {grown}")
                    if tried.holds(rate):
                        best = tried.rate
                        break
                if not tried.holds(rate):
                    break
        finally:
            await postgres.close()
    return best


def _bodies(events: list[bytes]) -> Iterator[bytes]:
    number = 0
    while True:
        for start in range(0, len(events) - BATCH, BATCH):
            array = b"[" + b",".join(events[start : start + BATCH]) + b"]"
            yield array.replace(b"@", str(number).encode())
        number += 1


async def _applied(postgres: asyncpg.Connection) -> dict[str, int]:
    """How many records of orders each group has applied."""
    rows = await postgres.fetch(
        "SELECT group_name, sum(next_offset)::bigint AS applied FROM progress "
        "WHERE topic = 'orders' GROUP BY group_name"
    )
    return {row["group_name"]: row["applied"] for row in rows}


async def _try(
    port: int, postgres: asyncpg.Connection, bodies: Iterator[bytes], rate: int, sent: int
) -> tuple[Tried, int]:
    """Sends at a rate for a while, then waits until all is applied. Raises Failed."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    acknowledged = sent
    due = iter(range(rate * SECONDS // BATCH))

    async def lane() -> None:
        nonlocal acknowledged
        connection = await Connection.open(port)
        try:
            for number in due:
                await asyncio.sleep(begun + number * BATCH / rate - loop.time())
                if loop.time() - begun > SECONDS:
                    return
                status, body = await connection.post(request("/v1/events", next(bodies)))
                if status != 202:
                    raise Failed(f"{status}: {body[:200]!r}")
                acknowledged += BATCH
        finally:
            connection.close()

    async def lags() -> dict[str, int]:
        applied = await _applied(postgres)
        return {group: acknowledged - count for group, count in applied.items()}

    async def half_time() -> dict[str, int]:
        await asyncio.sleep(SECONDS / 2)
        return await lags()

    sending = asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
    half = await half_time()
    await sending
    took = loop.time() - begun
    end = await lags()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while max((await lags()).values()) > 0:
            await asyncio.sleep(0.05)
    grown = {group: (end[group] - half[group]) / rate for group in sorted(end)}
    return Tried((acknowledged - sent) / took, grown), acknowledged
