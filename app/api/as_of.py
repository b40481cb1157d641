"""`as_of=`: a report as it was known at a moment, or once some positions were in it.

What is kept of that past is answered from; else a job makes it, and the answer says where to look.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import asyncpg
import orjson
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request, Response

from app.api.completeness import RETRY, CompleteTo, parse_positions
from app.api.jobs import shown
from app.api.problems import Problem
from app.folding import group_of, source_of, topics_in
from app.jobs import queue
from app.jobs.as_of import AS_OF, asked_of
from app.jobs.job import Job
from app.jobs.runner import Runner
from app.reports.report import Asked, Moment, Report
from app.settings import Settings
from app.subscriptions import GROUPS, SUBSCRIPTIONS
from projections import as_of
from projections.as_of import Gone, Past
from projections.clock import ShopClock
from projections.postgres import AWAY
from projections.read_model import Transaction
from projections.refold import Group
from streams.batch import Partition
from streams.log import APPEND_SECONDS
from streams.moments import LogAt, log_at

_SETTLED = timedelta(seconds=60)  # what was received longer ago does not come to the log any more
_MOST_LOOKED_UP = 1000
_LOOKING = 4  # who ask Kafka at once, each on connections of its own
_FAILED_SECONDS = 60  # so long nobody tries again what has failed
_OWNERS = {row.model.name: row.group for row in SUBSCRIPTIONS if row.group in GROUPS}
_CONVERTED = ("currency_rates",)  # are joined by whatever is asked `into` a currency
_MISSING = re.compile(r'relation "([a-z_]+)" does not exist')
_POSITIONS = re.compile(r"\s*[a-z_]+:")


class Underway(Exception):
    """A job makes what was asked for: 202, and where to look."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.id)
        self.job = job


def install(app: FastAPI) -> None:
    """Answers with 202 what a job has yet to make."""

    async def under_way(_: Request, error: Exception) -> Response:
        assert isinstance(error, Underway)
        job = error.job
        shop = f"?shop={quote(job.shop, safe='')}"  # a key's own, if it names none
        left = job.left()
        seconds = 1 if left is None else min(max(round(left.total_seconds()), 1), 60)
        return Response(
            orjson.dumps({"job": shown(job)}),
            202,
            headers={"Location": f"/v1/jobs/{job.id}{shop}", "Retry-After": str(seconds)},
            media_type="application/json",
        )

    app.add_exception_handler(Underway, under_way)


_NO_PAST = "this is made of more than the log tells, which has no past"


