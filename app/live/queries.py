"""Live queries: a report is asked again when its read models have moved, once for all who ask it.

One cheap look at the groups' progress, ten times a second while somebody listens, says which
answers are old. A query is never asked while it is being asked, and rests four times as long as it
took: however slow it is, it takes a fifth of one connection. What a client was not sent yet is the
difference between what it has and the latest answer, made when it can take it; so who is slow gets
less, and delays nobody.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from app.learner import client
from app.live import protocol
from app.live.answers import (
    SAME,
    Answer,
    Difference,
    answer_of,
    delta_message,
    difference,
    snapshot_message,
)
from app.live.asking import Question
from app.live.protocol import Message
from app.reports.report import Learner, Moment, TooManyRows
from projections.clock import ShopClock
from projections.conversion import NoRate
from projections.postgres import AWAY
from projections.read_model import Transaction
from streams.codec import Refused

logger = structlog.get_logger()

MOST_QUERIES = 200
"""Different ones in a process; however many ask the same, it is one."""
MOST_ROWS = 5_000
"""In the answer to a live query."""

_POLL_SECONDS = 0.1
_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 15.0
_LEAST_REST_SECONDS = 0.1
_RESTS = 4  # times as long as it took
_AGES_SECONDS = 2.0
_LONGEST_SECONDS = 30.0  # for what is asked of more than its group's read models
_AT_ONCE = 2

# What has moved: the progress of each group, that of its topics (`learners/days`), and (under "")
# the tables that a rebuild put in place.
_MARKS = """
    SELECT group_name, sum(next_offset)::text AS mark FROM progress GROUP BY group_name
    UNION ALL
    SELECT group_name || '/' || topic, sum(next_offset)::text FROM progress
    GROUP BY group_name, topic
    UNION ALL
    SELECT '', string_agg(name || ':' || generation, ',' ORDER BY name) FROM read_models
"""
Marks = Mapping[str, str | None]


class Away(Exception):
    """Postgres does not answer now."""


class Snapshots(Protocol):
    """Where reports are read."""

    def __call__(self, group: str) -> AbstractAsyncContextManager[Transaction]:
        """One snapshot of a group's read models. Raises Away."""


class LiveQuery:
    """One question, its latest answer, and who listens to it."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: Answer | None = None
        self.refused: Refused | None = None
        self.old = asyncio.Event()
        self.old.set()
        self.watches: set[Watch] = set()
        self.marks: Marks | None = None
        self.task: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._differences: dict[str, Difference] = {}

    def look(self, marks: Marks, now: float) -> None:
        """Calls the answer old where something has moved, or by its age."""
        report, asked = self.question
        lasts = _AGES_SECONDS if report.ages else _LONGEST_SECONDS
        own = f"{report.group}/{report.topic}" if report.topic else report.group
        groups = {"", own, *report.others(asked)}
        moved = self.marks is None or any(marks.get(g) != self.marks.get(g) for g in groups)
        if moved or now - self._asked_at > lasts:
            self.old.set()

    def begin(self, marks: Marks | None, now: float) -> None:
        """It is asked now. What moves behind these marks may not be in the answer."""
        self.old.clear()
        self.marks, self._asked_at = marks, now

    def take(self, answer: Answer) -> None:
        """The latest answer, which its listeners are woken for where it is another."""
        if self.answer is None or self.answer.revision != answer.revision:
            self.answer = answer
            self._differences.clear()
            self._wake()

    def refuse(self, refused: Refused) -> None:
        """It has no answer, and its listeners are told why."""
        self.refused = refused
        self._wake()

    def since(self, before: Answer) -> Difference:
        """What leads to the latest answer, made once for all who have the same."""
        assert self.answer is not None
        if before.revision not in self._differences:
            self._differences[before.revision] = difference(before, self.answer)
        return self._differences[before.revision]

    def _wake(self) -> None:
        for watch in self.watches:
            watch.wake()


class Watch:
    """One client's subscription to a live query: what it has, and so what it is to be sent."""

    def __init__(
        self, name: str, query: LiveQuery, since: str | None, wake: Callable[[], None]
    ) -> None:
        self.id = name
        self.query = query
        self.wake = wake
        self._since = since
        self._has: Answer | None = None

    def next(self) -> Message | None:
        """What is to be sent now, if anything is. After an error there is nothing more."""
        if self.query.refused is not None:
            return protocol.error(self.query.refused, self.id)
        before, now = self._has, self.query.answer
        if now is None or before is now:
            return None
        self._has = now
        if before is not None:
            if before.revision == now.revision:
                return None
            return delta_message(self.id, now.revision, self.query.since(before))
        if self._since == now.revision:
            return delta_message(self.id, now.revision, SAME)
        return snapshot_message(self.id, now)


