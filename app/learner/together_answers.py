"""What the learner answers of what is bought together."""

from typing import Any

from fastapi import APIRouter

from app.learner.routing import Answer, Ready, waiting
from ml_online.bought_together import BOUGHT_TOGETHER, BoughtTogether
from ml_online.models import Models


def together_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The routes, for the learner's own small API."""
    router = waiting(ready)

    @router.get("/bought-together")
    async def bought_together(shop: str, product: str, limit: int = 10) -> dict[str, Any]:
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

    return router
