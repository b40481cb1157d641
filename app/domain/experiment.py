"""Experiments: what is compared, on whom and by what, as the staff decides it.

What an experiment compares, and how, is fixed when it starts: to choose the goal once the figures
are there would find whatever one looks for. Its weights, its traffic and its name may change.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import asdict, replace

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from ml_online.experiments import spans_of
from streams.events import (
    Data,
    ExperimentArm,
    ExperimentChanged,
    ExperimentStarted,
    ExperimentStopped,
    ExperimentTerms,
)

_ALPHAS = Decimal("0.001"), Decimal("0.2")


class Experiment(Struct, frozen=True, omit_defaults=True):
    """As it was told last, since when, and whether it is over."""

    terms: ExperimentTerms
    started_at: datetime
    stopped: ExperimentStopped | None = None
    stopped_at: datetime | None = None


class Change(Struct, frozen=True):
    """What of an experiment is to be otherwise; what is None stays. Arms without a weight in it
    keep theirs."""

    weights: Mapping[str, int] | None = None
    traffic: str | None = None
    name: str | None = None


def start(experiment: Experiment | None, said: ExperimentStarted) -> list[Data]:
    """A new one; its spans follow from its weights. Raises Conflict, Invalid."""
    if experiment is not None:
        raise Conflict("exists", f"there is an experiment {said.experiment_id!r} already")
    _check_arms(said.arms)
    _check_metrics(said)
    if sum(one.weight > 0 for one in said.arms) < 2:
        raise Invalid("weights", "two of them at least need a weight to be compared", "arms")
    low, high = _ALPHAS
    if not low <= Decimal(said.alpha) <= high:
        raise Invalid("alpha", f"expected {low} to {high}", "alpha")
    return [replace(said, spans=spans_of(said.arms))]


def _check_arms(arms: Sequence[ExperimentArm]) -> None:
    known: set[str] = set()
    for number, one in enumerate(arms):
        if one.name in known:
            raise Invalid("twice", f"{one.name!r} is another arm's", f"arms.{number}.name")
        known.add(one.name)


def _check_metrics(said: ExperimentTerms) -> None:
    known = {said.goal: "is the goal"}
    for number, rail in enumerate(said.guard_rails):
        if why := known.get(rail.metric):
            field = f"guard_rails.{number}.metric"
            raise Invalid("twice", f"{rail.metric} {why}", field)
        known[rail.metric] = "has a guard rail already"


def change(experiment: Experiment, wanted: Change) -> list[Data]:
    """Other terms for a running one; nothing where they are so already. Raises Conflict,
    Invalid."""
    _check_running(experiment)
    before = experiment.terms
    arms = _weighed(before.arms, wanted.weights or {})
    spans = before.spans if arms == before.arms else spans_of(arms, before.spans)
    traffic = before.traffic if wanted.traffic is None else wanted.traffic
    if Decimal(traffic) == Decimal(before.traffic):
        traffic = before.traffic
    name = before.name if wanted.name is None else wanted.name
    after = replace(before, arms=arms, spans=spans, traffic=traffic, name=name)
    return [] if after == before else [ExperimentChanged(**asdict(after))]


def _weighed(arms: Sequence[ExperimentArm], weights: Mapping[str, int]) -> list[ExperimentArm]:
    names = [one.name for one in arms]
    for name in weights:
        if name not in names:
            told = ", ".join(names)
            raise Invalid("unknown", f"no arm of it; there are {told}", f"weights.{name}")
    found = [replace(one, weight=weights.get(one.name, one.weight)) for one in arms]
    if not any(one.weight for one in found):
        raise Invalid("weights", "somebody must have an arm: less `traffic` stops them", "weights")
    return found


def stop(experiment: Experiment, arm: str | None, reason: str | None) -> list[Data]:
    """It is over; everyone has the arm from now on, if one is named. Raises Conflict, Invalid."""
    _check_running(experiment)
    names = [one.name for one in experiment.terms.arms]
    if arm is not None and arm not in names:
        raise Invalid("unknown", f"no arm of it; there are {', '.join(names)}", "arm")
    told = ExperimentStopped(experiment_id=experiment.terms.experiment_id, arm=arm, reason=reason)
    return [told]


def _check_running(experiment: Experiment) -> None:
    if experiment.stopped is not None:
        name = experiment.terms.experiment_id
        raise Conflict("stopped", f"{name} is over: start another, under an id of its own")


def evolve(experiment: Experiment | None, told: Told) -> Experiment:
    """The experiment after one more event."""
    data = told.data
    if isinstance(data, ExperimentStopped):
        assert experiment is not None
        return replace(experiment, stopped=data, stopped_at=told.at)
    assert isinstance(data, ExperimentStarted | ExperimentChanged)
    started_at = experiment.started_at if experiment else told.at
    return Experiment(ExperimentTerms(**asdict(data)), started_at)


EXPERIMENT = Aggregate(
    "experiments",
    Experiment,
    evolve,
    {
        ExperimentStarted: lambda data: data.experiment_id,
        ExperimentChanged: lambda data: data.experiment_id,
        ExperimentStopped: lambda data: data.experiment_id,
    },
)
