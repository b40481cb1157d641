"""A training that is asked for when a month closes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from app.jobs import train
from app.jobs.job import Job, Progress
from app.settings import Settings
from ml_online.journal import Entry
from streams.batch import Partition
from streams.codec import Fact
from streams.events import DayClosed
from tests.learning import day_event, facts, weekly

HISTORY = facts([day_event(number, values) for number, values in enumerate(weekly(31))])
"""From Monday, 2 March, to 1 April."""
ORDERS = Partition("orders", 0)


@pytest.mark.parametrize(
    ("month", "patience", "read"), [("2020-03", 60.0, 30), ("2020-05", 0.0, 28), (None, 60.0, 28)]
)
async def test_it_goes_on_to_the_last_day_of_its_month_but_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, month: str | None, patience: float, read: int
) -> None:
    """When it begins the learner has read 28 days, then a day more whenever it is looked at."""
    at = 28

    @asynccontextmanager
    async def connection(_settings: Settings) -> AsyncIterator[None]:
        yield

    async def nothing(*_: object) -> Mapping[str, object]:
        return {}

    async def read_on(_transaction: object) -> int:
        nonlocal at
        at += 1
        return at

    async def of_log(
        _kafka: str, _prefix: str, _window: int, entries: Sequence[Entry], *_: object
    ) -> AsyncIterator[tuple[Entry, Sequence[Fact]]]:
        for entry in entries:
            yield entry, HISTORY[entry.first : entry.next]

    async def journal(_connection: object, _group: str, after: int) -> list[Entry]:
        told = [Entry(1, train.DAYS, 0, 20), Entry(2, ORDERS, 0, 7), Entry(3, train.DAYS, 20, 28)]
        told += [Entry(seq, train.DAYS, seq + 24, seq + 25) for seq in range(4, 7)]
        return [entry for entry in told if entry.seq > after]

    monkeypatch.setattr(train, "_connection", connection)
    monkeypatch.setattr("ml_online.journal.entries_after", journal)
    monkeypatch.setattr(train, "read_by_learner", read_on)
    monkeypatch.setattr(train, "facts_of", of_log)
    monkeypatch.setattr("projections.skips.of_group", nothing)
    monkeypatch.setattr(train, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(train, "_PATIENCE_SECONDS", patience)

    class Asked:
        shop = "main"
        asked: Mapping[str, Any] = train.asked_of(train.Parameters(), 28) | (
            {"month": month} if month else {}
        )

    settings = Settings(kafka="none", postgres="none", redis="none")
    progress = Progress()
    found = await train.TRAIN.run(settings, cast(Job, Asked()), progress)
    last = HISTORY[read - 1].data
    assert isinstance(last, DayClosed)
    assert found["trained_through"] == last.date
    assert found["next_offsets"] == {"days": [read]}
    assert (progress.done, progress.total) == (read, read)
