"""What an API process tells of its own accord: nothing of somebody who was erased."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from app.api.served import Served
from app.exposures import Exposures, exposure
from ml_online.experiments import Experiment, arm
from streams.codec import Refused
from streams.events import Event
from streams.log import Log
from tests.unit.test_experiments import experiment

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Kept(Log):
    """Without Kafka."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    async def append(self, events: Sequence[Event]) -> list[object]:  # type: ignore[override]
        self.told += events
        return []


def check(event: Event) -> None:
    if "ada" in (event.subject, event.person):
        raise Refused("person", "erased")


@pytest.fixture
def asked() -> Experiment:
    return experiment()


async def test_no_exposure(asked: Experiment) -> None:
    log = Kept()
    exposures = Exposures(log, check)
    its = arm(asked, "ada")
    assert its is not None
    assert not await exposures.record(asked, its, "ada", NOW)
    assert not await exposures.record(asked, its, "cookie", NOW, "ada")
    assert await exposures.record(asked, its, "bob", NOW)
    assert [event.subject for event in log.told] == ["bob"]


async def test_no_answer_that_was_served(asked: Experiment) -> None:
    log = Kept()
    served = Served(log, check)
    its = arm(asked, "ada")
    assert its is not None
    event = exposure(asked, its, "bob", NOW)
    for one in (replace(event, subject="ada"), replace(event, person="ada"), event):
        served.tell(one)
    await served.close()
    assert log.told == [event]
