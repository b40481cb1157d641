"""What the learner answers the API, from its models in memory. Nothing here changes a model."""

from typing import Any

from fastapi import FastAPI

from app.api import problems
from app.learner.anomaly_answers import anomaly_answers
from app.learner.answering import Answering
from app.learner.customer_answers import customer_answers
from app.learner.demand_answers import demand_answers
from app.learner.month_answers import month_answers
from app.learner.sales_answers import sales_answers
from app.learner.sentiment_answers import sentiment_answers
from app.learner.stock_out_answers import stock_out_answers
from app.learner.store import LearnerStore
from app.learner.together_answers import together_answers
from app.subscriptions import LEARNERS
from ml_online.stock_out_forecast import STOCK_OUTS, StockOuts


def create_answers(store: LearnerStore, partitions: int) -> FastAPI:
    """The learner's own small API, which only ours asks."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    models = store.models
    answering = Answering(store, LEARNERS, partitions)
    answering.digest(app)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        learned = sum(models.next_offsets.values())
        stock_outs = models.learners[STOCK_OUTS.name]
        assert isinstance(stock_outs, StockOuts)
        at_risk = sum(stock_outs.at_risk().values())
        return {"loaded": store.loaded, "learned": learned, "stock_outs_at_risk": at_risk}

    for answers in (
        *(sales_answers, month_answers, demand_answers),
        *(stock_out_answers, together_answers, anomaly_answers),
        *(customer_answers, sentiment_answers),
    ):
        app.include_router(answers(models, answering.ready, answering.answer))
    return app
