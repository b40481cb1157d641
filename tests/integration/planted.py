"""A worker with a bug in it, as a process: `python -m tests.integration.planted KIND`.

A sale of the product `poison` makes a read model that is fed by another one raise, sit in a loop,
or wait for ever; with TILLSTREAM_TEST_MENDED set it does not.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import uvloop

from app import logs
from app.settings import Settings
from app.subscriptions import steps_of
from app.worker import GroupWorker
from projections.orders import Posting
from projections.read_model import Figure, Folded, ReadModel, Setting, Step, Transaction
from streams.interpreter import tune


def poisoned(given: Sequence[Posting]) -> bool:
    return any(line.product == "poison" for posting in given for line in posting.lines)


def fails(given: Sequence[Posting], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    if poisoned(given):
        raise ZeroDivisionError("planted")
    return Folded()


def hangs(given: Sequence[Posting], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    while poisoned(given):
        time.sleep(0.1)
    return Folded()


def passes(given: Sequence[Posting], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    return Folded(given)


async def nothing(*_: object) -> Sequence[Figure]:
    return []


async def waits(_: Transaction, rows: Sequence[Posting], __: Setting) -> Sequence[Figure]:
    if poisoned(rows):
        await asyncio.Event().wait()
    return []


PLANTED = {
    "fails": ReadModel("planted", 1, fails, nothing),
    "hangs": ReadModel("planted", 1, hangs, nothing),
    "waits": ReadModel("planted", 1, passes, waits),
}


def main() -> None:
    settings = Settings()
    tune()
    logs.configure("json")
    steps = [*steps_of("sales"), Step(PLANTED[sys.argv[1]], of="orders")]
    worker = GroupWorker(settings, "sales", steps, loop=uvloop.new_event_loop())
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
