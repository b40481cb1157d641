"""What a process that only folds sets in its interpreter."""

import asyncio
import ctypes
import gc
import weakref
from collections.abc import Iterator

import psutil
import pytest

from streams.interpreter import collect_garbage


class Node:
    """Holds on to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Garbage is collected by nobody else."""
    gc.disable()
    yield
    gc.enable()


async def test_cycles_are_taken_away_in_time_where_few_objects_are_made(uncollected: None) -> None:
    gone = weakref.ref(Node())
    assert gone() is not None
    collecting = asyncio.create_task(collect_garbage(0.001))
    async with asyncio.timeout(30):
        while gone() is not None:
            await asyncio.sleep(0.001)
    collecting.cancel()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc's alone")
async def test_what_a_burst_has_taken_is_given_back() -> None:
    def held() -> float:
        return psutil.Process().memory_info().rss / 2**20

    before = held()
    burst = [bytearray(b"x" * 50_000) for _ in range(4_000)]
    kept = burst[::400]
    most = held()
    assert most - before > 150
    burst.clear()
    collecting = asyncio.create_task(collect_garbage(0.001))
    async with asyncio.timeout(30):
        while held() - before > 50:
            await asyncio.sleep(0.001)
    collecting.cancel()
    assert len(kept) == 10
