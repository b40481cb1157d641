"""What is decided about experiments: what can be compared, and what may change meanwhile."""

from typing import Any

import pytest
from msgspec.structs import asdict, replace

from app.domain.experiment import EXPERIMENT, Change, change, start, stop
from app.domain.refusal import Conflict, Invalid
from ml_online.experiments import spans_of
from streams.events import (
    ExperimentArm,
    ExperimentChanged,
    ExperimentStarted,
    ExperimentStopped,
    GuardRail,
)
from tests.deciding import NOW, given


def arm(name: str, weight: int = 1) -> ExperimentArm:
    return ExperimentArm(name=name, weight=weight)


ARMS = [arm("usual"), arm("new")]


def said(**changed: Any) -> ExperimentStarted:
    """As it is asked for: without spans."""
    told: dict[str, Any] = {
        "experiment_id": "x",
        "flag": "offers",
        "arms": ARMS,
        "spans": [],
        "currency": "EUR",
    }
    return ExperimentStarted(**{**told, **changed})


STARTED = replace(said(), spans=spans_of(ARMS))


def changed(**fields: Any) -> ExperimentChanged:
    return ExperimentChanged(**{**asdict(STARTED), **fields})


def test_an_experiment_starts_once_with_its_spans() -> None:
    given(EXPERIMENT).when(start, said()).then(STARTED)
    given(EXPERIMENT, STARTED).when(start, said()).refused(Conflict)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"arms": [arm("usual"), arm("new"), arm("usual")]}, "arms.2.name"),
        ({"arms": [arm("usual"), arm("new", 0)]}, "arms"),
        ({"alpha": "0.0001"}, "alpha"),
        ({"alpha": "0.5"}, "alpha"),
        ({"guard_rails": [GuardRail(metric="conversion")]}, "guard_rails.0.metric"),
        (
            {"guard_rails": [GuardRail(metric="refunds"), GuardRail(metric="refunds")]},
            "guard_rails.1.metric",
        ),
    ],
)
def test_what_can_be_no_experiment_is_refused_with_its_field(
    wrong: dict[str, Any], field: str
) -> None:
    given(EXPERIMENT).when(start, said(**wrong)).refused(Invalid, field)


def test_weights_traffic_and_name_change_while_it_runs() -> None:
    running = given(EXPERIMENT, STARTED)
    arms = [arm("usual"), arm("new", 3)]
    after = changed(arms=arms, spans=spans_of(arms, STARTED.spans))
    running.when(change, Change(weights={"new": 3})).then(after)
    running.when(change, Change(traffic="0.5", name="n")).then(changed(traffic="0.5", name="n"))
    half = given(EXPERIMENT, STARTED, changed(traffic="0.5"))
    half.when(change, Change(traffic="0.50")).then()
    running.when(change, Change(weights={"usual": 1, "new": 1}, traffic="1")).then()
    running.when(change, Change(weights={"newer": 1})).refused(Invalid, "weights.newer")
    running.when(change, Change(weights={"usual": 0, "new": 0})).refused(Invalid, "weights")
    paused = given(EXPERIMENT, STARTED).when(change, Change(weights={"usual": 0}))
    alone = [arm("usual", 0), arm("new")]
    paused.then(changed(arms=alone, spans=spans_of(alone, STARTED.spans)))


def test_what_is_over_is_over() -> None:
    ended = ExperimentStopped(experiment_id="x", arm="new", reason="better")
    running = given(EXPERIMENT, STARTED, changed(traffic="0.5"))
    running.when(stop, "new", "better").then(ended)
    running.when(stop, "newer", None).refused(Invalid, "arm")
    over = given(EXPERIMENT, STARTED, ended)
    assert over.state is not None
    assert (over.state.stopped, over.state.started_at, over.state.stopped_at) == (ended, NOW, NOW)
    over.when(stop, None, None).refused(Conflict)
    over.when(change, Change(traffic="1")).refused(Conflict)
    over.when(start, said()).refused(Conflict)
