"""Computing beside the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

WORTH_A_THREAD = 200
"""Records, or what else is counted: with fewer, handing it over takes longer."""


async def aside(size: int, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Computes in a thread, so that the loop can go on talking to Postgres meanwhile; at once, if
    there is so little that handing it over would take longer."""
    if size < WORTH_A_THREAD:
        return compute(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_ASIDE, partial(compute, *args, **kwargs))


# One thread: two would only take the interpreter from each other.
_ASIDE = ThreadPoolExecutor(1, "aside")
