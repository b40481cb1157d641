"""What a learner tells that comes up and learns its journal again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.learner import store
from app.learner.store import LearnerStore
from app.subscriptions import LEARNERS, learners_of
from ml_online.journal import Entry
from ml_online.models import Models
from projections.clock import ShopClock
from streams.batch import Partition
from streams.codec import Fact
from streams.erased import NOBODY, Erased
from streams.events import Event
from tests.learning import day_event, facts, shifting

DAYS = Partition("days", 0)


class Told(LearnerStore):
    """Without a database: a journal of one entry leads to the end."""

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        yield None

    async def _read_to(self, _transaction: object) -> dict[Partition, int]:
        return {}

    async def _from_the_beginning(self, _end: Mapping[Partition, int]) -> list[Entry]:
        return [Entry(1, DAYS, 0, 100)]


@pytest.mark.parametrize(("days", "of_late"), [(6, True), (8, False)])
async def test_of_a_journal_that_is_learned_again_only_what_is_news_is_told(
    monkeypatch: pytest.MonkeyPatch, days: int, *, of_late: bool
) -> None:
    """A kill between learning and telling is made up for; what was told years ago stays told."""
    learned = facts([day_event(number, values) for number, values in enumerate(shifting())])
    alone = Models(learners_of(LEARNERS))
    for fact in learned:
        alone.learn(fact)
    noticed = alone.noticed()
    assert len({event.time for event in noticed}) == 1
    told: list[Event] = []

    async def nobody(_: object) -> Erased:
        return NOBODY

    async def journal(*_: object, erased: Erased) -> AsyncIterator[tuple[Entry, Sequence[Fact]]]:
        yield Entry(1, DAYS, 0, 100), learned

    async def enqueue(_transaction: object, events: Sequence[Event]) -> None:
        told.extend(events)

    async def nothing(*_: object) -> list[Any]:
        return []

    def now() -> datetime:
        return noticed[0].time + timedelta(days=days)

    monkeypatch.setattr(store, "facts_of", journal)
    monkeypatch.setattr(store, "enqueue", enqueue)
    monkeypatch.setattr(store, "erased", nobody)
    monkeypatch.setattr("ml_online.snapshots.stored", nothing)
    monkeypatch.setattr("projections.skips.of_group", nothing)
    monkeypatch.setattr("projections.skips.passed", nothing)
    pool: Any = None
    found = Told(
        pool,
        LEARNERS,
        Models(learners_of(LEARNERS)),
        ShopClock(ZoneInfo("UTC")),
        b"a key",
        1e9,
        now,
    )
    await found.load("", "", 300)
    assert found.loaded
    assert told == (noticed if of_late else [])
