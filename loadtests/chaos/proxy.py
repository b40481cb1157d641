"""A link that can be cut and slowed: TCP, passed on byte by byte, between workers and Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum

_BYTES = 64 * 1024
# As asyncpg says it, in a simple query; and a batch in one statement, with where its parts are.
_COMMITS = (b"COMMIT;\x00", b'[["orders",')


class Cut(Enum):
    """Where a link breaks at the next COMMIT."""

    BEFORE = "the COMMIT never arrives"
    AFTER = "the COMMIT arrives, its answer does not"


class Link:
    """Listens on a port of its own and passes everything on to a server."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cuts: list[Cut] = []
        self.delay = 0.0
        """Seconds that everything takes, each way."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Link"]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.cut()

    def cut(self) -> None:
        """Resets every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def cut_at_commits(self, *cuts: Cut) -> None:
        """Breaks a connection at each of the next COMMITs; returns when that is done."""
        self._cuts += cuts
        while self._cuts:
            await asyncio.sleep(0.01)

    def spare(self) -> None:
        """What was not cut by now is not."""
        self._cuts.clear()

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        """For the time of the block nothing passes, and nothing is closed either."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        up = asyncio.create_task(self._pass_on(reader, back, writer, watched=True))
        down = asyncio.create_task(self._pass_on(there, writer, back, watched=False))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, back):
            self._writers.discard(one)
            one.transport.abort()
        await asyncio.gather(up, down, return_exceptions=True)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        *,
        watched: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_BYTES):
                await self._flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                commits = watched and any(commit in data for commit in _COMMITS)
                cut = self._cuts.pop(0) if commits and self._cuts else None
                if cut is Cut.BEFORE:
                    return
                writer.write(data)
                await writer.drain()
                if cut is Cut.AFTER:
                    other.transport.abort()
                    await asyncio.sleep(0.2)  # the server has it by now, and answers into nothing
                    return
