"""`/v1/forecasts/stockouts`: which variants run out, when, and what to order."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api import access
from app.api.completeness import MinPosition, Wait
from app.api.forecasts import AWAY, Shop, in_the_log
from app.api.problems import Problem, known_parameters
from app.learner.client import Asked, LearnerClient
from app.learner.stock_out_answers import MOST_DAYS
from ml_online.stock_out_forecast import ALERT

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])

_NO_NUL = r"^[^\x00]*$"
Days = Annotated[int, Query(ge=0, le=MOST_DAYS - 1)]
Share = Annotated[float, Query(ge=0.0, le=1.0, allow_inf_nan=False)]
Cost = Annotated[float | None, Query(gt=0.0, le=1e9, allow_inf_nan=False)]


@router.get(
    "/v1/forecasts/stockouts",
    operation_id="forecasts_stockouts",
    tags=["forecasts"],
    responses=AWAY,
)
async def forecasts_stockouts(
    request: Request,
    lead_time: Annotated[
        int, Query(ge=1, le=MOST_DAYS, description="days until what is ordered now is there")
    ] = 7,
    review: Annotated[Days, Query(description="days until one can order again")] = 0,
    cover: Annotated[Days, Query(description="for how many more days an order is to suffice")] = 0,
    service_level: Annotated[
        float,
        Query(ge=0.5, le=0.9999, allow_inf_nan=False, description="how likely stock is to suffice"),
    ] = 0.95,
    short_cost: Annotated[
        Cost, Query(description="of a unit too few; with `over_cost` it says how much to order")
    ] = None,
    over_cost: Annotated[Cost, Query(description="of a unit too many")] = None,
    product: Annotated[str | None, Query(max_length=128, pattern=_NO_NUL)] = None,
    min_probability: Annotated[Share, Query(description="less likely ones are left out")] = 0.0,
    alert: Annotated[Share, Query(description="from which probability on it is an alert")] = ALERT,
    scored_days: Annotated[
        int, Query(ge=1, le=365, description="closed days that the calibration is of")
    ] = 90,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """How likely each variant's demand over the lead time exceeds what is available, from now on;
    the likeliest first.

    `demand` is the sum of `/v1/forecasts/sales`; what it may come to was learned from what sums
    over such lead times came to. `expected_date` is when it is as likely
    as not, `days_of_cover` the days until it is likely to 10, 50 and 90 %; null is later than sales
    are foretold. At the `reorder_point` stock suffices for lead time and review at the service
    level; `order_up_to` also for the days of cover, at the level that balances the costs, where
    they are given. `calibration` says how the chances of a lead time of seven days did, which were
    foretold at each close: whether demand was more than the stock of that moment.
    """
    if lead_time + review + cover > MOST_DAYS:
        reason = (
            f"with review and cover no more than {MOST_DAYS} days, as far as sales are foretold"
        )
        raise _invalid("lead_time", reason)
    if (short_cost is None) != (over_cost is None):
        name, other = (
            ("over_cost", "short_cost") if over_cost is None else ("short_cost", "over_cost")
        )
        raise _invalid(name, f"is needed with {other}")
    places = await in_the_log(request, min_position, wait)
    learner: LearnerClient = request.app.state.learner
    asked: Asked = {
        "shop": shop,
        "lead_time": lead_time,
        "review": review,
        "cover": cover,
        "service_level": service_level,
        "short_cost": short_cost,
        "over_cost": over_cost,
        "product": product,
        "min_probability": min_probability,
        "alert": alert,
        "scored_days": scored_days,
        "limit": limit,
        "min_position": places,
        "wait": wait,
    }
    return await learner.ask("/forecasts/stockouts", asked, wait)


def _invalid(field: str, reason: str) -> Problem:
    return Problem(422, "invalid", f"{field}: {reason}", [{"field": field, "reason": reason}])
