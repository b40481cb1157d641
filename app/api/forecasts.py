"""`/v1/forecasts` and bought-together: what the learner answers, passed on."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import access
from app.api.access import Actor, Role
from app.api.completeness import Figures, MinPosition, Wait, parse_positions
from app.api.problems import Problem, known_parameters
from app.exposures import Exposures
from app.learner.client import Body, LearnerClient
from app.learner.forecasts import By
from app.queries.experiments import Running
from app.settings import Settings
from app.subscriptions import LEARNERS
from ml_online.daily import CONTENDERS, HORIZON
from ml_online.experiments import Experiment, choice
from ml_online.sales_series import Measure
from projections.postgres import AWAY as AWAY_ERRORS
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.events import CalendarKind, ExperimentArm, SalesLevel

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])

_NO_NUL = r"^[^\x00]*$"
_FIRST, _LAST = date(EARLIEST_YEAR, 1, 1), date(LATEST_YEAR, 12, 31)
_MOST_ENTRIES = 100
Shop = Annotated[str, Query(max_length=128, pattern=_NO_NUL)]
_Responses = dict[int | str, dict[str, Any]]
SeriesId = Annotated[
    str | None,
    Query(max_length=512, pattern=_NO_NUL, description="the category, product, …; no `total` has"),
]
Currency = Annotated[
    str | None, Query(pattern="^[A-Z]{3}$", description="needed where a series has several")
]
Horizon = Annotated[int, Query(ge=1, le=HORIZON, description="days ahead")]
Unit = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00@]+$",
        description="who plans by it, such as a branch: as an experiment over `forecaster` has it",
    ),
]
FLAG = "forecaster"
"""Experiments over this flag are of who foretells sales: an arm's value is a contender."""
AWAY: _Responses = {
    503: {"description": "The process that learns is away, or still loading its models."}
}
_UNKNOWN: _Responses = {404: {"description": "No such series, or not enough closed days of it."}}


async def in_the_log(request: Request, min_position: list[str], wait: float) -> str:
    """Positions as the learner knows them. Raises Problem where one is none."""
    settings: Settings = request.app.state.settings
    figures: Figures = request.app.state.figures
    found = await figures.in_the_log(LEARNERS, min_position, wait)
    parse_positions(LEARNERS, found, settings.partitions)
    return ",".join(found)


Asking = dict[str, str | int | float | None]


async def positions_asked(
    request: Request,
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> dict[str, str | float]:
    """Positions as the learner knows them, and how long to wait for them. Raises Problem."""
    return {"min_position": await in_the_log(request, min_position, wait), "wait": wait}


Positions = Annotated[dict[str, str | float], Depends(positions_asked)]


async def series_asked(
    positions: Positions,
    level: SalesLevel = "total",
    id: SeriesId = None,  # noqa: A002
    currency: Currency = None,
    measure: Measure = "net",
    shop: Shop = "main",
) -> Asking:
    """A series, as the learner is asked for it. Raises Problem."""
    series = {"shop": shop, "level": level, "id": id, "currency": currency, "measure": measure}
    return {**series, **positions}


Series = Annotated[Asking, Depends(series_asked)]


async def passed_on(
    request: Request, path: str, asked: Mapping[str, Any], body: Body | None = None
) -> Response:
    """What the learner answers, however long it may wait."""
    learner: LearnerClient = request.app.state.learner
    return await learner.ask(path, asked, float(asked["wait"]), body)


@router.get(
    "/v1/forecasts/sales",
    operation_id="forecasts_sales",
    tags=["forecasts"],
    responses={**AWAY, **_UNKNOWN},
)
async def forecasts_sales(
    request: Request,
    actor: Annotated[Actor, Depends(access.FIGURES)],
    series: Series,
    horizon: Horizon = HORIZON,
    unit: Unit = None,
) -> Response:
    """Sales on each of the next days: what is expected, and the intervals in which 50, 80 and 95 %
    of days should be.

    The levels add up: products to their category, categories to the total, and countries to the
    total. Beside each value stand the seasonal naive's, which repeats the last week, and what is
    `known` ahead of the day: closed, on promotion, at another price, a holiday. `contender` is who
    foretold it.

    Where staff name a `unit`, an experiment over the flag `forecaster` says who that is:
    `experiment` names it and the unit's arm, or is null where the unit takes part in none.
    """
    asked = {**series, "horizon": horizon}
    if unit is None:
        return await passed_on(request, "/forecasts/sales", asked)
    taken = await _taken(request, actor, unit)
    asked["contender"] = taken and _contender_of(taken[1])
    answer = await passed_on(request, "/forecasts/sales", asked)
    if answer.status_code != 200:
        return answer
    told = taken and await _told(request, *taken, unit)
    return Response(
        orjson.dumps({**orjson.loads(bytes(answer.body)), "experiment": told}),
        media_type="application/json",
    )


async def _taken(
    request: Request, actor: Actor, unit: str
) -> tuple[Experiment, ExperimentArm] | None:
    """The experiment over forecasters that a unit takes part in, and its arm. Who need not say who
    they are takes part in none: they could have the log told anything."""
    if actor.role not in (Role.STAFF, Role.ADMIN):
        return None
    running: Running = request.app.state.experiments
    try:
        return choice(await running.of_flag(actor.shop, FLAG), unit)
    except AWAY_ERRORS:
        return None  # while nothing is known of experiments, everybody has what is usual


def _contender_of(its: ExperimentArm) -> str | None:
    """An arm's value names the contender; one that names none has who is served."""
    return its.value if its.value in CONTENDERS else None


async def _told(
    request: Request, experiment: Experiment, its: ExperimentArm, unit: str
) -> dict[str, Any]:
    """Which arm it is; the log hears that the unit has come to see it."""
    exposures: Exposures = request.app.state.exposures
    recorded = await exposures.record(experiment, its, unit, datetime.now(UTC))
    return {"id": experiment.terms.experiment_id, "arm": its.name, "recorded": recorded}


class Entry(BaseModel):
    """What is supposed of some days: the whole shop's, or of all that `key` has at this level."""

    model_config = ConfigDict(extra="forbid")

    kind: CalendarKind
    first: Annotated[date, Field(ge=_FIRST, le=_LAST)]
    last: Annotated[date, Field(ge=_FIRST, le=_LAST)]
    level: SalesLevel = "total"
    key: Annotated[str, Field(max_length=512, pattern=_NO_NUL)] = ""
    value: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$",
            description="of a price its ratio to the usual one, of a promotion its strength",
        ),
    ] = "1"

    @model_validator(mode="after")
    def _has_days(self) -> "Entry":
        if self.first > self.last:
            raise ValueError(f"first ({self.first}) is after last ({self.last})")
        if self.kind == "price" and "value" not in self.model_fields_set:
            raise ValueError("value is needed of a price: its ratio to the usual one, such as 0.8")
        return self


