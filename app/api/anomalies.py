"""`/v1/anomalies`: what is out of the ordinary in a shop, and what it comes from."""

from fastapi import APIRouter, Depends, Request, Response

from app.api import access
from app.api.completeness import MinPosition, Wait
from app.api.forecasts import AWAY, Shop, in_the_log
from app.api.problems import known_parameters
from app.learner.client import Asked, LearnerClient

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])


@router.get("/v1/anomalies", operation_id="anomalies", tags=["operations"], responses=AWAY)
async def anomalies(
    request: Request,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """Orders, revenue, visits, orders for what was looked at, refused payments: where ten minutes,
    an hour or six hours were so improbable that it is no chance (`digits` of improbability).

    `low` to `high` is where 98 of a hundred such stretches are at that hour of the week; `parts`
    are the countries, products, channels, sources or reasons that it mostly comes from. Each is an
    event `AnomalyNoticed`, too. One is open until `ended`. What is `missing` at this moment is
    asked of the clock, for where nothing comes nothing is noticed. A metric is `ready` after two
    weeks.
    """
    places = await in_the_log(request, min_position, wait)
    learner: LearnerClient = request.app.state.learner
    asked: Asked = {"shop": shop, "min_position": places, "wait": wait}
    return await learner.ask("/anomalies", asked, wait)
