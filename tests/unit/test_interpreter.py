"""What a process that only folds sets in its interpreter."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

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
