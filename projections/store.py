"""One group's progress and read models in Postgres: a batch is one transaction, or nothing.

`prepare` loads the states that a batch builds on and folds it, while the batch before is still
being committed: what that one leaves behind is taken from its own fold. `commit` then only writes.
This is sound because a key lives on one partition, and a partition's rows change only together
with its progress row, which `commit` moves first: if that row is where the batch begins, nobody
has touched what the batch was folded on. If it is not, nothing is written and all is folded anew.

The order within a transaction is always the same: progress rows moved, and thereby locked;
quarantine; the read models in the order of the table of subscriptions, each with its keys sorted.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from projections import at_once, fence, skips
from projections.clock import ShopClock, moment
from projections.culprit import first_failing, first_refused
from projections.erasure import erased
from projections.live import Publisher
from projections.postgres import AWAY
from projections.read_model import (
    LIVE,
    Figure,
    Folded,
    FoldFailed,
    ReadModel,
    Setting,
    Step,
    Transaction,
)
from streams import crash_points
from streams.aside import aside
from streams.batch import Batch, Moved, Part, Partition, Progress, Quarantined, Transient
from streams.crash_points import reached
from streams.erased import Erased

_TRANSIENT = (*AWAY, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
# What Postgres says of rows that it does not take, whenever they come.
_REFUSED = (
    *(asyncpg.DataError, asyncpg.IntegrityConstraintViolationError),
    asyncpg.ProgramLimitExceededError,
)


@dataclass
class Prepared:
    """A batch, folded, on the ground that the batch before is applied as it was folded then."""

    batch: Batch
    folded: Mapping[str, Folded]
    setting: Setting
    ground: "tuple[Prepared, Mapping[str, Folded]] | None" = None
    applied: bool = False

    def stands(self) -> bool:
        """Whether what it was folded on has come true."""
        return self.ground is None or (
            self.ground[0].applied and self.ground[0].folded is self.ground[1]
        )


class ReadModelChanged(Exception):
    """A read model's code is of another version than its table."""


class Fenced(Exception):
    """Someone else has applied records of this batch."""


