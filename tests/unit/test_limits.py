"""What one API process takes on at once."""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Request

from app.api import limits
from app.api.limits import MOST_REQUEST_BYTES, Rates, Room, Share, read_body
from app.api.problems import Problem


def request(parts: Iterator[bytes] | list[bytes], **headers: str) -> Request:
    """A request whose body comes in these parts; one that never ends waits for ever."""
    coming = iter(parts)

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": next(coming), "more_body": True}
        except StopIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named}, receive)


async def refused(status: int, asked: Request, room: Room) -> Problem:
    with pytest.raises(Problem) as found:
        with room.share() as share:
            await read_body(asked, share)
    assert found.value.status == status
    assert room.held_bytes == 0, "what was refused is still held"
    return found.value


async def read(asked: Request, room: Room) -> bytes:
    with room.share() as share:
        return await read_body(asked, share)


@pytest.fixture
def room() -> Room:
    return Room(3 * MOST_REQUEST_BYTES)


async def test_a_body_is_read_plain_or_from_gzip(room: Room) -> None:
    assert await read(request([b"ab", b"c"]), room) == b"abc"
    packed = gzip.compress(b"abc")
    assert await read(request([packed[:9], packed[9:]], content_encoding="GZIP"), room) == b"abc"
    assert room.held_bytes == 0


async def test_what_is_not_read_here_is_told_so(room: Room) -> None:
    for encoding in ("br", "deflate", "gzip, gzip", "zstd"):
        problem = await refused(415, request([b"x"], content_encoding=encoding), room)
        assert problem.headers["Accept-Encoding"] == "gzip"
    packed = gzip.compress(b"abc")
    for wrong in (b"", b"plain", packed[:-1], packed + packed, zlib.compress(b"abc")):
        await refused(400, request([wrong], content_encoding="gzip"), room)


async def test_a_bomb_is_refused_without_ever_being_unpacked(room: Room) -> None:
    import tracemalloc

    bomb = gzip.compress(b"0" * (200 << 20))
    assert len(bomb) < MOST_REQUEST_BYTES
    tracemalloc.start()
    try:
        await refused(413, request([bomb], content_encoding="gzip"), room)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_REQUEST_BYTES
    finally:
        tracemalloc.stop()


async def test_too_large_a_body_is_refused_before_it_is_held(room: Room) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    await refused(413, request(endless()), room)
    await refused(413, request([], content_length=str(MOST_REQUEST_BYTES + 1)), room)
    await refused(413, request(endless(), content_length="9" * 30), room)
    await refused(413, request(endless(), content_length="1"), room)


async def test_a_body_that_does_not_come_is_let_go(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    slow = Request({"type": "http", "method": "POST", "headers": []}, receive)
    problem = await refused(408, slow, room)
    assert problem.headers["Connection"] == "close"


async def test_a_body_that_is_cut_off_is_no_fault_of_ours(room: Room) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    cut = Request({"type": "http", "method": "POST", "headers": []}, receive)
    await refused(400, cut, room)


def test_there_is_no_more_room_than_agreed_and_what_was_taken_comes_back() -> None:
    room = Room(100_000)
    shares: list[Share] = []

    def fill() -> None:
        while True:
            shares.append(room.share().__enter__())
            shares[-1].take(1000)

    with pytest.raises(Problem) as full:
        fill()
    assert full.value.status == 503
    assert int(full.value.headers["Retry-After"]) > 0
    assert room.held_bytes <= 100_000
    for share in shares:
        share.__exit__(None, None, None)
    assert room.held_bytes == 0


def spent(rates: Rates, key: str, events: int, now: float) -> int:
    """How many of these events were let through."""
    try:
        rates.spend(key, events, now)
    except Problem:
        return 0
    return events


def test_a_key_sends_at_its_rate_and_no_key_at_anothers_expense() -> None:
    rates, taken = Rates(100), 0
    for tenth in range(100):  # ten seconds in which far too much is sent
        taken += sum(spent(rates, "greedy", 10, tenth / 10) for _ in range(5))
        assert spent(rates, "modest", 5, tenth / 10) == 5
    assert 1000 <= taken <= 1000 + 200 + 10


def test_a_batch_of_any_size_passes_and_the_next_waits_for_it() -> None:
    rates = Rates(100)
    rates.spend("key", 1000, 0.0)
    with pytest.raises(Problem) as early:
        rates.spend("key", 1, 7.9)
    assert early.value.status == 429
    assert early.value.headers["Retry-After"] == "1"
    rates.spend("key", 1, 8.1)


def test_without_a_rate_there_is_no_bound() -> None:
    rates = Rates(None)
    for _ in range(10):
        rates.spend("key", 10_000, 0.0)
