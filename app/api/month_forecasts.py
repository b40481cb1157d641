"""`/v1/forecasts/months`: what the learner answers of months to come, passed on."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api import access
from app.api.forecasts import AWAY, Series, passed_on
from app.api.problems import known_parameters
from ml_online.monthly import HORIZON

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])

_TOLD: dict[int | str, dict[str, Any]] = {
    **AWAY,
    404: {"description": "No such series, or no month of it is closed."},
}


@router.get(
    "/v1/forecasts/months",
    operation_id="forecasts_months",
    tags=["forecasts"],
    responses=_TOLD,
)
async def forecasts_months(
    request: Request,
    series: Series,
    horizon: Annotated[int, Query(ge=1, le=HORIZON, description="months ahead")] = HORIZON,
) -> Response:
    """Sales in each of the next months, with intervals that are wide while history is short.

    One closed month is enough. `seasonal` says whether two seasons are known: of one, what is known
    of it counts for about half. The levels need not add up. `running` is the month that is
    not over yet: what its closed days come to, and what the whole is expected to. `scores` are of
    forecasts that were made, and scored, before their month was learned.
    """
    return await passed_on(request, "/forecasts/months", {**series, "horizon": horizon})
