"""`/v1/forecasts` and bought-together: what the learner answers, passed on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import access
from app.api.completeness import Figures, MinPosition, Wait, parse_positions
from app.api.problems import known_parameters
from app.learner.client import Asked, LearnerClient
from app.settings import Settings
from app.subscriptions import LEARNERS

router = APIRouter(dependencies=[Depends(access.FIGURES), Depends(known_parameters)])

_NO_NUL = r"^[^\x00]*$"
Shop = Annotated[str, Query(max_length=128, pattern=_NO_NUL)]
Level = Literal["total", "category"]
_Responses = dict[int | str, dict[str, Any]]
SeriesId = Annotated[
    str | None,
    Query(max_length=512, pattern=_NO_NUL, description="the category; of `total` there is one"),
]
Currency = Annotated[
    str | None, Query(pattern="^[A-Z]{3}$", description="needed where a series has several")
]
_AWAY: _Responses = {
    503: {"description": "The process that learns is away, or still loading its models."}
}
_UNKNOWN: _Responses = {404: {"description": "No such series, or not enough closed days of it."}}


async def _in_the_log(request: Request, min_position: list[str], wait: float) -> str:
    """Positions as the learner knows them. Raises Problem where one is none."""
    settings: Settings = request.app.state.settings
    figures: Figures = request.app.state.figures
    found = await figures.in_the_log(LEARNERS, min_position, wait)
    parse_positions(LEARNERS, found, settings.partitions)
    return ",".join(found)


@router.get(
    "/v1/forecasts/sales",
    operation_id="forecasts_sales",
    tags=["forecasts"],
    responses={**_AWAY, **_UNKNOWN},
)
async def forecasts_sales(
    request: Request,
    level: Level = "total",
    id: SeriesId = None,  # noqa: A002
    currency: Currency = None,
    horizon: Annotated[int, Query(ge=1, le=28, description="days ahead")] = 28,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """Net revenue of each of the next days, as foretold when the last day was closed.

    Beside each value stands the seasonal naive's: that of the same weekday of the last week.
    """
    places = await _in_the_log(request, min_position, wait)
    learner: LearnerClient = request.app.state.learner
    asked: Asked = {
        "shop": shop,
        "level": level,
        "id": id,
        "currency": currency,
        "horizon": horizon,
        "min_position": places,
        "wait": wait,
    }
    return await learner.ask("/forecasts/sales", asked, wait)


@router.get(
    "/v1/forecasts/scores", operation_id="forecasts_scores", tags=["forecasts"], responses=_AWAY
)
async def forecasts_scores(
    request: Request,
    level: Level | None = None,
    id: SeriesId = None,  # noqa: A002
    currency: Currency = None,
    by: Literal["bucket", "horizon"] = "bucket",
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Response:
    """How well the forecasts did, beside the seasonal naive over the very same days.

    Every forecast was made, and scored, before its day was learned. MASE is the error relative to
    that of the seasonal naive within the history known when the forecast was made.
    """
    places = await _in_the_log(request, min_position, wait)
    learner: LearnerClient = request.app.state.learner
    asked: Asked = {
        "shop": shop,
        "level": level,
        "id": id,
        "currency": currency,
        "by": by,
        "min_position": places,
        "wait": wait,
    }
    return await learner.ask("/forecasts/scores", asked, wait)


@router.get(
    "/v1/products/{product_id:path}/bought-together",
    operation_id="products_bought_together",
    tags=["forecasts"],
    responses=_AWAY,
)
async def products_bought_together(
    request: Request,
    product_id: Annotated[str, Path(max_length=128, pattern=_NO_NUL)],
    limit: Annotated[int, Query(ge=1, le=64)] = 10,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Response:
    """What is bought together with a product, best first: recent orders weigh more.

    `source` says whether these are `bought_together`, with the number of orders that had both, or,
    where the product was never bought with another, what is `trending` in the shop.
    """
    places = await _in_the_log(request, min_position, wait)
    learner: LearnerClient = request.app.state.learner
    asked: Asked = {
        "shop": shop,
        "product": product_id,
        "limit": limit,
        "min_position": places,
        "wait": wait,
    }
    return await learner.ask("/bought-together", asked, wait)
