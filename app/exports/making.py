"""Has files made by processes of their own, so many at once, from an API process."""

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import structlog

from app.exports.task import Outcome, Refused, Task

_outcome: msgspec.json.Decoder[Outcome] = msgspec.json.Decoder(Outcome)
logger = structlog.get_logger()

MOST_AT_ONCE = 2
_SECONDS = 300.0


class NoPlace(Exception):
    """As many files are being made as may be."""


class Unmakeable(Exception):
    """It cannot be made; the message says why, and `code` what the API calls that."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class NotMade(Exception):
    """The process that was to make it has ended without; what it said was logged."""


class File(NamedTuple):
    """A file that is whole, and in no folder any more: closed, it is gone."""

    content: BinaryIO
    size: int
    rows: int
    most_kilobytes: int


class Making:
    """The places of a process for files that are being made. What is made is sent without a
    place, however slowly it is taken."""

    def __init__(self) -> None:
        self._free = MOST_AT_ONCE

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises NoPlace."""
        if not self._free:
            raise NoPlace
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def make(self, task_of: Callable[[str], Task]) -> File:
        """The file of a task, which is told its path. Raises Unmakeable, NotMade, TimeoutError."""
        with tempfile.TemporaryDirectory(prefix="tillstream-export-") as folder:
            path = Path(folder) / "made"
            outcome = await _made(task_of(str(path)))
            if isinstance(outcome, Refused):
                raise Unmakeable(outcome.reason, outcome.code)
            content = path.open("rb")
            return File(content, path.stat().st_size, outcome.rows, outcome.most_kilobytes)


async def _made(task: Task) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.exports.process"), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_SECONDS):
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            await process.stdin.drain()
            told = await process.stdout.read()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()
    if process.returncode:
        logger.error("a file was not made", code=process.returncode, task=type(task.of).__name__)
        raise NotMade
    return _outcome.decode(told)