class PastFigures:
    """Reports as they were."""

    def __init__(
        self, settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]", runner: Runner
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._runner = runner
        self._clock = ShopClock(settings.timezone)
        self._silence = timedelta(seconds=settings.cart_silence)
        self._looking = asyncio.Semaphore(_LOOKING)
        self._looked_up: dict[tuple[str | datetime, ...], LogAt] = {}
        # Which tables of other groups a question is found to join.
        self._joined: dict[tuple[str, frozenset[str]], tuple[str, ...]] = {}

    @asynccontextmanager
    async def snapshot(
        self, report: Report[Any], asked: Asked
    ) -> AsyncIterator[tuple[Transaction, Moment, CompleteTo]]:
        """A transaction to query the past in, when that was, and what it is complete to. Raises
        Underway, Problem."""
        assert asked.as_of is not None
        if asked.min_position:
            raise _invalid("what is of the past waits for no min_position")
        if not report.past:
            raise Problem(422, "no_as_of", _NO_PAST)
        now = datetime.now(UTC)
        wanted = parse(asked.as_of, now)
        question = (report.name, frozenset(asked.model_fields_set))
        joined = self._joined.get(question, _CONVERTED if getattr(asked, "into", None) else ())
        names = (report.group, *report.also)
        try:
            pasts, schemas = await self._sought(names, joined, wanted, now)
            try:
                async with as_of.reading(self._pool, schemas) as (transaction, known):
                    at = wanted if isinstance(wanted, datetime) else known.latest or now
                    moment = Moment(self._clock, at, self._silence)
                    yield transaction, moment, _complete_to(known, wanted)
            except Gone:
                raise Underway(await self._ask(asked, schemas, pasts)) from None
            except asyncpg.UndefinedTableError as error:
                missing = _MISSING.search(str(error))
                if missing is None or missing[1] in joined or missing[1] not in _OWNERS:
                    raise Problem(422, "no_as_of", _NO_PAST) from error
                self._joined[question] = joined = (*joined, missing[1])
                pasts, schemas = await self._sought(names, joined, wanted, now)
                raise Underway(await self._ask(asked, schemas, pasts)) from None
        except AWAY as error:
            raise Problem(
                503, "postgres_unavailable", "the figures cannot be read now", headers=RETRY
            ) from error

    async def _sought(
        self, names: Sequence[str], joined: Sequence[str], wanted: datetime | str, now: datetime
    ) -> tuple[list[Past], list[str]]:
        """The past of groups, and of what is joined from others, and where it would stand. Raises
        Problem."""
        source = source_of(self._settings)
        pasts = [await self._past(group, wanted, now) for group in self._groups(names, joined)]
        return pasts, [(await as_of.described(self._pool, past, source))[0] for past in pasts]

    async def _ask(self, asked: Asked, schemas: Sequence[str], pasts: Sequence[Past]) -> Job:
        """The job that makes it. Raises Problem."""
        assert asked.as_of is not None
        key = ",".join(schemas)
        last = await queue.last(self._pool, AS_OF, key)
        if last is not None and last.state == "failed":
            again = last.changed + timedelta(seconds=_FAILED_SECONDS) - datetime.now(UTC)
            if (seconds := round(again.total_seconds())) > 0:
                raise Problem(
                    503, "as_of_failed", str(last.error), headers={"Retry-After": str(seconds)}
                )
        try:
            job, new = await queue.ask(
                self._pool,
                AS_OF,
                asked.shop,
                asked_of(asked.as_of, pasts),
                key,
                self._settings.jobs_waiting,
            )
        except queue.TooMany as error:
            raise Problem(429, "too_many_jobs", str(error), headers={"Retry-After": "10"}) from None
        if new:
            self._runner.wake()
        return job

    def _groups(self, names: Sequence[str], joined: Sequence[str]) -> list[Group]:
        """Whole groups, and as much of others as keeps the tables that are joined from them."""
        others = dict.fromkeys(_OWNERS[table] for table in joined if _OWNERS[table] not in names)
        return [
            *(group_of(self._settings, name) for name in dict.fromkeys(names)),
            *(
                group_of(self._settings, name, [t for t in joined if _OWNERS[t] == name])
                for name in others
            ),
        ]

    async def _past(self, group: Group, wanted: datetime | str, now: datetime) -> Past:
        """A group's past. Raises Problem."""
        if isinstance(wanted, datetime):
            found = await self._at(group, wanted, now)
            return Past(group, found.offsets, found.ids)
        positions = parse_positions(group.name, [wanted], self._settings.partitions, "as_of")
        found = await self._look(group, None)
        topics = topics_in(group)
        ends = {Partition(*at): offset + 1 for at, offset in positions.items() if at[0] in topics}
        for partition, end in ends.items():
            if end > found.offsets.get(partition, 0):
                at = f"{partition.topic}:{partition.number}"
                raise _invalid(f"{at}:{end - 1} is not in the log yet")
        return Past(group, {**dict.fromkeys(found.offsets, 0), **ends}, found.ids)

    async def _at(self, group: Group, at: datetime, now: datetime) -> LogAt:
        """Where a moment is in the log; what is settled is looked up once."""
        place: tuple[str | datetime, ...] = (*topics_in(group), at)
        if place in self._looked_up:
            return self._looked_up[place]
        found = await self._look(group, at)
        if now - at > _SETTLED:
            while len(self._looked_up) >= _MOST_LOOKED_UP:
                self._looked_up.pop(next(iter(self._looked_up)))
            self._looked_up[place] = found
        return found

    async def _look(self, group: Group, at: datetime | None) -> LogAt:
        kafka, prefix = self._settings.servers.kafka, self._settings.prefix
        try:
            async with self._looking:
                return await log_at(kafka, prefix, topics_in(group), at)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Problem(
                503, "log_unavailable", "the log does not say where it stood", headers=RETRY
            ) from error


def _complete_to(known: as_of.Known, wanted: datetime | str) -> CompleteTo:
    """What was received so long before the moment had come to the log by then."""
    settled = timedelta(seconds=APPEND_SECONDS)
    return CompleteTo(
        next_offsets=dict(known.next_offsets),
        time=wanted - settled if isinstance(wanted, datetime) else None,
    )


def parse(text: str, now: datetime) -> datetime | str:
    """A moment, in UTC, or positions as they were told. Raises Problem."""
    if _POSITIONS.match(text):
        if "outbox:" in text:
            raise _invalid("positions in the log, such as orders:3:1234, and none of the outbox")
        return text
    try:
        # In an address a plus is a space.
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
        if found.tzinfo is None:
            raise _invalid(f"{text!r} does not say its zone: as 2026-03-01T12:00:00Z does")
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        reason = "neither a moment such as 2026-03-01T12:00:00Z nor positions as orders:3:1234"
        raise _invalid(f"{text!r} is {reason}") from None
    if found > now:
        raise _invalid(f"{text} is yet to come")
    return found


def _invalid(reason: str) -> Problem:
    return Problem(422, "invalid", f"as_of: {reason}", [{"field": "as_of", "reason": reason}])
