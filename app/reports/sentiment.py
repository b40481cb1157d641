"""What reviews say, as live queries: the names, filters and rows of `/v1/sentiment`, asked again
when something is told of the catalogue."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.learner.sentiment_answers import Aspect, Grain, SentimentBy
from app.reports.report import Asked, AskedRange, Column, Key, Moment, Report
from projections.read_model import Transaction

_GROUP, _TOPIC = "learners", "catalog"
_PATIENCE = 2.0  # seconds that the learner has to learn what it has noted already
_COUNTS = ("reviews", "positive", "neutral", "negative")
_OTHERS = ("unknown_language", "without_text")

Product = Annotated[Key | None, Field(max_length=128)]
Limit = Annotated[int, Field(ge=1, le=500)]


class AskedSentiment(AskedRange):
    product: Product = None
    aspect: Aspect | None = None
    by: SentimentBy = "total"
    grain: Grain = "total"
    limit: Annotated[int, Field(ge=1, le=5_000)] = 1_000


class AskedProduct(Asked):
    product: Annotated[Key, Field(max_length=128, description="all of them, where none is")] = ""


class AskedSuggestions(AskedRange):
    product: Product = None
    aspect: Aspect | None = None
    min_reviews: Annotated[int, Field(ge=1, le=1_000)] = 3
    limit: Limit = 50


async def _answer(
    transaction: Transaction, moment: Moment, path: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What the learner answers once it has learned all that this transaction sees it has read.
    Raises Away."""
    assert moment.learner is not None
    rows = await transaction.fetch(
        "SELECT partition, next_offset FROM progress "
        "WHERE group_name = $1 AND topic = $2 AND next_offset > 0 ORDER BY partition",
        *(_GROUP, _TOPIC),
    )
    read_to = ",".join(f"{_TOPIC}:{row['partition']}:{row['next_offset'] - 1}" for row in rows)
    params = {**asked, "min_position": read_to, "wait": _PATIENCE}
    status, body = await moment.learner.told(path, params, _PATIENCE)
    return body if status == 200 else {}


async def _sentiment(
    transaction: Transaction, moment: Moment, asked: AskedSentiment
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/sentiment", _params(asked))
    return list(found.get("sentiment", ()))


async def _product(
    transaction: Transaction, moment: Moment, asked: AskedProduct
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/sentiment/product", _params(asked))
    return list(found.get("aspects", ()))


async def _suggestions(
    transaction: Transaction, moment: Moment, asked: AskedSuggestions
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/sentiment/suggestions", _params(asked))
    return list(found.get("suggestions", ()))


async def _scores(
    transaction: Transaction, moment: Moment, asked: Asked
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/sentiment/scores", _params(asked))
    return list(found.get("languages", ()))


def _params(asked: Asked) -> Mapping[str, Any]:
    return asked.model_dump(mode="json", exclude={"as_of", "min_position", "wait"})


def _key(asked: AskedSentiment) -> Sequence[str]:
    of_product = asked.by == "product" or asked.product is not None
    period = () if asked.grain == "total" else (asked.grain,)
    return (*(("product_id",) if of_product else ()), *period, "aspect")


def _columns(asked: AskedSentiment) -> Sequence[Column]:
    return [
        *map(Column, _key(asked)),
        *(Column(name, "count") for name in _COUNTS),
        Column("score"),
        *(Column(name, "count") for name in _OTHERS),
    ]


QUERIES: Sequence[Report[Any]] = (
    Report(
        name="sentiment",
        says="how many reviews praise and blame, as a whole and for each aspect",
        path="/v1/sentiment",
        group=_GROUP,
        asked=AskedSentiment,
        columns=_columns,
        key=_key,
        rows=_sentiment,
        tag="sentiment",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="products_sentiment",
        says="what reviews of a product say of each aspect, and whether that rises or falls",
        path="/v1/products/{product_id}/sentiment",
        group=_GROUP,
        asked=AskedProduct,
        columns=lambda _: [
            Column("aspect"),
            *(Column(name, "count") for name in _COUNTS),
            Column("score"),
            *(Column(name, "count") for name in _OTHERS),
            Column("trend"),
        ],
        key=lambda _: ("aspect",),
        rows=_product,
        tag="sentiment",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="sentiment_suggestions",
        says="what could be done better, and which reviews say so",
        path="/v1/sentiment/suggestions",
        group=_GROUP,
        asked=AskedSuggestions,
        columns=lambda _: [
            *map(Column, ("product_id", "aspect", "problem", "suggestion")),
            *(Column(name, "count") for name in ("reviews", "of_reviews")),
            *map(Column, ("share", "mean_stars")),
            *(Column(name, "day") for name in ("first", "last")),
            Column("review_ids"),
        ],
        key=lambda _: ("product_id", "problem"),
        rows=_suggestions,
        tag="sentiment",
        past=False,
        topic=_TOPIC,
    ),
    Report(
        name="sentiment_scores",
        says="how often the judgement of a review was what its stars said, by language",
        path="/v1/sentiment/scores",
        group=_GROUP,
        asked=Asked,
        columns=lambda _: list(
            map(
                Column,
                ("language", "known", "known_by", "known_since", "learned", "scores", "months"),
            )
        ),
        key=lambda _: ("language",),
        rows=_scores,
        tag="sentiment",
        past=False,
        topic=_TOPIC,
    ),
)
