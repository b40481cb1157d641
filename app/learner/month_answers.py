"""What the learner answers of months to come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter

from app.api.problems import Problem
from app.learner.forecasts import named_in_words
from app.learner.routing import Answer, Ready, Series, waiting
from ml_online.daily_intervals import INTERVALS
from ml_online.models import Models
from ml_online.month_forecast import MONTHLY_FORECAST, MonthKind, MonthLearner, Running
from ml_online.monthly import HORIZON, MonthForecast, MonthScore, calendar_month, seasonal_naive
from streams.money import text


def month_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    @router.get("/forecasts/months")
    async def forecasts_months(series: Series, horizon: int = HORIZON) -> dict[str, Any]:
        shop, level, key, currency, measure = series
        learner = models.learners[MONTHLY_FORECAST.name]
        assert isinstance(learner, MonthLearner)
        kind = _one_kind(learner, shop, level, key, measure, currency)
        return answer(
            MONTHLY_FORECAST.name,
            MONTHLY_FORECAST.version,
            **_of_series(learner, shop, kind, level, key, horizon),
        )

    return router


def _one_kind(
    learner: MonthLearner, shop: str, level: str, key: str, measure: str, currency: str | None
) -> MonthKind:
    """The kind that has the series. Raises Problem where none has, or more than one."""
    found = [
        one
        for one in learner.currencies(shop, measure, level, key)
        if currency in (None, one)
        # Of what was sold long ago, or before a long silence, no month is known any more.
        and len(learner.history(shop, MonthKind(measure, one), level, key))
    ]
    if not found:
        raise Problem(
            404,
            "unknown_series",
            f"no closed month of {named_in_words(shop, level, key, currency)} has a sale: "
            "a forecast takes one, and a month is closed with its last day",
        )
    if len(found) > 1:
        reason = f"one of {', '.join(found)} is needed"
        raise Problem(
            422, "invalid", f"currency: {reason}", [{"field": "currency", "reason": reason}]
        )
    return MonthKind(measure, found[0])


def _of_series(
    learner: MonthLearner, shop: str, kind: MonthKind, level: str, key: str, horizon: int
) -> dict[str, Any]:
    last = learner.trained_through(shop)
    assert last is not None  # it has the series
    found = learner.forecast(shop, kind, level, key, horizon)
    history = learner.history(shop, kind, level, key)
    return {
        "shop": shop,
        "level": level,
        "id": key,
        "currency": kind.currency,
        "measure": kind.measure,
        "trained_through": _named(last),
        "months": int((~np.isnan(history)).sum()),
        "seasonal": found.seasonal,
        "running": _running(learner.running(shop, kind, level, key)),
        "forecasts": [
            {
                "month": _named(last + ahead),
                "horizon": ahead,
                **_shown(found, ahead - 1),
                "seasonal_naive": _text(float(seasonal_naive(history[None], ahead)[0])),
            }
            for ahead in range(1, horizon + 1)
        ],
        "scores": [_scored(score) for score in learner.scores(shop, kind, level, key)],
    }


def _named(month: int) -> str:
    return f"{month // 12:04}-{calendar_month(month):02}"


def _text(value: float) -> str:
    return text(round(value))


def _shown(found: MonthForecast, at: int) -> dict[str, Any]:
    return {"value": _text(float(found.point[at])), "intervals": _intervals(found.quantiles[at])}


def _intervals(quantiles: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, list[str]]:
    return {
        percent: [_text(float(quantiles[low])), _text(float(quantiles[high]))]
        for percent, (low, high) in INTERVALS.items()
    }


def _running(running: Running | None) -> dict[str, Any] | None:
    if running is None:
        return None
    return {
        "month": _named(running.month),
        "closed_days": running.closed,
        "days": running.days,
        "so_far": _text(running.so_far),
        "value": _text(running.whole.point),
        "intervals": _intervals(running.whole.quantiles),
    }


def _scored(score: MonthScore) -> dict[str, Any]:
    mae = {name: None if one is None else _text(one) for name, one in score.mae.items()}
    mase = {name: None if one is None else round(one, 4) for name, one in score.mase.items()}
    return {
        "horizon": score.horizon,
        "pairs": score.pairs,
        **{model: {"mae": mae[model], "mase": mase[model]} for model in mae},
        "coverage": {
            "80": None if score.coverage_80 is None else round(score.coverage_80, 4),
            "95": None if score.coverage_95 is None else round(score.coverage_95, 4),
        },
    }
