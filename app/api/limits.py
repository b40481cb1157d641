"""What one API process takes on at once, and how fast from whom. What is beyond it is refused at
once with when to come again, never queued: a queue only makes all of them late.

Nothing here is shared between processes. A write key's rate holds at each of them, so n processes
take n times as much; none of them has anything to ask, and so nothing that could fail.
"""

import asyncio
import zlib
from math import ceil
from types import TracebackType

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.problems import Problem

MOST_REQUEST_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 10.0
"""How long a body may take to come."""

_REQUEST_BYTES = 16 * 1024  # what a request takes besides its body: its connection, task and scope
_BURST_SECONDS = 2.0
_RETRY = {"Retry-After": "2"}
_GZIP = 16 + zlib.MAX_WBITS


class Room:
    """How many bytes the requests under way may take together."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def share(self) -> "Share":
        """One request's part of it, given back at the end of a `with`."""
        return Share(self)

    def take(self, size: int) -> None:
        """Raises Problem where there is no room for it."""
        if self.held_bytes + size > self._most_bytes:
            raise Problem(
                503,
                "overloaded",
                "too much is under way already. Nothing is acknowledged: send it again",
                headers=_RETRY,
            )
        self.held_bytes += size


class Share:
    """What one request has taken of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held_bytes = 0

    def take(self, size: int) -> None:
        """Raises Problem."""
        self._room.take(size)
        self._held_bytes += size

    def __enter__(self) -> "Share":
        self.take(_REQUEST_BYTES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._room.held_bytes -= self._held_bytes


class Rates:
    """A bucket of events for each write key, filled at one rate, two seconds deep.

    A batch may take out more than there is, so that one of any size passes; the next waits for it.
    """

    def __init__(self, events_per_second: float | None) -> None:
        self._rate = events_per_second
        self._buckets: dict[str, tuple[float, float]] = {}  # what is left, and as of when

    def spend(self, key: str, events: int, now: float) -> None:
        """Takes events out of a key's bucket, in seconds of any clock. Raises Problem while it is
        empty."""
        if self._rate is None:
            return
        depth = self._rate * _BURST_SECONDS
        left, at = self._buckets.get(key, (depth, now))
        left = min(depth, left + (now - at) * self._rate)
        if left <= 0:
            wait = ceil(max(-left, 1) / self._rate)
            raise Problem(
                429,
                "rate_limited",
                f"this write key may send {self._rate:g} events a second here; nothing was taken",
                headers={"Retry-After": str(max(1, wait))},
            )
        self._buckets[key] = left - events, now


def header(request: Request, name: bytes) -> str:
    """A header by its name in lower case, empty where there is none. Starlette's own way encodes
    and compares anew at each look-up, which takes as long as checking an event."""
    for found, value in request.scope["headers"]:
        if found == name:
            return bytes(value).decode("latin-1")
    return ""


async def read_body(request: Request, share: Share) -> bytes:
    """A request's body as it was before any compression, within its bounds in size and time.

    Raises Problem before more than that is held.
    """
    encoding = header(request, b"content-encoding").strip().lower() or "identity"
    if encoding not in ("identity", "gzip"):
        raise Problem(
            415,
            "encoding",
            f"Content-Encoding {encoding!r} is not read here: send it plain, or as gzip",
            headers={"Accept-Encoding": "gzip"},
        )
    length = header(request, b"content-length")
    known = int(length) if length.isdecimal() and len(length) < 20 else 0
    if known > MOST_REQUEST_BYTES:
        raise _too_large()
    share.take(known)  # also if it never comes
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _received(request, share, known)
    except TimeoutError:
        raise Problem(
            408,
            "too_slow",
            f"the body did not come within {BODY_SECONDS:g} s",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Problem(400, "cut_off", "the body did not come whole") from None
    return body if encoding == "identity" else _decompressed(body, share)


async def _received(request: Request, share: Share, taken: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_REQUEST_BYTES:
            raise _too_large()
        if len(body) > taken:
            share.take(len(body) - taken)
            taken = len(body)
    return bytes(body)


def _decompressed(body: bytes, share: Share) -> bytes:
    """Of a few kilobytes may come gigabytes: no more than the bound is ever made of them."""
    share.take(MOST_REQUEST_BYTES)
    gunzip = zlib.decompressobj(_GZIP)
    try:
        plain = gunzip.decompress(body, MOST_REQUEST_BYTES + 1)
    except zlib.error as error:
        raise Problem(400, "invalid_gzip", f"the body is no gzip: {error}") from None
    if len(plain) > MOST_REQUEST_BYTES:
        raise _too_large()
    if not gunzip.eof or gunzip.unused_data:
        raise Problem(400, "invalid_gzip", "the body is not one whole gzip member")
    return plain


def _too_large() -> Problem:
    # Not with `Connection: close`: whoever still sends would meet a reset instead of the answer.
    return Problem(413, "too_large", f"a request may have {MOST_REQUEST_BYTES} bytes")
