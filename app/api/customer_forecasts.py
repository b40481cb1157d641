"""`/v1/customers/…`: what customers will do, as the process that learns says."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api import access
from app.api.access import Actor
from app.api.completeness import MinPosition, Wait
from app.api.customers import CustomerId, seen_by, without_erased
from app.api.forecasts import AWAY, Positions, Shop, in_the_log, passed_on
from app.api.problems import known_parameters
from app.learner.client import Asked
from ml_online.customer_segments import LIKELY, Segment
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

LONGEST = 3650
CHURN_DAYS = 90

router = APIRouter(tags=["customers"], dependencies=[Depends(known_parameters)])

Whoever = Annotated[Actor, Depends(access.CUSTOMER_FIGURES)]
Days = Annotated[int, Query(ge=1, le=LONGEST, description="days ahead")]
Limit = Annotated[int, Query(ge=1, le=500)]
_FIRST, _LAST = date(EARLIEST_YEAR, 1, 1), date(LATEST_YEAR, 12, 31)
_Date = Annotated[date | None, Query(ge=_FIRST, le=_LAST)]
_FIGURES = [Depends(access.FIGURES)]


@router.get("/v1/customers/{customer_id}/churn", operation_id="customers_churn", responses=AWAY)
async def customers_churn(
    request: Request,
    actor: Whoever,
    customer_id: CustomerId,
    horizon: Days = CHURN_DAYS,
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> Response:
    """How likely a customer does not order within `horizon` days (`churn`), and what speaks for it.

    It is as of the end of the shop's last closed day, or its latest order. `churn` was learned from
    what became of others and is calibrated; `still_a_customer` is the BG/NBD's chance that they
    have not left for good, and `silence_is_usual` that one who is still there is silent for so
    long. Of whoever never ordered nothing is known: 404.
    """
    asked: Asked = {
        "shop": actor.shop,
        "customer": seen_by(request, actor, actor.shop, customer_id),
        "days": horizon,
        "discount": 0.0,
        "min_position": await in_the_log(request, min_position, wait),
        "wait": wait,
    }
    return await passed_on(request, "/customers/outlook", asked)


@router.get(
    "/v1/customers/segments",
    operation_id="customers_segments",
    responses=AWAY,
    dependencies=_FIGURES,
)
async def customers_segments(
    request: Request,
    positions: Positions,
    segment: Annotated[
        list[Segment],
        Query(max_length=7, description="list the customers of it, the most valuable first"),
    ] = [],  # noqa: B006
    horizon: Days = CHURN_DAYS,
    limit: Limit = 50,
    shop: Shop = "main",
) -> Response:
    """All customers by what they are expected to do within `horizon` days: how many there are in
    each segment, what its rule says, and what to do; of the segments that are named, who is in
    them, and why."""
    asked: Asked = {
        "shop": shop,
        "days": horizon,
        "segment": ",".join(segment),
        "limit": limit,
        **positions,
    }
    return without_erased(request, shop, await passed_on(request, "/customers/segments", asked))


@router.get(
    "/v1/customers/at_risk",
    operation_id="customers_at_risk",
    responses=AWAY,
    dependencies=_FIGURES,
)
async def customers_at_risk(
    request: Request,
    positions: Positions,
    min_churn: Annotated[
        float, Query(ge=0.0, le=1.0, allow_inf_nan=False, description="less likely are left out")
    ] = LIKELY,
    horizon: Days = CHURN_DAYS,
    limit: Limit = 50,
    shop: Shop = "main",
) -> Response:
    """Customers who ordered more than once and are likely not to within `horizon` days: those
    first of whom most would be lost. `value_at_risk` is what they would bring if they were certain
    to be still customers, times the chance that they stay away."""
    asked: Asked = {
        "shop": shop,
        "days": horizon,
        "min_churn": min_churn,
        "limit": limit,
        **positions,
    }
    return without_erased(request, shop, await passed_on(request, "/customers/at-risk", asked))


@router.get(
    "/v1/customers/scores",
    operation_id="customers_scores",
    responses=AWAY,
    dependencies=_FIGURES,
)
async def customers_scores(
    request: Request,
    positions: Positions,
    first: Annotated[_Date, Query(alias="from", description="weeks that ended then or later")] = (
        None
    ),
    last: Annotated[_Date, Query(alias="to")] = None,
    shop: Shop = "main",
) -> Response:
    """How well it was foretold who orders again and how often: each was scored before it was
    learned, by weeks ahead. Beside it stands the BG/NBD alone, and what was learned."""
    asked: Asked = {
        "shop": shop,
        "first": (first or _FIRST).isoformat(),
        "last": (last or _LAST).isoformat(),
        **positions,
    }
    return await passed_on(request, "/customers/scores", asked)
