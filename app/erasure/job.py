"""What follows an erasure: all that had learned from the person is made anew, beside what answers.

One pass is for all who were erased before it began; the jobs of the others find that it is done.
The figures of the group that knows visitors are folded anew as well: which of two persons a browser
that they shared is counted for goes by their names, and one of them has another now.
"""

from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.erasure.erase import find
from app.folding import group_of, source_of
from app.jobs.job import Job, JobFailed, NotNow, Progress
from app.learner import rebuild as learners
from app.learner.process import snapshot_key
from app.settings import Settings
from app.subscriptions import GROUPS, LEARNER_GROUPS, SUBSCRIPTIONS, learners_of
from ml_online import journal
from ml_online.journal import Entry
from ml_online.models import LearningFailed, Models
from projections.as_of import drop_all
from projections.postgres import connect_alone
from projections.read_model import FoldFailed
from projections.rebuild import RebuildRunning, forget_attempt, rebuild
from projections.refold import offsets_of
from projections.visitor_links import VISITOR_LINKS
from streams.batch import LogChanged
from streams.exclusive import Connection

logger = structlog.get_logger()

_LOCK_SECONDS = 5
_BY_NAME = next(row.group for row in SUBSCRIPTIONS if row.model is VISITOR_LINKS)


async def run(settings: Settings, job: Job, progress: Progress) -> dict[str, Any]:
    """One pass, unless another has done it since. Raises JobFailed, NotNow, and what says that a
    server is away."""
    connection = await connect_alone(settings.servers.postgres, settings.schema_name, seconds=None)
    try:
        known = await find(connection, None, None, UUID(job.asked["erasure_id"]))
        if known is None:
            raise JobFailed("this erasure is not known here")
        if known.rebuilt_at is not None:
            return {**known.shown(), "shared": True}
        waiting = await connection.fetch("SELECT id FROM erasures WHERE rebuilt_at IS NULL")
        await _forget(connection, settings)
        found: dict[str, Any] = {"persons": len(waiting)}
        try:
            rebuilt = await rebuild(
                group_of(settings, _BY_NAME), source_of(settings), progress.tell
            )
            found["figures"] = {"group": _BY_NAME, "records": rebuilt.folded}
            found["models"] = {
                group: await _learn(settings, group, progress) for group in LEARNER_GROUPS
            }
        except (RebuildRunning, learners.Running) as error:
            raise NotNow(str(error)) from error
        except (LogChanged, FoldFailed, LearningFailed) as error:
            raise JobFailed(str(error)) from error
        await connection.execute(
            "UPDATE erasures SET rebuilt_at = now() WHERE id = ANY($1)",
            [row["id"] for row in waiting],
        )
        return found
    finally:
        await connection.close()


async def _forget(connection: Connection, settings: Settings) -> None:
    """What may be made again whenever somebody asks: figures of the past, and what attempts at
    rebuilding have left."""
    for group in GROUPS:
        await forget_attempt(connection, group_of(settings, group))
    async with connection.transaction():
        await drop_all(connection, settings.schema_name)


async def _learn(settings: Settings, group: str, progress: Progress) -> dict[str, Any]:
    """The models of a group of learners."""
    models, key = Models(learners_of(group)), snapshot_key(settings)
    try:
        done = await learners.rebuild(settings, group, models, key, progress.tell)
    except learners.NotTold as error:
        await without_models(settings, group)
        logger.info("there are no models to be made anew", reason=str(error))
        return {"records": 0}
    return {"records": done.records, "digest": done.digest}


async def without_models(settings: Settings, group: str) -> None:
    """Where the log does not tell what was learned, nothing of it may stay either: whoever learns
    begins with what there is of the log. A learner that is at work sees by the journal's next place
    that its models are no longer those that count, and comes up anew."""
    connection: asyncpg.Connection[asyncpg.Record] = await connect_alone(
        settings.servers.postgres, settings.schema_name
    )
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
            await connection.execute("LOCK TABLE learner_journal IN SHARE ROW EXCLUSIVE MODE")
            await connection.execute("DELETE FROM learner_snapshots WHERE group_name = $1", group)
            if read := await offsets_of(connection, group, settings.schema_name):
                (partition, at), seq = min(read.items()), await journal.last(connection, group)
                await journal.append(connection, group, [Entry(seq + 1, partition, at, at)])
    finally:
        await connection.close()
