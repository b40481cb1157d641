"""What is answered of running out of stock, the likeliest first."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from fastapi import APIRouter

from app.learner.routing import Answer, Ready, waiting
from ml_online.daily import HORIZON
from ml_online.models import Models
from ml_online.stock_days import STOCK_DAYS, StockDays
from ml_online.stock_out_forecast import (
    COVER,
    SCORED_DAYS,
    STOCK_OUTS,
    Question,
    Risk,
    StockOuts,
)
from ml_online.stock_out_scores import Calibration
from ml_online.stock_outs import service_of

MOST_DAYS = HORIZON
"""Of lead time, review and cover together: as far as sales are foretold."""

_SUREST = 0.9999
"""Whatever a unit too few costs: no order is large enough to be never too small."""
_DIGITS = 6
_NAMES = dict(zip(COVER, ("early", "median", "late"), strict=True))


class Wanted(NamedTuple):
    """What is asked. Costs of a unit too few and too many are given both, or neither."""

    shop: str
    lead_time: int
    review: int
    cover: int
    service_level: float
    short_cost: float | None
    over_cost: float | None
    product: str | None
    min_probability: float
    alert: float
    scored_days: int
    limit: int


def stock_out_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    @router.get("/forecasts/stockouts")
    async def forecasts_stockouts(
        shop: str,
        lead_time: int,
        review: int,
        cover: int,
        service_level: float,
        alert: float,
        min_probability: float,
        scored_days: int,
        limit: int,
        short_cost: float | None = None,
        over_cost: float | None = None,
        product: str | None = None,
    ) -> dict[str, Any]:
        known, stock = models.learners[STOCK_OUTS.name], models.learners[STOCK_DAYS.name]
        assert isinstance(known, StockOuts)
        assert isinstance(stock, StockDays)
        wanted = Wanted(
            *(shop, lead_time, review, cover, service_level, short_cost, over_cost),
            *(product, min_probability, alert, scored_days, limit),
        )
        found = stock_outs(known, stock, wanted, datetime.now(UTC))
        return answer(STOCK_OUTS.name, STOCK_OUTS.version, **found)

    return router


def stock_outs(known: StockOuts, stock: StockDays, wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Variants of which there is a stock and a forecast; how many there are, and how many of them
    are alerts, whatever the limit."""
    order_level = wanted.service_level
    if wanted.short_cost is not None and wanted.over_cost is not None:
        order_level = min(_SUREST, service_of(wanted.short_cost, wanted.over_cost))
    question = Question(
        wanted.lead_time, wanted.review, wanted.cover, wanted.service_level, order_level, now
    )
    there = stock.now(wanted.shop)
    likely = [
        (variant, chance)
        for variant, chance in known.risks(wanted.shop, question)
        if chance >= wanted.min_probability and wanted.product in (None, there[variant].product)
    ]
    shown = [variant for variant, _ in likely[: wanted.limit]]
    found = known.calibration(wanted.shop, wanted.scored_days)
    return {
        "shop": wanted.shop,
        "trained_through": known.trained_through(wanted.shop),
        "as_of": known.as_of(wanted.shop, question),
        "lead_time": wanted.lead_time,
        "review": wanted.review,
        "cover": wanted.cover,
        "service_level": wanted.service_level,
        "order_level": round(order_level, _DIGITS),
        "variants": len(likely),
        "alerts": sum(chance >= wanted.alert for _, chance in likely),
        "stock_outs": [
            _shown(risk, wanted) for risk in known.details(wanted.shop, shown, question)
        ],
        "calibration": None if found is None else _calibration(found, wanted.scored_days),
    }


def _shown(risk: Risk, wanted: Wanted) -> dict[str, Any]:
    days = {_NAMES[sure]: _rounded(day, 2) for sure, day in zip(COVER, risk.days, strict=True)}
    return {
        "product_id": risk.stock.product,
        "variant": risk.variant,
        "on_hand": risk.stock.on_hand,
        "reserved": risk.stock.reserved,
        "available": risk.stock.available,
        "on_order": None,  # nobody tells
        "demand": round(risk.mean, 4),
        "probability": round(risk.chance, _DIGITS),
        "alert": risk.chance >= wanted.alert,
        "expected_date": risk.date,
        "days_of_cover": days,
        "by_day": [round(chance, _DIGITS) for chance in risk.by_day[: wanted.lead_time]],
        "reorder_point": risk.reorder_point,
        "order_up_to": risk.order_up_to,
        "suggested_quantity": risk.quantity,
    }


def _calibration(found: Calibration, days: int) -> dict[str, Any]:
    return {
        "lead_time": SCORED_DAYS,
        "days": days,
        "chances": found.chances,
        "base_rate": round(found.base_rate, _DIGITS),
        "brier": round(found.brier, _DIGITS),
        "ece": round(found.ece, _DIGITS),
        "log_loss": round(found.log_loss, _DIGITS),
        "parts": [
            {"chances": count, "foretold": round(chance, 4), "came_true": round(share, 4)}
            for count, chance, share in found.parts
        ],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