class Queries:
    """All live queries of a process."""

    def __init__(
        self,
        pool: Any,
        snapshots: Snapshots,
        clock: ShopClock,
        cart_silence: timedelta,
        learner: Learner | None = None,
        recommender: Learner | None = None,
    ) -> None:
        self._pool = pool
        self._snapshots = snapshots
        self._clock = clock
        self._cart_silence = cart_silence
        self._learner = learner
        self._recommender = recommender
        self._queries: dict[tuple[str, str], LiveQuery] = {}
        self._marks: Marks | None = None
        self._some = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def has_room(self, question: Question) -> bool:
        """Whether it can be live."""
        return question.key in self._queries or len(self._queries) < MOST_QUERIES

    def watch(
        self, name: str, question: Question, since: str | None, wake: Callable[[], None]
    ) -> Watch:
        """Listens to a question, asking it from now on where nobody did. Raises Refused."""
        if not self.has_room(question):
            raise Refused("subscribe", f"at most {MOST_QUERIES} different live queries at a time")
        query = self._queries.get(question.key)
        if query is None:
            query = self._queries[question.key] = LiveQuery(question)
            query.task = asyncio.create_task(self._keep(query))
            self._some.set()
        watch = Watch(name, query, since, wake)
        query.watches.add(watch)
        wake()
        return watch

    def leave(self, watch: Watch) -> None:
        """Listens no more. What nobody listens to is asked no more."""
        watch.query.watches.discard(watch)
        if not watch.query.watches:
            self._forget(watch.query)

    def _forget(self, query: LiveQuery) -> None:
        if self._queries.get(query.question.key) is query:
            del self._queries[query.question.key]
        if not self._queries:
            self._some.clear()
            self._marks = None
        if query.task is not None and query.refused is None:
            query.task.cancel()

    async def run(self) -> None:
        """Looks what has moved, for ever, while anybody listens."""
        while True:
            await self._some.wait()
            try:
                self._marks = {
                    row["group_name"]: row["mark"] for row in await self._pool.fetch(_MARKS)
                }
            except AWAY as error:
                logger.warning("progress is not known now", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for query in self._queries.values():
                query.look(self._marks, time.monotonic())
            await asyncio.sleep(_POLL_SECONDS)

    async def close(self, seconds: float) -> None:
        """Asks nothing any more; whoever asks still is waited for so many seconds at most."""
        tasks = [query.task for query in self._queries.values() if query.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _keep(self, query: LiveQuery) -> None:
        """Keeps an answer new, until it is refused."""
        while True:
            await query.old.wait()
            begun = time.monotonic()
            try:
                async with self._at_once:
                    begun = time.monotonic()
                    query.begin(self._marks, begun)
                    query.take(await self._ask(query.question))
                rest = max(_LEAST_REST_SECONDS, _RESTS * (time.monotonic() - begun))
            except Away as error:
                logger.warning("a live query waits", error=str(error))
                query.old.set()
                took = time.monotonic() - begun
                rest = min(max(_RETRY_SECONDS, _RESTS * took), _LONGEST_RETRY_SECONDS)
            except Refused as refused:
                self._end(query, refused)
                return
            except Exception as error:
                name = query.question.report.name
                logger.exception("a live query failed", report=name, exc_info=error)
                self._end(query, Refused("subscribe", f"{name} failed: this is our fault"))
                return
            await asyncio.sleep(rest)

    def _end(self, query: LiveQuery, refused: Refused) -> None:
        query.refuse(refused)
        self._forget(query)

    async def _ask(self, question: Question) -> Answer:
        """Raises Away, Refused."""
        report, asked = question
        async with self._snapshots(report.group) as transaction:
            now = datetime.now(UTC)
            moment = Moment(
                *(self._clock, now, self._cart_silence, MOST_ROWS),
                *(self._learner, self._recommender),
            )
            try:
                rows = await report.rows(transaction, moment, asked)
            except NoRate as error:
                raise Refused("filter", f"into: {error}") from None
            except TooManyRows as error:
                raise Refused("filter", f"{report.name}: {error}") from None
            except client.Away as error:
                raise Away(str(error)) from error
        if len(rows) > MOST_ROWS:
            reason = f"{report.name} has {len(rows)} rows by this filter; {MOST_ROWS} are live"
            raise Refused("filter", reason)
        return answer_of(report.name, asked.shop, report.key(asked), rows)
