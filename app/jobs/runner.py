"""Starts processes that do jobs, from an API process, where jobs wait.

In a process of its own a job takes no answer's time; started by the API, it is done wherever
answers are given, also while no worker runs.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

import asyncpg
import structlog

from app.jobs import queue
from app.jobs.kinds import KINDS
from app.settings import Settings
from projections.postgres import AWAY

logger = structlog.get_logger()

_LOOK_SECONDS = 3.0
_TAKEN_UP_SECONDS = 0.5
_AGAIN_SECONDS = 0.5
_END_SECONDS = 2.0


class Runner:
    """Looks for jobs now and then, and when it is woken."""

    def __init__(self, settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._settings = settings
        self._pool = pool
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There is a new job."""
        self._woken.set()

    async def run(self) -> None:
        """Starts processes, for ever; ends them when it is cancelled."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._start()
                except AWAY as error:
                    logger.warning("jobs wait: Postgres does not answer", error=repr(error))
                try:
                    await asyncio.wait_for(self._woken.wait(), _LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start(self) -> None:
        """A process more, if there is something to do that those that run do not take up."""
        if self._running:
            await asyncio.sleep(_TAKEN_UP_SECONDS)
        room = self._settings.jobs - len(self._running)
        if room > 0 and await queue.waiting(self._pool, list(KINDS)):
            task = asyncio.create_task(self._process())
            self._running.add(task)
            task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._woken.set()  # perhaps it was killed

    async def _process(self) -> None:
        """One process, from its beginning to its end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.jobs.process", stdin=PIPE
        )
        assert process.stdin is not None
        try:
            process.stdin.write(self._settings.model_dump_json().encode() + b"\n")
            code = await process.wait()
            if code:
                logger.warning("a process that does jobs has ended", code=code)
                await asyncio.sleep(_AGAIN_SECONDS)  # the next may fare no better
        finally:
            await _ended(process)


async def _ended(process: Process) -> None:
    """Ends a process: it hears that nobody is there any more."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
