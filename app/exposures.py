"""That a unit has come to see its arm, told on the log once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import structlog
import xxhash
from msgspec import Raw

from ml_online.experiments import Experiment
from streams import codec
from streams.codec import Refused
from streams.events import Event, ExperimentArm, ExperimentExposed
from streams.log import Log, LogUnavailable

logger = structlog.get_logger()

_PATIENCE_SECONDS = 0.25
_MOST_KNOWN = 200_000
_MOST_UNDER_WAY = 10_000


class Exposures:
    """Tells each exposure once from this process. Its id is made of what it says: told by others
    too, or again after a restart, it counts once all the same. `check` raises Refused for what is
    not to be told: of somebody who was erased."""

    def __init__(self, log: Log, check: Callable[[Event], object]) -> None:
        self._log = log
        self._check = check
        self._known: OrderedDict[str, bool] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[bool]] = {}

    async def record(
        self,
        experiment: Experiment,
        its: ExperimentArm,
        unit: str,
        at: datetime,
        person: str | None = None,
    ) -> bool:
        """Whether the log has it by now. A storefront is not kept waiting for that: what takes
        longer goes on behind, and what fails is told the next time the unit comes."""
        found = self.record_later(experiment, its, unit, at, person)
        if isinstance(found, bool):
            return found
        done, _ = await asyncio.wait({found}, timeout=_PATIENCE_SECONDS)
        return bool(done) and found.result()

    def record_later(
        self,
        experiment: Experiment,
        its: ExperimentArm,
        unit: str,
        at: datetime,
        person: str | None = None,
    ) -> bool | asyncio.Task[bool]:
        """The same without waiting: whether the log has it already, or who is telling it."""
        if experiment.stopped is not None:
            return False
        event = exposure(experiment, its, unit, at, person)
        try:
            self._check(event)
        except Refused:
            return False
        if event.id in self._known:
            self._known.move_to_end(event.id)
            return True
        task = self._under_way.get(event.id)
        if task is None:
            if len(self._under_way) >= _MOST_UNDER_WAY:
                return False
            task = self._under_way[event.id] = asyncio.create_task(self._tell(event))
        return task

    async def _tell(self, event: Event) -> bool:
        try:
            await self._log.append([event])
        except LogUnavailable as error:
            logger.warning("an exposure was not told", error=str(error))
            return False
        finally:
            del self._under_way[event.id]
        self._known[event.id] = True
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return True

    async def close(self) -> None:
        """Waits for what is under way, which the log's own deadline bounds."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)


def exposure(
    experiment: Experiment,
    its: ExperimentArm,
    unit: str,
    at: datetime,
    person: str | None = None,
) -> Event:
    """The event, whose id is the same whenever the same is told of the same unit."""
    terms = experiment.terms
    data = ExperimentExposed(experiment_id=terms.experiment_id, arm=its.name, unit=terms.unit)
    if terms.unit == "person":
        person = unit
    said = f"{experiment.shop}\0{terms.experiment_id}\0{its.name}\0{unit}\0{person or ''}"
    return Event(
        id=f"exposed-{xxhash.xxh3_128_hexdigest(said.encode())}",
        type=type(data).__name__,
        shop=experiment.shop,
        subject=unit,
        time=at,
        received_at=at,
        data=Raw(codec.raw(data)),
        source="experiments",
        person=person,
    )
