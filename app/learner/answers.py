"""What the learner answers the API, from its models in memory. Nothing here changes a model."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from fastapi import FastAPI

from app.api import problems
from app.api.completeness import RETRY, not_there_yet, parse_positions
from app.api.problems import Problem
from app.learner.store import LearnerStore
from app.subscriptions import LEARNERS
from ml_online.bought_together import BOUGHT_TOGETHER, BoughtTogether
from ml_online.sales_forecast import MEASURE, SALES_FORECAST, SalesForecaster, SeriesKey
from ml_online.scores import BUCKETS, HORIZON, MODELS, Score, Tally, summed
from ml_online.series import FIRST_FORECAST, Series
from streams.money import text
from streams.subscribe import Partition

Level = Literal["total", "category"]


def create_answers(store: LearnerStore, partitions: int) -> FastAPI:
    """The learner's own small API, which only ours asks."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    models = store.models

    def forecaster() -> SalesForecaster:
        found = models.learners[SALES_FORECAST.name]
        assert isinstance(found, SalesForecaster)
        return found

    async def ready(min_position: Sequence[str] = (), wait: float = 0.0) -> None:
        """Raises Problem where the models are not loaded, or do not know of a position."""
        if not store.loaded:
            raise Problem(
                503, "learner_loading", "the models are being loaded; ask again", headers=RETRY
            )
        wanted = parse_positions(LEARNERS, min_position, partitions)
        try:
            async with asyncio.timeout(wait if wanted else None):
                await store.reached({Partition(*at): offset for at, offset in wanted.items()})
        except TimeoutError:
            raise not_there_yet(wait) from None

    def answer(name: str, number: int, **rest: Any) -> dict[str, Any]:
        model = {"name": name, "version": number, "river": version("river")}
        return {**rest, "model": model, "complete_to": store.complete_to()}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        learned = sum(models.next_offsets.values())
        return {"loaded": store.loaded, "learned": learned}

    @app.get("/digest")
    async def digest() -> dict[str, Any]:
        await ready()
        return {"seq": models.seq, "digest": models.digest(), "complete_to": store.complete_to()}

    @app.get("/forecasts/sales")
    async def forecasts_sales(
        shop: str,
        level: Level,
        id: str = "",  # noqa: A002
        currency: str | None = None,
        horizon: int = HORIZON,
        min_position: str = "",
        wait: float = 0.0,
    ) -> dict[str, Any]:
        await ready([min_position] if min_position else (), wait)
        known = forecaster()
        key = one_series(known.series(shop), level, id, currency)
        found = known.forecasts(shop, key)
        if not found:
            raise Problem(
                404, "too_few_days", f"a forecast takes {FIRST_FORECAST} closed days of the series"
            )
        return answer(
            SALES_FORECAST.name,
            SALES_FORECAST.version,
            shop=shop,
            level=level,
            id=key.key,
            currency=key.currency,
            measure=MEASURE,
            trained_through=known.trained_through(shop),
            forecasts=[
                {
                    "date": one.day,
                    "horizon": one.horizon,
                    "value": text(one.value),
                    "seasonal_naive": text(one.naive),
                }
                for one in found[:horizon]
            ],
        )

    @app.get("/forecasts/scores")
    async def forecasts_scores(
        shop: str,
        level: Level | None = None,
        id: str | None = None,  # noqa: A002
        currency: str | None = None,
        by: Literal["bucket", "horizon"] = "bucket",
        min_position: str = "",
        wait: float = 0.0,
    ) -> dict[str, Any]:
        await ready([min_position] if min_position else (), wait)
        known = forecaster()
        series = {
            key: one
            for key, one in sorted(known.series(shop).items())
            if level in (None, key.level) and id in (None, key.key)
            if currency in (None, key.currency)
        }
        return answer(
            SALES_FORECAST.name,
            SALES_FORECAST.version,
            shop=shop,
            measure=MEASURE,
            trained_through=known.trained_through(shop),
            mean_mase=mean_mase(series),
            series=[scores_of(key, one, by) for key, one in series.items()],
        )

    @app.get("/bought-together")
    async def bought_together(
        shop: str, product: str, limit: int = 10, min_position: str = "", wait: float = 0.0
    ) -> dict[str, Any]:
        await ready([min_position] if min_position else (), wait)
        found = models.learners[BOUGHT_TOGETHER.name]
        assert isinstance(found, BoughtTogether)
        source, related = found.related(shop, product, limit)
        return answer(
            BOUGHT_TOGETHER.name,
            BOUGHT_TOGETHER.version,
            shop=shop,
            product=product,
            source=source,
            products=[
                {"product_id": one.product_id, "score": round(one.score, 6), "orders": one.orders}
                for one in related
            ],
        )

    return app


def one_series(
    series: Mapping[SeriesKey, Series], level: str, key: str, currency: str | None
) -> SeriesKey:
    """The series that is asked for. Raises Problem where there is none, or more than one."""
    found = sorted(
        one
        for one in series
        if one.level == level and one.key == key and currency in (None, one.currency)
    )
    if not found:
        raise Problem(
            404,
            "unknown_series",
            f"no closed day has a sale of {level} {key}".rstrip()
            + ": a forecast takes seven of them, and a day is closed an hour after its end",
        )
    if len(found) > 1:
        reason = f"one of {', '.join(one.currency for one in found)} is needed"
        raise Problem(
            422, "invalid", f"currency: {reason}", [{"field": "currency", "reason": reason}]
        )
    return found[0]


def scores_of(key: SeriesKey, series: Series, by: str) -> dict[str, Any]:
    """One series' scores: overall, and by bucket of horizons or by each horizon."""
    spans = BUCKETS if by == "bucket" else [(h, h) for h in range(1, HORIZON + 1)]
    return {
        "level": key.level,
        "id": key.key,
        "currency": key.currency,
        "overall": _scored(series.tallies),
        f"by_{by}": [
            {"from": first, "to": last, **_scored(series.tallies[first - 1 : last])}
            for first, last in spans
        ],
    }


def _scored(tallies: Sequence[Tally]) -> dict[str, Any]:
    count, scores = summed(tallies)
    return {"pairs": count, **{name: _shown(score) for name, score in scores.items()}}


def _shown(score: Score) -> dict[str, Any]:
    return {
        "mae": None if score.mae is None else text(round(score.mae)),
        "mase": None if score.mase is None else round(score.mase, 4),
    }


def mean_mase(series: Mapping[SeriesKey, Series]) -> dict[str, float | None]:
    """Each model's MASE, the mean over all series that have one."""
    scores = [summed(one.tallies)[1] for one in series.values()]
    found = {name: [m for one in scores if (m := one[name].mase) is not None] for name in MODELS}
    return {name: round(sum(m) / len(m), 4) if m else None for name, m in found.items()}
