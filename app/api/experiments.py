"""`/v1/experiments`: what the staff has compared, and which arm falls to whom."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api import access, forecasts, recommendations
from app.api.access import Actor
from app.api.commands import Change as Changes
from app.api.commands import New, carried_out
from app.api.completeness import RETRY
from app.api.coupons import Staff, Text
from app.api.problems import Problem, known_parameters
from app.api.reading import one, reading
from app.api.reports import answer
from app.commands import experiments
from app.domain.experiment import EXPERIMENT, Change
from app.exposures import Exposures
from app.queries.experiments import Running
from app.reports.experiments import RESULTS, AskedResults, heads
from app.reports.report import Asked
from ml_online.daily import CONTENDERS
from ml_online.experiments import arm, choice
from projections.postgres import AWAY
from streams.events import (
    ExperimentArm,
    ExperimentMetric,
    ExperimentStarted,
    ExperimentUnit,
    GuardRail,
)

router = APIRouter(tags=["experiments"])

_ID = r"^[^\x00/]+$"
ExperimentId = Annotated[str, Path(min_length=1, max_length=128, pattern=_ID)]
ArmName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
Weight = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Traffic = Annotated[str, Field(pattern=r"^(0(\.[0-9]{1,6})?|1)$", examples=["0.2"])]
Storefront = Annotated[Actor, Depends(access.STOREFRONTS)]
Unit = Annotated[
    str,
    Query(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00@]+$",
        description="the visitor, or the person where the experiment goes by persons",
    ),
]
Person = Annotated[
    str | None,
    Query(min_length=1, max_length=128, pattern=r"^[^\x00@]+$", description="who the visitor is"),
]
Record = Annotated[bool, Query(description="tell the log that the unit has come to see its arm")]


class NewArm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: ArmName
    weight: Weight = 1
    value: Annotated[
        str | None,
        Field(max_length=512, pattern=r"^[^\x00]*$", description="of the flag, for this arm"),
    ] = None


class NewGuardRail(BaseModel):
    """What no arm may harm by more than `margin` (a share of the control's)."""

    model_config = ConfigDict(extra="forbid")

    metric: ExperimentMetric
    margin: Annotated[str, Field(pattern=r"^0(\.[0-9]{1,6})?$", examples=["0.05"])] = "0"


class NewExperiment(BaseModel):
    """Two arms or more, of which the first is the control, and by what they are compared."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": "offers-2026",
                "flag": "recommender",
                "arms": [
                    {"name": "as usual"},
                    {"name": "trending", "value": "trending"},
                ],
                "goal": "conversion",
                "guard_rails": [{"metric": "revenue", "margin": "0.02"}],
            }
        },
    )

    id: Annotated[str, Field(min_length=1, max_length=128, pattern=_ID)]
    flag: Text
    name: Text | None = None
    unit: ExperimentUnit = "visitor"
    arms: Annotated[list[NewArm], Field(min_length=2, max_length=20)]
    traffic: Traffic = "1"
    salt: Annotated[str, Field(max_length=128, pattern=r"^[^\x00]*$")] = ""
    goal: ExperimentMetric = "conversion"
    guard_rails: Annotated[list[NewGuardRail], Field(max_length=20)] = []
    alpha: Annotated[str, Field(pattern=r"^0\.[0-9]{1,6}$", examples=["0.05"])] = "0.05"
    currency: Annotated[
        str | None,
        Field(pattern="^[A-Z]{3}$", description="that revenue is counted in; else the shop's"),
    ] = None


class ExperimentChange(BaseModel):
    """What is to be otherwise; or that it stops, and which arm is left to everyone."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"weights": {"trending": 3}, "traffic": "0.5"}},
    )

    name: Text | None = None
    traffic: Traffic | None = None
    weights: Annotated[dict[ArmName, Weight], Field(max_length=20)] | None = None
    stopped: Literal[True] | None = None
    arm: ArmName | None = None
    reason: Text | None = None


@router.post("/v1/experiments", operation_id="experiments_start", status_code=201)
async def experiments_start(
    request: Request, actor: Staff, told: NewExperiment, sent: New
) -> Response:
    """A new experiment, which runs from now on. What it compares, and by what, stays."""
    _check_values(told)
    said = ExperimentStarted(
        experiment_id=told.id,
        arms=[ExperimentArm(**one.model_dump()) for one in told.arms],
        spans=[],
        guard_rails=[GuardRail(**one.model_dump()) for one in told.guard_rails],
        currency=told.currency or request.app.state.settings.currency,
        **told.model_dump(exclude={"id", "arms", "guard_rails", "currency"}),
    )
    return await carried_out(
        request, actor, sent, lambda work, _: experiments.start_experiment(work, said)
    )


_VALUES = {recommendations.FLAG: get_args(recommendations.Policy), forecasts.FLAG: CONTENDERS}
"""Of the flags that Tillstream asks for itself. No value is what is usual."""


def _check_values(told: NewExperiment) -> None:
    """Raises Problem where an arm would change nothing."""
    known = _VALUES.get(told.flag)
    for number, its in enumerate(told.arms):
        if known and its.value and its.value not in known:
            reason = f"the flag {told.flag!r} knows {', '.join(known)}, or none for what is usual"
            raise _invalid(f"arms.{number}.value", reason)


