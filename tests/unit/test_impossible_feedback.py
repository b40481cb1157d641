"""What storefronts cannot tell of answers and experiments."""

from datetime import UTC, datetime

import pytest

from app.api.feedback import check_feedback, nothing_known
from ml_online.experiments import Experiment
from streams import codec
from streams.codec import Refused
from streams.events import (
    Data,
    Event,
    ExperimentExposed,
    RecommendationClicked,
    RecommendationsViewed,
)
from tests.unit.test_experiments import experiment

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def sent(data: Data) -> Event:
    return Event(
        id="1",
        type=type(data).__name__,
        shop="main",
        subject="visitor",
        time=NOW,
        received_at=NOW,
        data=codec.raw(data),
    )


async def known(shop: str, experiment_id: str) -> Experiment | None:
    found = experiment()
    return found if (shop, experiment_id) == ("main", found.terms.experiment_id) else None


async def refused(data: Data) -> str:
    with pytest.raises(Refused) as found:
        await check_feedback(sent(data), known)
    return found.value.field


async def test_what_cannot_be_is_refused_by_its_field() -> None:
    its = experiment().terms
    viewed = RecommendationsViewed(answer_id="home.mixed.1", products=["a", "b", "a"])
    assert await refused(viewed) == "data.products[2]"
    clicked = RecommendationClicked(answer_id="home.mixed.1", product_id="a", position=100)
    assert await refused(clicked) == "data.position"
    other = "person" if its.unit == "visitor" else "visitor"
    arm = its.arms[0].name
    forged = ExperimentExposed(experiment_id=its.experiment_id, arm="none", unit=its.unit)
    assert await refused(forged) == "data.arm"
    swapped = ExperimentExposed(experiment_id=its.experiment_id, arm=arm, unit=other)  # type: ignore[arg-type]
    assert await refused(swapped) == "data.unit"


async def test_what_may_be_is_taken() -> None:
    its = experiment().terms
    arm = its.arms[0].name
    for data in (
        RecommendationsViewed(answer_id="anything", products=["a", "b"]),
        RecommendationClicked(answer_id="home.mixed.1", product_id="a", position=99),
        RecommendationClicked(answer_id="home.mixed.1", product_id="a"),
        ExperimentExposed(experiment_id=its.experiment_id, arm=arm, unit=its.unit),
        ExperimentExposed(experiment_id="of nobody yet", arm="none"),
    ):
        await check_feedback(sent(data), known)
    of_none = ExperimentExposed(experiment_id=its.experiment_id, arm="none")
    await check_feedback(sent(of_none), nothing_known)
