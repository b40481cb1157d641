"""Ends a process that is stuck, so that whoever keeps it up starts another.

Stuck is: records wait in a partition that is ours, and its offset in Postgres has not moved for so
long; or the group is not joined for much longer than that takes; while Kafka and Postgres both
answer. It is asked from a thread with connections of its own, for what is stuck may be the event
loop; where even threads get no turn, C code ends the process.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog

from app.settings import Settings
from app.status import reading_status
from streams.batch import Partition

logger = structlog.get_logger()

STUCK = os.EX_TEMPFAIL  # the exit code
_LOOKS = 4  # in the time after which a process counts as stuck
_JOIN_SECONDS = 300.0  # it takes less than two minutes, with the windows read back
_JOINING = Partition("", -1)


class Standstill:
    """Since when partitions have stood still while records waited in them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[Partition, tuple[int, float]] = {}  # the offset, and since when

    def look(self, waiting: Mapping[Partition, int], now: float) -> Collection[Partition]:
        """The next offsets of partitions in which records wait; those that stand still too long."""
        before = self._seen
        self._seen = {
            partition: before[partition]
            if partition in before and before[partition][0] == offset
            else (offset, now)
            for partition, offset in waiting.items()
        }
        return [p for p, (_, since) in self._seen.items() if now - since >= self._seconds]


@contextmanager
def watching(
    settings: Settings,
    group: str,
    ours: Callable[[], Collection[Partition]],
    joined: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Ends the process if it gets stuck within this block. What is `ours`, and whether the group is
    `joined`, be it with partitions or without, is asked from another thread."""
    if not settings.stuck_seconds:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(settings, group, ours, joined, over), name="watchdog", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        faulthandler.cancel_dump_traceback_later()


def _watch(
    settings: Settings,
    group: str,
    ours: Callable[[], Collection[Partition]],
    joined: Callable[[], bool],
    over: threading.Event,
) -> None:
    seconds = settings.stuck_seconds
    standstill, joining = Standstill(seconds), Standstill(max(seconds, _JOIN_SECONDS))
    while True:
        # Twice: a look may itself take as long as a process may be stuck.
        faulthandler.dump_traceback_later(2 * seconds, exit=True)
        if over.wait(seconds / _LOOKS):
            faulthandler.cancel_dump_traceback_later()
            return
        outside = {} if joined() else {_JOINING: 0}
        waiting: Mapping[Partition, int] = {}
        try:
            if (mine := frozenset(ours())) or outside:
                waiting = asyncio.run(_waiting(settings, group, mine, seconds))
        # Where Kafka or Postgres does not answer, waiting is all that a reader can do.
        except Exception as error:
            logger.info("the watchdog sees nothing", error=repr(error))
            outside = {}
        now = time.monotonic()
        still = [*standstill.look(waiting, now), *joining.look(outside, now)]
        if still and not over.is_set():
            _end(group, still, seconds)


async def _waiting(
    settings: Settings, group: str, ours: Collection[Partition], seconds: float
) -> Mapping[Partition, int]:
    """The next offset of each of our partitions in which records wait. Raises what Kafka's and
    Postgres' clients do where they do not answer."""
    async with asyncio.timeout(seconds), reading_status(settings) as status:
        (found,) = await status.groups([group])
    return {
        one.partition: one.next_offset
        for one in found.partitions
        if one.partition in ours and one.lag
    }


def _end(group: str, still: Collection[Partition], seconds: float) -> None:
    what = "the group is not joined" if _JOINING in still else "records wait and nothing moves"
    logger.critical(
        f"stuck: {what}; this process ends, to be started again",
        group=group,
        partitions=[f"{one.topic}:{one.number}" for one in still if one != _JOINING],
        seconds=seconds,
    )
    faulthandler.dump_traceback(all_threads=True)
    sys.stderr.flush()
    os._exit(STUCK)