class GroupStore:
    """Implements `streams.batch.Store` for one group."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        group: str,
        steps: Sequence[Step],
        clock: ShopClock,
        publisher: Publisher | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool = pool
        self._group = group
        self._steps = steps
        self._clock = clock
        self._now = now
        self._generations: Mapping[str, int] = {}  # of the tables that batches are folded onto
        self._erased = Erased()  # names that are not to come into them
        self.publisher = publisher

    def _setting(self) -> Setting:
        """Live are whole days: a snapshot reads them whole."""
        day = self._clock.day(self._clock.hour(self._now() - LIVE))
        return Setting(self._clock, self._clock.midnight(day))

    async def register(self) -> Mapping[str, int]:
        """Each read model's generation; a new one's first. Raises ReadModelChanged."""
        models = [step.model for step in self._steps]
        async with self._transaction() as transaction:
            # The names come second: they may be newer than the tables, and never older.
            self._generations = await generations_of(transaction, self._group, models)
            self._erased = await erased(transaction)
        return self._generations

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        """Where to go on. A partition that was never read gets its row now."""
        topics = [partition.topic for partition in ids]
        numbers = [partition.number for partition in ids]
        async with self._transaction() as transaction:
            await transaction.execute(
                """
                INSERT INTO progress (group_name, topic, partition, topic_id)
                SELECT $1, * FROM unnest($2::text[], $3::int[], $4::uuid[])
                ON CONFLICT DO NOTHING
                """,
                self._group,
                topics,
                numbers,
                list(ids.values()),
            )
            rows = await transaction.fetch(
                """
                SELECT topic, partition, next_offset, topic_id, last_digest FROM progress
                WHERE group_name = $1
                    AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::int[]))
                """,
                self._group,
                topics,
                numbers,
            )
            skipped = await skips.of_group(transaction, self._group)
        return {
            (partition := Partition(row["topic"], row["partition"])): Progress(
                row["next_offset"], row["topic_id"], row["last_digest"], skipped.get(partition, {})
            )
            for row in rows
        }

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:
        """Folds a batch onto what is stored, and onto the batch before, which may still be on its
        way there. Raises Transient, FoldFailed."""
        setting = self._setting()
        folded: dict[str, Folded] = {}
        loaded: dict[str, Mapping[Any, Any]] = {}
        ground = (before, before.folded) if before is not None and not before.applied else None
        for model, topics, of in self._steps:
            given: Sequence[Any] = (
                folded[of].changes if of else self._erased.facts(batch.facts(topics))
            )
            known: Mapping[Any, Any] = {}
            if model.load is not None and given:
                async with self._connection() as connection:
                    known = await model.load(connection, given)
                if ground is not None:
                    known = {**known, **ground[1][model.name].states}
            loaded[model.name] = known
            try:
                folded[model.name] = await aside(len(given), model.fold, given, known, setting)
            except Exception as error:
                found = await aside(
                    len(given), first_failing, self._steps, model.name, batch, loaded, setting
                )
                if found is None:
                    raise
                raise FoldFailed(model.name, found) from error
        return Prepared(batch, folded, setting, ground)

    async def commit(self, prepared: Prepared) -> None:
        """Writes a prepared batch. Raises Moved, Transient, FoldFailed."""
        if not prepared.stands():
            prepared.folded = (await self.prepare(prepared.batch)).folded
            prepared.ground = None
        parts = prepared.batch.parts
        try:
            figures = await self._write(prepared)
        except Fenced:
            if self._generations:
                await self.register()  # the tables may be new ones
            raise Moved(await self._next_offsets(parts)) from None
        except _REFUSED as error:
            refused = await self._first_refused(prepared.batch)
            if refused is None:
                raise
            raise refused from error
        reached("committed")
        prepared.applied, prepared.ground = True, None
        if self.publisher is not None:
            self.publisher.offer(_labelled(figures, self._generations))

    async def _write(self, prepared: Prepared) -> Sequence[Figure]:
        """One transaction; the live figures that it changes. Raises Fenced."""
        parts, setting = prepared.batch.parts, prepared.setting
        folded = prepared.folded
        rows = {model: rows for model, *_ in self._steps if (rows := folded[model.name].rows)}
        if self._few(prepared.batch, rows):
            async with self._connection() as connection:
                changed = await at_once.write(
                    connection, self._group, parts, rows, setting, self._generations
                )
            if changed is None:
                raise Fenced
            return changed
        figures: list[Figure] = []
        async with self._transaction() as transaction:
            await self._advance(transaction, parts)
            reached("progress_moved")
            await self._keep_quarantined(transaction, parts)
            for model, its_rows in rows.items():
                figures += await model.put(transaction, its_rows, setting)
            reached("written")
        return figures

    async def _first_refused(self, batch: Batch) -> FoldFailed | None:
        """Of a batch that Postgres does not take, the event without which it takes all before it,
        and with which it does not; None where it takes the whole batch."""

        async def refuses(part: Batch) -> str | None:
            folded = (await self.prepare(part)).folded
            async with self._connection() as connection:
                trial = connection.transaction()
                await trial.start()
                try:
                    for model, *_ in self._steps:
                        try:
                            await model.put(connection, folded[model.name].rows, self._setting())
                        except _REFUSED:
                            return model.name
                finally:
                    await trial.rollback()
            return None

        return await first_refused(batch, refuses)

    def _few(self, batch: Batch, models: Iterable[ReadModel]) -> bool:
        """Whether a batch can be written in one statement."""
        return (
            batch.records() <= at_once.MOST_RECORDS
            and all(model.write is not None for model in models)
            and not any(part.quarantined for part in batch.parts)
            and not crash_points.in_transaction
        )

    async def _advance(self, transaction: Transaction, parts: Sequence[Part]) -> None:
        """Moves the progress rows, which locks them, so that no one else can apply the same records
        meanwhile. Raises Fenced where one does not stand at its part's beginning, or where a read
        model was rebuilt: what this batch was folded onto is gone."""
        held = await transaction.fetchval(
            f"{fence.MOVE} SELECT yes FROM held_all",  # noqa: S608  (made of constants)
            *fence.arguments(self._group, parts, self._generations),
        )
        if not held:
            raise Fenced

    async def _next_offsets(self, parts: Sequence[Part]) -> Mapping[Partition, int]:
        """Where the parts' partitions stand; -1 where there is no row any more."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                """
            SELECT topic, partition, next_offset FROM progress
            WHERE group_name = $1
                AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::int[]))
            """,
                self._group,
                [part.partition.topic for part in parts],
                [part.partition.number for part in parts],
            )
        at = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {part.partition: at.get(part.partition, -1) for part in parts}

    async def _keep_quarantined(self, transaction: Transaction, parts: Sequence[Part]) -> None:
        rows = [
            (
                self._group,
                *part.partition,
                record.offset,
                record.event_id,
                record.field,
                record.reason,
                *((None, None) if self._erased.concerns(record.value) else _whole(record)),
                moment(record.timestamp_ms),
                record.shop,
            )
            for part in parts
            for record in part.quarantined
        ]
        if rows:
            await transaction.executemany(
                "INSERT INTO quarantine VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", rows
            )

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None:
        """Moves the watermark of partitions that are still at these offsets."""
        async with self._transaction() as transaction:
            await transaction.execute(
                """
                UPDATE progress SET complete_to = greatest(complete_to, $5)
                FROM unnest($2::text[], $3::int[], $4::bigint[]) AS idle (topic, partition, at)
                WHERE group_name = $1 AND progress.topic = idle.topic
                    AND progress.partition = idle.partition AND next_offset = idle.at
                """,
                self._group,
                [partition.topic for partition in next_offsets],
                [partition.number for partition in next_offsets],
                list(next_offsets.values()),
                at,
            )

    async def resumed(self) -> None:
        """Someone may have died between a commit and Redis."""
        if self.publisher is not None:
            self.publisher.ask_refill()

    def live_day(self) -> date:
        """The first day of which figures are live."""
        return self._clock.day(self._clock.hour(self._setting().live_since))

    async def live_figures(self) -> list[Figure]:
        """All live figures of the group's read models, as Postgres has them."""
        setting = self._setting()
        # Known before the figures are read: a label may be older than its figure, never newer.
        generations = self._generations
        async with self._connection() as connection:
            figures = [
                figure
                for step in self._steps
                if step.model.live is not None
                for figure in await step.model.live(connection, setting)
            ]
        return _labelled(figures, generations)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["PoolConnectionProxy[asyncpg.Record]"]:
        """A connection; what may pass is raised as Transient."""
        try:
            async with self._pool.acquire() as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:
                    # asyncpg loses its place where the server ends a connection under it.
                    connection.terminate()
                    raise
        except _TRANSIENT as error:
            raise Transient(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        """One transaction. Where it raises Transient its outcome may be unknown: nothing is sent
        again by itself, the caller comes back, and the progress rows tell."""
        async with self._connection() as connection, connection.transaction():
            yield connection


async def generations_of(
    transaction: Transaction, group: str, models: Sequence[ReadModel]
) -> Mapping[str, int]:
    """Each read model's generation; one that is new is entered. Raises ReadModelChanged where a
    table is of other code, or would begin in the middle of the log."""
    generations = {}
    begun = await transaction.fetchval(
        "SELECT EXISTS (SELECT FROM progress WHERE group_name = $1 AND next_offset > 0)", group
    )
    for model in models:
        entered = await transaction.execute(
            "INSERT INTO read_models VALUES ($1, $2, 1) ON CONFLICT DO NOTHING",
            model.name,
            model.version,
        )
        if begun and entered.endswith(" 1"):
            raise ReadModelChanged(
                f"{model.name} is new, and the log is not: run `tillstream rebuild {model.name}`, "
                "then start its workers"
            )
        row = await transaction.fetchrow(
            "SELECT version, generation FROM read_models WHERE name = $1", model.name
        )
        assert row is not None
        if row["version"] != model.version:
            raise ReadModelChanged(
                f"{model.name} is version {row['version']} here, the code is version "
                f"{model.version}: run `tillstream rebuild {model.name}` with the newer of "
                "the two, then start its workers"
            )
        generations[model.name] = row["generation"]
    return generations


def _whole(record: Quarantined) -> tuple[bytes | None, bytes | None]:
    return record.key, record.value


def _labelled(figures: Sequence[Figure], generations: Mapping[str, int]) -> list[Figure]:
    """Figures that say of which generation of their table they are."""
    return [figure._replace(generation=generations.get(figure.metric, 1)) for figure in figures]
