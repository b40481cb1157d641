"""`/v1/sales`: figures from the read models, each saying how complete it is."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from app.api import access
from app.api.completeness import CompleteTo, Figures, MinPosition, Wait
from app.api.problems import Problem, known_parameters
from projections import best_sellers, days, revenue
from projections.clock import ShopClock
from streams.codec import EARLIEST_YEAR, LATEST_YEAR
from streams.events import SalesLevel

router = APIRouter(dependencies=[Depends(known_parameters)])

_NO_NUL = r"^[^\x00]*$"
Shop = Annotated[str, Query(max_length=128, pattern=_NO_NUL)]
Key = Annotated[str, Field(max_length=512, pattern=_NO_NUL)]
_DAYS = {"ge": date(EARLIEST_YEAR, 1, 1), "le": date(LATEST_YEAR, 12, 31)}
From = Annotated[
    date | None, Query(alias="from", description="first day, in the shop's zone", **_DAYS)
]
To = Annotated[date | None, Query(alias="to", description="last day, included", **_DAYS)]
Currency = Annotated[str | None, Query(pattern="^[A-Z]{3}$", description="only this currency")]


def _answer(complete_to: CompleteTo, **rest: Any) -> dict[str, Any]:
    return {**rest, "complete_to": complete_to}


@router.get(
    "/v1/sales/revenue",
    operation_id="sales_revenue",
    tags=["sales"],
    dependencies=[Depends(access.FIGURES)],
)
async def sales_revenue(
    request: Request,
    first: From = None,
    last: To = None,
    grain: Literal["total", "hour", "day", "month"] = "day",
    by: Literal["total", "country", "category", "product"] = "total",
    key: Annotated[list[Key] | None, Query(description="only these keys of `by`")] = None,
    currency: Currency = None,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """Gross, discounts, refunds, net, orders and units, by period, along one dimension.

    A row per period, key and currency: amounts of different currencies are never added up. Amounts
    are exact decimals in strings. A sale counts when it was completed, a refund when it was made.
    """
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    check_range(first, last)
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        rows = await revenue.revenue(
            transaction,
            clock,
            shop=shop,
            first=first,
            last=last,
            grain=grain,
            by=by,
            currency=currency,
            keys=key,
        )
    return _answer(complete_to, shop=shop, grain=grain, by=by, timezone=clock.zone.key, rows=rows)


@router.get(
    "/v1/sales/days",
    operation_id="sales_days",
    tags=["sales"],
    dependencies=[Depends(access.FIGURES)],
)
async def sales_days(
    request: Request,
    first: From = None,
    last: To = None,
    level: SalesLevel = "total",
    key: Annotated[list[Key] | None, Query(description="only these keys of `level`")] = None,
    currency: Currency = None,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """The shop's closed days as they were told, zeros included; open days are not among them.

    A row per day, key and currency. What came late makes a day `corrected` and counts up its
    `revision`.
    """
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    check_range(first, last)
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        try:
            rows = await days.days(
                transaction,
                shop=shop,
                first=first,
                last=last,
                level=level,
                keys=key,
                currency=currency,
            )
        except days.TooManyDays as error:
            raise Problem(422, "too_many_rows", str(error)) from None
    return _answer(complete_to, shop=shop, level=level, timezone=clock.zone.key, rows=rows)


@router.get(
    "/v1/sales/top-products",
    operation_id="sales_top_products",
    tags=["sales"],
    dependencies=[Depends(access.FIGURES)],
)
async def sales_top_products(
    request: Request,
    first: From = None,
    last: To = None,
    by: Literal["units", "gross", "net", "orders"] = "units",
    currency: Currency = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """The products that sold best, a row per product and currency."""
    figures: Figures = request.app.state.figures
    check_range(first, last)
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        rows = await best_sellers.best_sellers(
            transaction,
            shop=shop,
            first=first,
            last=last,
            ranking=by,
            currency=currency,
            limit=limit,
        )
    return _answer(complete_to, shop=shop, by=by, rows=rows)


def check_range(first: date | None, last: date | None) -> None:
    """Raises Problem where there is no day between them."""
    if first and last and last < first:
        reason = f"{last} is before from={first}"
        raise Problem(422, "invalid", f"to: {reason}", [{"field": "to", "reason": reason}])
