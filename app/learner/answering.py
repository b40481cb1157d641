"""What the answers of all groups of learners have in common."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from app.api.completeness import RETRY, not_there_yet, parse_positions
from app.api.problems import Problem
from app.learner.store import LearnerStore
from streams.batch import Partition


class Answering:
    """Of one group: when it can answer, and what each of its answers says of itself."""

    def __init__(self, store: LearnerStore, group: str, partitions: int) -> None:
        self._store = store
        self._group = group
        self._partitions = partitions
        self._river = version("river")

    async def ready(self, min_position: Sequence[str] = (), wait: float = 0.0) -> None:
        """Raises Problem where the models are not loaded, or do not know of a position."""
        if not self._store.loaded:
            raise Problem(
                503, "learner_loading", "the models are being loaded; ask again", headers=RETRY
            )
        if not min_position:
            return
        wanted = parse_positions(self._group, min_position, self._partitions)
        try:
            async with asyncio.timeout(wait if wanted else None):
                await self._store.reached({Partition(*at): offset for at, offset in wanted.items()})
        except TimeoutError:
            raise not_there_yet(wait) from None

    def answer(self, name: str, number: int, **rest: Any) -> dict[str, Any]:
        """An answer of a model, and up to where it has learned."""
        model = {"name": name, "version": number, "river": self._river}
        return {**rest, "model": model, "complete_to": self._store.complete_to()}

    def digest(self, app: FastAPI) -> None:
        """Adds the route that tells the group's models apart."""

        @app.get("/digest")
        async def digest() -> dict[str, Any]:
            await self.ready()
            models = self._store.models
            complete_to = self._store.complete_to()
            return {"seq": models.seq, "digest": models.digest(), "complete_to": complete_to}