class Supposed(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "entries": [
                    {"kind": "price", "first": "2026-12-01", "last": "2026-12-07", "value": "0.8"}
                ]
            }
        },
    )

    entries: Annotated[list[Entry], Field(min_length=1, max_length=_MOST_ENTRIES)]


@router.post(
    "/v1/forecasts/what-if",
    operation_id="forecasts_what_if",
    tags=["forecasts"],
    responses={**AWAY, **_UNKNOWN},
)
async def forecasts_what_if(
    request: Request, supposed: Supposed, series: Series, horizon: Horizon = HORIZON
) -> Response:
    """The forecast if this were planned besides: another price, a promotion, a closed day; and the
    difference to what is foretold now. Nothing is planned by asking.

    `unlearned` names what is supposed here though no day that was closed ever had it, so that
    nothing is known of what it does.
    """
    entries = [
        {"entry_id": f"supposed-{number}", **entry.model_dump(mode="json")}
        for number, entry in enumerate(supposed.entries)
    ]
    asked = {**series, "horizon": horizon}
    return await passed_on(request, "/forecasts/what-if", asked, {"entries": entries})


@router.get(
    "/v1/forecasts/scores", operation_id="forecasts_scores", tags=["forecasts"], responses=AWAY
)
async def forecasts_scores(
    request: Request,
    positions: Positions,
    level: SalesLevel | None = None,
    id: SeriesId = None,  # noqa: A002
    currency: Currency = None,
    measure: Measure = "net",
    first: Annotated[
        date | None, Query(alias="from", ge=_FIRST, le=_LAST, description="first day foretold")
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", ge=_FIRST, le=_LAST, description="last day, included")
    ] = None,
    by: By = "bucket",
    shop: Shop = "main",
) -> Response:
    """How well forecasts of these days did, for each model and level; by bucket of horizons, by
    horizon, or by day.

    Every forecast was made, and is scored, before its day is learned. MASE is the error relative to
    that of the seasonal naive within the history known when the forecast was made; R² compares with
    each series' mean as it was known before the day. The last 400 days can be asked for by
    themselves, and all there were together. Of one series, named by `id`, all days are told.
    """
    if first and last and first > last:
        reason = f"from ({first}) is after it"
        raise Problem(422, "invalid", f"to: {reason}", [{"field": "to", "reason": reason}])
    if id and (first or last):
        reason = "of one series the scores are of all its days"
        raise Problem(422, "invalid", f"id: {reason}", [{"field": "id", "reason": reason}])
    if id and level is None:
        reason = "is needed with an id"
        raise Problem(422, "invalid", f"level: {reason}", [{"field": "level", "reason": reason}])
    asked = {
        "shop": shop,
        "level": level,
        "id": id,
        "currency": currency,
        "measure": measure,
        "first": first.isoformat() if first else None,
        "last": last.isoformat() if last else None,
        "by": by,
        **positions,
    }
    return await passed_on(request, "/forecasts/scores", asked)


@router.get(
    "/v1/forecasts/models", operation_id="forecasts_models", tags=["forecasts"], responses=AWAY
)
async def forecasts_models(request: Request, positions: Positions, shop: Shop = "main") -> Response:
    """What is learned of a shop: of each measure, currency and level how many series, which model
    is served, how those that compete did over the last 56 days, and which shifts of demand were
    noticed."""
    return await passed_on(request, "/forecasts/models", {"shop": shop, **positions})


@router.get(
    "/v1/products/{product_id:path}/bought-together",
    operation_id="products_bought_together",
    tags=["forecasts"],
    responses=AWAY,
)
async def products_bought_together(
    request: Request,
    positions: Positions,
    product_id: Annotated[str, Path(max_length=128, pattern=_NO_NUL)],
    limit: Annotated[int, Query(ge=1, le=64)] = 10,
    shop: Shop = "main",
) -> Response:
    """What is bought together with a product, best first: recent orders weigh more.

    `source` says whether these are `bought_together`, with the number of orders that had both, or,
    where the product was never bought with another, what is `trending` in the shop.
    """
    asked = {"shop": shop, "product": product_id, "limit": limit, **positions}
    return await passed_on(request, "/bought-together", asked)
