"""What the routes of the learner's own small API have in common."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from app.learner.forecasts import Wanted
from ml_online.sales_series import Measure
from streams.events import SalesLevel

Ready = Callable[[Sequence[str], float], Awaitable[None]]
"""Waits for positions, so many seconds. Raises Problem."""
Answer = Callable[..., dict[str, Any]]
"""What is answered, beside which model says so and up to where it has learned."""


def waiting(ready: Ready) -> APIRouter:
    """A router whose routes first wait for the positions that they are asked with."""

    async def reached(min_position: str = "", wait: float = 0.0) -> None:
        await ready([min_position] if min_position else (), wait)

    return APIRouter(dependencies=[Depends(reached)])


def _wanted(
    shop: str,
    level: SalesLevel = "total",
    id: str = "",  # noqa: A002
    currency: str | None = None,
    measure: Measure = "net",
) -> Wanted:
    return Wanted(shop, level, id, currency, measure)


Series = Annotated[Wanted, Depends(_wanted)]
