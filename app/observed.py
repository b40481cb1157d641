"""A group's store, seen from outside: counted, timed, and an alert that names what went wrong."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog

from app import metrics
from ml_online.models import LearningFailed
from projections.read_model import FoldFailed
from projections.skips import note_failure
from projections.store import GroupStore, Prepared
from streams import codec
from streams.batch import Batch, Part, Partition, Progress, Quarantined, Transient
from streams.codec import Refused

logger = structlog.get_logger()

_MOST_LINES = 20  # a batch's worth of refused records is thousands, at worst


class Observed:
    """Implements `streams.batch.Store` by another one."""

    def __init__(self, store: GroupStore, pool: "asyncpg.Pool[asyncpg.Record]", group: str) -> None:
        self._store = store
        self._pool = pool
        self._group = group
        self._commits = metrics.COMMITS.labels(group)
        self._seconds = metrics.COMMIT_SECONDS.labels(group)
        self._retries = metrics.RETRIES.labels(group)
        self._records = {
            name: metrics.RECORDS.labels(group, name)
            for name in ("applied", "repeated", "quarantined")
        }

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        return await self._store.progress(ids)

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:
        async with self.watched():
            return await self._store.prepare(batch, before)

    async def commit(self, prepared: Prepared) -> None:
        begun = time.perf_counter()
        async with self.watched():
            await self._store.commit(prepared)
        self._commits.inc()
        self._seconds.observe(time.perf_counter() - begun)
        self._count(prepared.batch.parts)

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None:
        await self._store.caught_up(next_offsets, at)

    async def resumed(self) -> None:
        await self._store.resumed()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Tells what goes wrong in the block."""
        try:
            yield
        except (FoldFailed, LearningFailed) as failed:
            await self._alert(failed)
            raise
        except Transient:
            self._retries.inc()
            raise

    def _count(self, parts: Sequence[Part]) -> None:
        self._records["applied"].inc(sum(len(part.facts) for part in parts))
        self._records["repeated"].inc(sum(len(part.repeated) for part in parts))
        refused = [(part.partition, one) for part in parts for one in part.quarantined]
        if not refused:
            return
        self._records["quarantined"].inc(len(refused))
        for partition, record in refused[:_MOST_LINES]:
            logger.warning("a record is quarantined", **self._told(partition, record))
        if len(refused) > _MOST_LINES:
            logger.warning("and more of them", group=self._group, more=len(refused) - _MOST_LINES)

    def _told(self, partition: Partition, record: Quarantined) -> dict[str, object]:
        return {
            "group": self._group,
            "position": f"{partition.topic}:{partition.number}:{record.offset}",
            "shop": record.shop,
            "event_id": record.event_id,
            "correlation_id": _correlation(record.value),
            "field": record.field,
            "reason": record.reason,
        }

    async def _alert(self, failed: FoldFailed | LearningFailed) -> None:
        """The group stops. Says on which event, here and in Postgres, and what to do."""
        fact, cause = failed.fact, failed.__cause__ or failed
        position = f"{fact.topic}:{fact.partition}:{fact.offset}"
        logger.critical(
            "the group stops: a model fails on an event",
            group=self._group,
            model=failed.model,
            position=position,
            event_id=fact.event.id,
            event_type=fact.event.type,
            shop=fact.event.shop,
            correlation_id=fact.event.correlation_id,
            error=type(cause).__name__,
            next=f"mend {failed.model}, or: tillstream quarantine skip {position} "
            f"--group {self._group} --reason …",
            exc_info=cause,
        )
        try:
            await note_failure(self._pool, self._group, failed.model, fact, cause)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            logger.warning("the failure could not be noted in Postgres", error=repr(error))


def _correlation(value: bytes | None) -> str | None:
    """What a record says it belongs to, where it can be read at all."""
    try:
        return codec.decode_envelope(value).correlation_id
    except Refused:
        return None