@router.patch("/v1/experiments/{experiment_id}", operation_id="experiments_change")
async def experiments_change(
    request: Request,
    actor: Staff,
    experiment_id: ExperimentId,
    told: ExperimentChange,
    sent: Changes,
) -> Response:
    """Other weights, which move as few units as can be from arm to arm; more or less traffic, which
    moves none; or `{"stopped": true}`, for good, with the `arm` that everyone is to have."""
    wanted = Change(told.weights, told.traffic, told.name)
    _check_change(told, wanted)
    if told.stopped:
        return await carried_out(
            request,
            actor,
            sent,
            lambda work, call: experiments.stop_experiment(
                work, call, experiment_id, told.arm, told.reason
            ),
        )
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: experiments.change_experiment(work, call, experiment_id, wanted),
    )


def _check_change(told: ExperimentChange, wanted: Change) -> None:
    """Raises Problem where it is to stop and to go on otherwise."""
    for name in ("arm", "reason") if not told.stopped else ("weights", "traffic", "name"):
        if getattr(told, name) is not None:
            reason = "it is to stop" if told.stopped else "is told when it stops"
            raise _invalid(name, reason)
    if not told.stopped and wanted == Change():
        raise _invalid("weights", "or traffic, name, stopped: say what is to change")


def _invalid(field: str, reason: str) -> Problem:
    return Problem(422, "invalid", f"{field}: {reason}", [{"field": field, "reason": reason}])


@router.get("/v1/experiments/{experiment_id}", operation_id="experiments_get")
async def experiments_get(request: Request, actor: Staff, experiment_id: ExperimentId) -> Response:
    """One experiment, a stopped one too."""
    async with reading(request, actor) as states:
        return await one(states, EXPERIMENT, experiment_id, experiments.as_told)


@router.get(
    "/v1/experiments/{experiment_id}/results",
    operation_id="experiments_results",
    dependencies=[Depends(access.FIGURES)],
)
async def experiments_results(
    request: Request,
    experiment_id: ExperimentId,
    asked: Annotated[Asked, Query()],
) -> dict[str, Any]:
    """How the arms do, and whether that is decided: the rows of `experiment_results`, live too.

    Intervals hold at all moments at once: look as often as you like. What is counted is what a unit
    did from its first exposure on, until the experiment stopped.
    """
    try:
        wanted = AskedResults(**asked.model_dump(by_alias=True), experiment=experiment_id)
    except ValidationError as error:  # what a path may be named and a filter may not
        raise _unknown(experiment_id) from error
    found = await answer(request, RESULTS, wanted)
    if not found["rows"]:
        raise _unknown(experiment_id)
    return {**found, **heads(found["rows"])}


def _unknown(experiment_id: str) -> Problem:
    return Problem(404, "unknown", f"there is no {experiment_id!r} among the experiments")


@router.get(
    "/v1/experiments/{experiment_id}/assignment",
    operation_id="experiments_assignment",
    dependencies=[Depends(known_parameters)],
)
async def experiments_assignment(
    request: Request,
    actor: Storefront,
    experiment_id: ExperimentId,
    unit: Unit,
    person: Person = None,
    record: Record = True,
) -> dict[str, Any]:
    """The arm of a unit: always the same, and at once. No `arm` means that it takes no part, and
    has what is usual. With the first answer the log is told that the unit has come to see its arm;
    `recorded` is false where that is not certain yet.
    """
    running: Running = request.app.state.experiments
    try:
        experiment = await running.find(actor.shop, experiment_id)
    except AWAY as error:
        raise _away() from error
    if experiment is None:
        raise _unknown(experiment_id)
    its = arm(experiment, unit)
    recorded = False
    if its is not None and record:
        exposures: Exposures = request.app.state.exposures
        recorded = await exposures.record(experiment, its, unit, datetime.now(UTC), person)
    return {
        "experiment": experiment_id,
        "flag": experiment.terms.flag,
        "unit": unit,
        "arm": its and its.name,
        "value": its and its.value,
        "recorded": recorded,
    }


@router.get("/v1/flags/{flag}", operation_id="flags_get", dependencies=[Depends(known_parameters)])
async def flags_get(
    request: Request,
    actor: Storefront,
    flag: Annotated[str, Path(min_length=1, max_length=128, pattern=_ID)],
    unit: Unit,
    person: Person = None,
    record: Record = True,
) -> dict[str, Any]:
    """A flag's value for a unit: that of its arm in the first experiment over the flag that it
    takes part in, else of an arm that a stopped one has left to everyone; null is what is usual."""
    running: Running = request.app.state.experiments
    try:
        found = choice(await running.of_flag(actor.shop, flag), unit)
    except AWAY as error:
        raise _away() from error
    recorded = False
    if found is not None and record:
        exposures: Exposures = request.app.state.exposures
        recorded = await exposures.record(*found, unit, datetime.now(UTC), person)
    return {
        "flag": flag,
        "unit": unit,
        "value": found and found[1].value,
        "experiment": found and found[0].terms.experiment_id,
        "arm": found and found[1].name,
        "recorded": recorded,
    }


def _away() -> Problem:
    return Problem(503, "postgres_unavailable", "experiments cannot be read now", headers=RETRY)
