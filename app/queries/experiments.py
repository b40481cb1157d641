"""The experiments of a shop as an API process knows them: in memory, a second old at most."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import asyncpg
import structlog

from app.commands.work import decode
from app.domain.experiment import EXPERIMENT
from ml_online.experiments import Experiment
from projections.postgres import AWAY

logger = structlog.get_logger()

_LASTS_SECONDS = 1.0
_MOST_SHOPS = 1000


class _Known(NamedTuple):
    at: float
    experiments: Mapping[str, Experiment]  # by id, in the order in which they were started


class Running:
    """Answers from memory whose arm is whose. While Postgres is away it goes by what it had."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._shops: OrderedDict[str, _Known] = OrderedDict()
        self._turn = asyncio.Lock()

    async def find(self, shop: str, experiment_id: str) -> Experiment | None:
        """One of a shop's experiments, also one that was started this moment. Raises what AWAY
        names where Postgres is away and nothing is known yet."""
        found = (await self._of(shop)).get(experiment_id)
        return found or (await self._of(shop, lasts=0.0)).get(experiment_id)

    async def known(self, shop: str, experiment_id: str) -> Experiment | None:
        """As `find`, but one that was started this second may be missing, and all are while
        Postgres is away and nothing is known yet: whoever asks often, asks this."""
        try:
            return (await self._of(shop)).get(experiment_id)
        except AWAY:
            return None

    async def of_flag(self, shop: str, flag: str) -> list[Experiment]:
        """Those over a flag by their start; those that left an arm to everyone come last, the
        latest of them first. Raises what AWAY names."""
        found = [one for one in (await self._of(shop)).values() if one.terms.flag == flag]
        running = [one for one in found if one.stopped is None]
        return running + [one for one in reversed(found) if one.stopped and one.stopped.arm]

    async def _of(self, shop: str, lasts: float = _LASTS_SECONDS) -> Mapping[str, Experiment]:
        asked = self._clock()
        if (known := self._shops.get(shop)) and asked - known.at <= lasts:
            return known.experiments
        async with self._turn:
            # Whoever waited takes what was read since it asked.
            if (known := self._shops.get(shop)) and known.at >= asked - lasts:
                return known.experiments
            at = self._clock()
            try:
                rows = await self._pool.fetch(_EXPERIMENTS, shop)
            except AWAY as error:
                if known is None:
                    raise
                logger.warning("experiments are not known anew", error=repr(error))
                return known.experiments
            states = {row["id"]: decode(EXPERIMENT, row["state"]) for row in rows}
            found = {name: Experiment(shop, s.terms, s.stopped) for name, s in states.items()}
            self._shops[shop] = _Known(at, found)
            self._shops.move_to_end(shop)
            if len(self._shops) > _MOST_SHOPS:
                self._shops.popitem(last=False)
            return found


_EXPERIMENTS = "SELECT id, state FROM experiments WHERE shop = $1 ORDER BY created_at, id"
