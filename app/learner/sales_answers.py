"""What the learner answers of sales of the next days, and of how well they were foretold."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from fastapi import Request
from fastapi.routing import APIRouter
from msgspec import Struct

from app.learner.forecasts import By, models, sales, scores, what_if
from app.learner.routing import Answer, Ready, Series, waiting
from ml_online.daily import HORIZON
from ml_online.models import Models
from ml_online.sales_forecast import SALES_FORECAST, SalesForecaster
from ml_online.sales_series import LEVELS
from streams.events import CalendarEntryPlanned, SalesLevel


class Supposed(Struct, frozen=True):
    """What is asked to be supposed of a series' days."""

    entries: Sequence[CalendarEntryPlanned]


def sales_answers(learned: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    def forecaster() -> SalesForecaster:
        found = learned.learners[SALES_FORECAST.name]
        assert isinstance(found, SalesForecaster)
        return found

    def foretold(known: SalesForecaster, shop: str, found: dict[str, Any]) -> dict[str, Any]:
        more = {"shop": shop, "trained_through": known.trained_through(shop), **found}
        return answer(SALES_FORECAST.name, SALES_FORECAST.version, **more)

    @router.get("/forecasts/sales")
    async def forecasts_sales(
        series: Series, horizon: int = HORIZON, contender: str | None = None
    ) -> dict[str, Any]:
        known = forecaster()
        return foretold(known, series.shop, sales(known, series, horizon, contender))

    @router.post("/forecasts/what-if")
    async def forecasts_what_if(
        request: Request, series: Series, horizon: int = HORIZON
    ) -> dict[str, Any]:
        asked = msgspec.json.decode(await request.body(), type=Supposed)
        known = forecaster()
        return foretold(known, series.shop, what_if(known, series, horizon, asked.entries))

    @router.get("/forecasts/scores")
    async def forecasts_scores(
        series: Series,
        level: SalesLevel | None = None,
        first: date | None = None,
        last: date | None = None,
        by: By = "bucket",
    ) -> dict[str, Any]:
        known = forecaster()
        levels = [level] if level else LEVELS
        return foretold(known, series.shop, scores(known, series, levels, (first, last), by))

    @router.get("/forecasts/models")
    async def forecasts_models(shop: str) -> dict[str, Any]:
        known = forecaster()
        return foretold(known, shop, models(known, shop))

    return router
