"""Raw HTTP over kept connections: a client that is never the limit."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from app.settings import DEMO_KEY


@dataclass
class Connection:
    """One kept-alive connection, one request at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, request: bytes) -> tuple[int, bytes]:
        """The answer's status and body."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return int(head[9:12]), await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.close()


def request(
    path: str, body: bytes, token: str = DEMO_KEY, headers: Mapping[str, str] | None = None
) -> bytes:
    """A POST with a write key, or with somebody's token."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(
    port: int,
    connections: int,
    requests: Iterator[bytes],
    seconds: float,
    answered: Callable[[int, bytes], None],
    times: list[float] | None = None,
) -> float:
    """Sends as fast as answers come, on so many connections; how long it took in seconds. `times`
    gets what each request took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def lane() -> None:
        connection = await Connection.open(port)
        try:
            while loop.time() - begun < seconds:
                sent = loop.time()
                answered(*await connection.post(next(requests)))
                if times is not None:
                    times.append(loop.time() - sent)
        finally:
            connection.close()

    await asyncio.gather(*(lane() for _ in range(connections)))
    return loop.time() - begun
