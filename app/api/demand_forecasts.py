"""`/v1/forecasts/demand`: what daily demand shows, joined with what is expected of it."""

import asyncio
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime, timedelta
from math import isnan
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from app.api import access
from app.api.completeness import Figures, MinPosition, Wait
from app.api.forecasts import Currency, Positions, Shop
from app.api.problems import Problem, known_parameters
from app.api.sales import From, Key, To, check_range
from app.learner.client import LearnerClient
from ml_online.demand_analysis import MOST_DAYS, Demand, Season, TooFewDays, analysed
from ml_online.stock_days import demand as demanded
from projections import demand
from projections.clock import ShopClock

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])

AHEAD = 28
_DAY = timedelta(days=1)
_DAYS = 365  # where it is not said since when
_TOLD: dict[int | str, dict[str, Any]] = {
    404: {"description": "Too few days of it are known."},
}
_Id = Annotated[Key | None, Query(description="without any, all that the shop sells")]


@router.get(
    "/v1/forecasts/demand",
    operation_id="forecasts_demand",
    tags=["forecasts"],
    responses=_TOLD,
)
async def forecasts_demand(
    request: Request,
    positions: Positions,
    product: _Id = None,
    category: _Id = None,
    first: From = None,
    last: To = None,
    out_of_stock: Annotated[
        list[date] | None,
        Query(description="more days on which there was none to sell", max_length=MOST_DAYS),
    ] = None,
    currency: Currency = None,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """Where demand goes and how surely, its seasons, when it changed; and the forecast.

    In units of all currencies together, of full days from the first sale on: by default of the last
    365. A trend, or a season, is `significant` where chance alone would show one like it in less
    than 5 % of cases. Days on which a product was out of stock, as its stock was counted
    (`stock_known`) or as is said by `out_of_stock`, are no zeros: they take no part, and `demand`
    says what would have been sold with them. `forecast` are the next 28 days, as
    `/v1/forecasts/sales` has them in units (of one `currency`, where there are several), or null,
    and why.
    """
    level, key = _asked(product, category)
    check_range(first, last)
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    first, last = _range(first, last, clock.day(clock.hour(datetime.now(UTC))))
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        keys = [key] if level != "total" else []
        found = await demand.series_of(transaction, clock, shop, first, last, by=level, keys=keys)
    series = found[key]
    learner: LearnerClient = request.app.state.learner
    known = await _out_of_stock(learner, shop, product, positions)
    censored = censored_days(series, set(out_of_stock or ()), known or {})
    try:
        shown = await asyncio.to_thread(analysed, series.first, series.units, censored)
    except TooFewDays as error:
        raise Problem(404, "too_few_days", str(error)) from None
    asked = {
        "shop": shop,
        "level": level,
        "id": key,
        "currency": currency,
        "measure": "units",
        "horizon": AHEAD,
        **positions,
    }
    return {
        "shop": shop,
        "level": level,
        "id": key,
        "timezone": clock.zone.key,
        "from": series.first,
        "to": last,
        "stock_known": known is not None,
        **as_told(shown, series.first),
        **await _foretold(learner, asked),
        "complete_to": complete_to,
    }


def _asked(product: str | None, category: str | None) -> tuple[str, str]:
    """A level and its key. Raises Problem."""
    if product is not None and category is not None:
        reason = "of product and category, only one can be asked for"
        raise Problem(422, "invalid", reason, [{"field": "category", "reason": reason}])
    if product is not None:
        return "product", product
    return ("total", "") if category is None else ("category", category)


def _range(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """Full days alone. Raises Problem where there are too many, or none."""
    last = min(last or today - _DAY, today - _DAY)
    first = first or last - (_DAYS - 1) * _DAY
    if first > last:
        raise Problem(404, "too_few_days", "none of these days is over")
    if (last - first).days >= MOST_DAYS:
        reason = f"at most {MOST_DAYS} days can be analysed together"
        raise Problem(422, "invalid", f"from: {reason}", [{"field": "from", "reason": reason}])
    return first, last


def censored_days(
    series: demand.Series, told: Set[date], shares: Mapping[date, float]
) -> list[bool]:
    """Which days of a series say too little of its demand: those that somebody told of, and those
    for too large a share of which there was none to sell."""
    return [
        day in told or isnan(demanded(units, shares.get(day, 0.0))) for day, units in series.days()
    ]


def as_told(found: Demand, first: date) -> dict[str, Any]:
    """An analysis as JSON has it: days by their dates, weekdays and months by their numbers."""
    return {
        "days": found.days,
        "out_of_stock_days": found.censored,
        "units": round(found.units),
        "demand": round(found.demand, 2),
        "trend": {
            "direction": found.trend.direction,
            "slope": round(found.trend.slope, 6),
            "p": round(found.trend.p, 4),
            "significant": found.trend.direction != "none",
        },
        "seasonality": {
            "weekday": _season(found.weekly),
            "month": None if found.yearly is None else _season(found.yearly),
        },
        "changes": [
            {
                "day": first + change.day * _DAY,
                "before": round(change.before, 4),
                "after": round(change.after, 4),
            }
            for change in found.changes
        ],
    }


def _season(season: Season) -> dict[str, Any]:
    return {
        "strength": round(season.strength, 4),
        "p": round(season.p, 4),
        "significant": season.significant,
        "ratios": {str(n): round(ratio, 4) for n, ratio in enumerate(season.factors, 1)},
    }


async def _out_of_stock(
    learner: LearnerClient, shop: str, product: str | None, positions: dict[str, str | float]
) -> dict[date, float] | None:
    """For what share of each day nothing of a product was there; None where nobody counts it, or
    nobody can be asked."""
    if product is None:
        return None
    asked = {"shop": shop, "product": product, **positions}
    try:
        answer = await learner.ask("/forecasts/out-of-stock", asked, float(positions["wait"]))
    except Problem:
        return None
    found = orjson.loads(bytes(answer.body)).get("out_of_stock")
    return None if found is None else {date.fromisoformat(day): one for day, one in found.items()}


async def _foretold(
    learner: LearnerClient, asked: dict[str, str | float | int | None]
) -> dict[str, Any]:
    """The forecast; none where the learner is away: what demand shows can be said without it."""
    try:
        answer = await learner.ask("/forecasts/sales", asked, float(asked["wait"] or 0))
    except Problem as problem:
        return {"forecast": None, "no_forecast": problem.detail}
    return joined(answer)


def joined(answer: Response) -> dict[str, Any]:
    """What the learner answered, as a part of ours."""
    found = orjson.loads(bytes(answer.body))
    if answer.status_code != 200:
        return {"forecast": None, "no_forecast": found["detail"]}
    if found["measure"] != "units":
        return {"forecast": None, "no_forecast": f"it is foretold in {found['measure']} alone"}
    return {"forecast": found["forecasts"], "no_forecast": None}
