"""A process that does jobs, one after another, until none has waited for a while.

An API process starts it, so that what takes long never holds up an answer, and ends it with itself:
it is told its settings on its standard input, and ends where that does. A job is the process's that
holds its lock, on a connection that also says how far it is; whoever cannot say so has lost the
lock, and stops. Killed, it leaves a job that is running and that nobody has the lock of: the next
process takes it up from where it was.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog
import uvloop
from aiokafka.errors import KafkaError

from app import logs
from app.jobs import queue
from app.jobs.job import Job, JobFailed, Kind, NotNow, Progress
from app.jobs.kinds import KINDS
from app.settings import Settings
from projections.postgres import AWAY, sessions_of_jobs
from streams.batch import Transient
from streams.exclusive import Connection, taken
from streams.readback import ReadBackFailed

logger = structlog.get_logger()

_BEAT_SECONDS = 0.5
_LOOK_SECONDS = 0.2
_LINGER_SECONDS = 5.0  # to start a process takes longer than most jobs
_AGAIN = timedelta(seconds=10)
_PATIENCE = timedelta(hours=1)
_NICE = 3  # what is live goes first
_GONE_SECONDS = 10  # after which Postgres lets go of the locks of a machine that is gone

PASSING = (*AWAY, NotNow, Transient, ReadBackFailed, KafkaError)
"""What says that a server is away, and may be back."""


class _Cancelled(Exception):
    """The job is not to be done any more."""


async def connected(settings: Settings) -> Connection:
    """The connection that a process holds its locks on."""
    return await asyncpg.connect(
        settings.servers.postgres,
        command_timeout=30,
        server_settings={
            "search_path": f'"{settings.schema_name}"',
            "application_name": sessions_of_jobs(settings.schema_name),
            "jit": "off",
            "tcp_keepalives_idle": str(_GONE_SECONDS),
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "3",
        },
    )


async def work(settings: Settings, kinds: Mapping[str, Kind] = KINDS, linger: float = 0.0) -> int:
    """Does jobs until none has waited for so many seconds, unless as many processes as may are at
    it already; how many.

    Raises PostgresError, OSError.
    """
    connection = await connected(settings)
    try:
        if not await _admitted(connection, settings.jobs):
            return 0
        await queue.forget(connection)
        count, until = 0, time.monotonic()
        while True:
            if (job := await queue.claim(connection, list(kinds))) is not None:
                await do(connection, settings, kinds[job.kind], job)
                await queue.leave(connection, job)
                count, until = count + 1, time.monotonic() + linger
            elif time.monotonic() < until:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return count
    finally:
        connection.terminate()


async def _admitted(connection: Connection, most: int) -> bool:
    """Whether this is one of so many processes, all API processes' together."""
    for number in range(most):
        if await taken(connection, f"jobs/{number}"):
            return True
    return False


async def do(connection: Connection, settings: Settings, kind: Kind, job: Job) -> None:
    """Does one job, and notes what came of it. Raises what says that its lock is lost."""
    log = logger.bind(job=str(job.id), kind=kind.name)
    if job.attempts > queue.MOST_ATTEMPTS:
        why = f"{job.attempts - 1} processes ended in doing it without saying why"
        await _failed(connection, settings, kind, job, why)
        return
    try:
        await queue.finish(connection, job, await _run(connection, settings, kind, job))
    except _Cancelled:
        log.info("cancelled")
        await _give_up(settings, kind, job)
    except asyncio.CancelledError:
        await queue.put_off(connection, job, None, timedelta(0))
        raise
    except PASSING as error:
        if connection.is_closed():
            raise
        why = str(error) or repr(error)
        log.warning("put off", reason=why)
        if datetime.now(UTC) - job.created > _PATIENCE:
            await _failed(connection, settings, kind, job, why)
        else:
            await queue.put_off(connection, job, why, _AGAIN)
    except JobFailed as error:
        await _failed(connection, settings, kind, job, str(error))
    except Exception as error:
        log.exception("a job failed")
        await _failed(
            connection, settings, kind, job, f"this is our fault, and was logged: {error!r}"
        )


async def _run(
    connection: Connection, settings: Settings, kind: Kind, job: Job
) -> Mapping[str, Any]:
    """A job's result. Raises what it raises, and _Cancelled."""
    progress = Progress()
    progress.tell(job.done, job.total)
    running = asyncio.ensure_future(kind.run(settings, job, progress))
    try:
        while not (await asyncio.wait({running}, timeout=_BEAT_SECONDS))[0]:
            if not await queue.beat(connection, job, progress.done, progress.total):
                raise _Cancelled
        result = running.result()
        await queue.beat(connection, job, progress.done, progress.total)
        return result
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _failed(
    connection: Connection, settings: Settings, kind: Kind, job: Job, why: str
) -> None:
    await _give_up(settings, kind, job)
    await queue.fail(connection, job, why)


async def _give_up(settings: Settings, kind: Kind, job: Job) -> None:
    if kind.give_up is None:
        return
    try:
        await kind.give_up(settings, job)
    except PASSING as error:
        logger.warning("something is left of a job that was given up", error=repr(error))


# The process.


async def _run_until_alone(settings: Settings, told: asyncio.StreamReader) -> None:
    """Does jobs for as long as whoever has started this is there."""
    working = asyncio.ensure_future(work(settings, linger=_LINGER_SECONDS))
    listening = asyncio.ensure_future(told.read())  # up to the end
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, listening):
            task.cancel()
        found = await asyncio.gather(working, listening, return_exceptions=True)
    if isinstance(found[0], PASSING):
        logger.warning("jobs wait", reason=repr(found[0]))
        sys.exit(1)
    if isinstance(found[0], Exception):
        raise found[0]


async def _main() -> None:
    told = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    settings = Settings.model_validate_json(await told.readline())
    logs.configure(settings.log)
    await _run_until_alone(settings, told)


def main() -> None:
    """Does jobs, as told on standard input."""
    for number in (signal.SIGINT, signal.SIGTERM):  # who has started it says when it is to end
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(_NICE)
    gc.freeze()
    uvloop.run(_main())


if __name__ == "__main__":
    main()
