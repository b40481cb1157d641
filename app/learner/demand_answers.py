"""What the learner answers of days on which a product was out of stock."""

from datetime import date
from typing import Any

from fastapi import APIRouter

from app.learner.routing import Answer, Ready, waiting
from ml_online.models import Models
from ml_online.sales_forecast import SALES_FORECAST, SalesForecaster
from ml_online.stock_days import STOCK_DAYS, StockDays


def demand_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    @router.get("/forecasts/out-of-stock")
    async def out_of_stock(shop: str, product: str) -> dict[str, Any]:
        """For what share of each day there was none of a product; null where nobody counts it."""
        stock, sales = models.learners[STOCK_DAYS.name], models.learners[SALES_FORECAST.name]
        assert isinstance(stock, StockDays)
        assert isinstance(sales, SalesForecaster)
        found = stock.product_out(shop, product)
        if not all(stock.counted(shop, variant) for variant in sales.variants(shop, product)):
            found = None  # of what nobody counts, there may always have been some
        days = None
        if found is not None:
            days = {date.fromordinal(day).isoformat(): share for day, share in found.items()}
        return answer(
            STOCK_DAYS.name, STOCK_DAYS.version, shop=shop, product=product, out_of_stock=days
        )

    return router
