"""`/v1/sentiment`: what reviews say, as the learner judges them, passed on."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.forecasts import AWAY, Positions, Shop, passed_on
from app.api.problems import Problem, known_parameters
from app.learner.client import LearnerClient
from app.learner.sentiment_answers import Aspect, Grain, SentimentBy
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

router = APIRouter(
    tags=["sentiment"], dependencies=[Depends(access.FIGURES), Depends(known_parameters)]
)

_NO_NUL = r"^[^\x00]*$"
_FIRST, _LAST = date(EARLIEST_YEAR, 1, 1), date(LATEST_YEAR, 12, 31)
_MOST_LETTERS = 20_000
Product = Annotated[str | None, Query(max_length=128, pattern=_NO_NUL)]
First = Annotated[date | None, Query(alias="from", ge=_FIRST, le=_LAST, description="UTC")]
Last = Annotated[date | None, Query(alias="to", ge=_FIRST, le=_LAST, description="included")]


def _days(first: date | None, last: date | None) -> dict[str, str | None]:
    """A range of days as the learner is asked for it. Raises Problem."""
    if first and last and first > last:
        reason = f"from ({first}) is after it"
        raise Problem(422, "invalid", f"to: {reason}", [{"field": "to", "reason": reason}])
    return {
        "first": first.isoformat() if first else None,
        "last": last.isoformat() if last else None,
    }


async def _ask(
    request: Request, path: str, positions: Positions, asked: dict[str, Any]
) -> Response:
    return await passed_on(request, path, {**asked, **positions})


@router.get("/v1/sentiment", operation_id="sentiment", responses=AWAY)
async def sentiment(
    request: Request,
    positions: Positions,
    product: Product = None,
    aspect: Annotated[Aspect | None, Query(description="all of them, where none is named")] = None,
    by: Annotated[SentimentBy, Query(description="of each product, or of all together")] = "total",
    grain: Grain = "total",
    first: First = None,
    last: Last = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    shop: Shop = "main",
) -> Response:
    """How many reviews praise and blame, as a whole and for each aspect that they speak of, by
    product and period.

    `score` is from -1, where all blame, to 1. Each review is judged when it arrives and counts on
    the (UTC) day it was written; one that is edited, taken back or hidden is followed. Reviews in a
    language that is not known are `unknown_language`, those with nothing but stars, or whose writer
    was erased, `without_text`.
    """
    asked = {
        "shop": shop,
        "product": product,
        "aspect": aspect,
        "by": by,
        "grain": grain,
        **_days(first, last),
        "limit": limit,
    }
    return await _ask(request, "/sentiment", positions, asked)


@router.get("/v1/sentiment/suggestions", operation_id="sentiment_suggestions", responses=AWAY)
async def sentiment_suggestions(
    request: Request,
    positions: Positions,
    product: Product = None,
    aspect: Aspect | None = None,
    first: First = None,
    last: Last = None,
    min_reviews: Annotated[int, Query(ge=1, le=1_000, description="that tell of it")] = 3,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    shop: Shop = "main",
) -> Response:
    """What could be done better, by product and problem, with the reviews that say so: how many,
    of how many that were judged, and the ids of the latest twenty. Those with most come first."""
    asked = {
        "shop": shop,
        "product": product,
        "aspect": aspect,
        **_days(first, last),
        "min_reviews": min_reviews,
        "limit": limit,
    }
    return await _ask(request, "/sentiment/suggestions", positions, asked)


@router.get("/v1/sentiment/scores", operation_id="sentiment_scores", responses=AWAY)
async def sentiment_scores(request: Request, positions: Positions, shop: Shop = "main") -> Response:
    """How often the judgement of a review was what its stars said, which it was not told: accuracy,
    macro-F1, Brier score and how far confidence is off, in all, by language and by month. Beside it
    stand the most frequent class so far, and the word lists alone.

    A language is known by its `words`, which are with Tillstream, or by `evidence`, from a day on:
    once 200 reviews have taught enough for predictions to be better than shares alone.
    """
    return await _ask(request, "/sentiment/scores", positions, {"shop": shop})


@router.get(
    "/v1/products/{product_id:path}/sentiment", operation_id="products_sentiment", responses=AWAY
)
async def products_sentiment(
    request: Request,
    positions: Positions,
    product_id: Annotated[str, Path(max_length=128, pattern=_NO_NUL)],
    shop: Shop = "main",
) -> Response:
    """What reviews of a product say of each aspect, whether that is `rising`, `falling` or `steady`
    (the last 30 days with a review in the shop, against the 90 before, by two standard errors),
    what could be done, and the latest twenty, each with what was made of it."""
    asked = {"shop": shop, "product": product_id}
    return await _ask(request, "/sentiment/product", positions, asked)


class Said(BaseModel):
    """A text that is to be judged."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"text": "Lovely colour, but it runs small."}},
    )

    text: Annotated[str, Field(min_length=1, max_length=_MOST_LETTERS, pattern=_NO_NUL)]


@router.post("/v1/sentiment", operation_id="sentiment_judge", responses=AWAY)
async def sentiment_judge(
    request: Request, positions: Positions, said: Said, shop: Shop = "main"
) -> Response:
    """What a text would be judged as now: nothing is learned or kept. `confidence` is how likely
    stars would say the same; `sentiment` is `unknown` where the language is."""
    learner: LearnerClient = request.app.state.learner
    body = {"shop": shop, "text": said.text, **positions}
    return await learner.ask("/sentiment", {}, float(positions["wait"]), body)
