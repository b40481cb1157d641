"""Settings of the interpreter for a process that only folds."""

import asyncio
import ctypes
import gc
import sys

import uvloop

_COLLECTING_SECONDS = 60.0


def tune() -> None:
    """Collects garbage seldom, changes threads often, and makes quick loops."""
    # A batch makes a million objects that live until its commit and form no cycles: looking through
    # them again and again would cost a third of the time.
    gc.freeze()
    gc.set_threshold(500_000, 20, 50)
    sys.setswitchinterval(0.001)
    # Also for the thread in which Faust talks to Kafka, which makes a loop of its own.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def collect_garbage(every: float = _COLLECTING_SECONDS) -> None:
    """Collects all garbage every so many seconds, for ever, and gives back what it took.

    The interpreter counts objects, and where little comes in 500,000 of them take an hour. But each
    connection to Kafka that is closed leaves cycles, and what it last fetched is held by them. And
    what was free in between glibc keeps: a worker that once lagged would stay as large as it was.
    """
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)  # others have none, and need none
    while True:
        await asyncio.sleep(every)
        gc.collect()
        if give_back is not None:
            give_back(0)
