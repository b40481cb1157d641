"""Answers that take long to count, kept in a process while they are as good as counted anew.

As long as the read models stand where they stood, an answer is exactly what a recount would say.
Where they have moved on, it is given out again for some times as long as it took to count: however
many dashboards ask however often, one question takes a fifth of one connection. What it is complete
to says how old it is, and whoever must have what has just happened asks with `min_position=`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

RESTS = 4
"""Times as long as it took, for which an answer is given out again though something has moved."""

_LONGEST_SECONDS = 30.0
_MOST = 200

Answer = dict[str, Any]
Make = Callable[[], Awaitable[Answer]]
Standing = Callable[[], Awaitable[str]]
"""Where the read models stand that an answer is made of."""


class _Kept(NamedTuple):
    answer: Answer
    standing: str  # as it was before it was counted
    at: float
    took: float


class KeptAnswers:
    """The latest answer to each question, and who is counting one: it is counted once for all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[Answer]] = {}

    async def of(self, question: str, make: Make, standing: Standing) -> Answer:
        """The answer that is kept, or a new one. Raises what making it does."""
        known = self._kept.get(question)
        if known is not None:
            rests = min(RESTS * known.took, _LONGEST_SECONDS)
            if self._clock() - known.at <= rests or known.standing == await standing():
                return known.answer
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.create_task(self.anew(question, make, standing))
            self._under_way[question] = task
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        return await asyncio.shield(task)

    async def anew(self, question: str, make: Make, standing: Standing) -> Answer:
        """Counted now, and kept from now on. Raises what making it does."""
        before, begun = await standing(), self._clock()
        answer = await make()
        at = self._clock()
        self._kept[question] = _Kept(answer, before, at, at - begun)
        self._kept.move_to_end(question)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return answer
