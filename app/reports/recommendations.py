"""What the recommenders answer, as live queries: asked again with whatever they have learned."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import Asked, Column, Key, Moment, Report
from projections.read_model import Transaction

_GROUP = "recommenders"
_PATIENCE = 2.0  # seconds that the learner has to learn what it has noted already
_COUNTS = ("served", "viewed", "clicked", "impressions", "clicks", "purchases", "orders")
_RATES = ("click_through", "click_rate", "conversion")
_RANKING = ("hr@20", "mrr@20", "ndcg@20", "coverage", "novelty")
ALL = "*"
"""The row of the ranking itself, which is of no placement."""


class AskedTrending(Asked):
    category: Annotated[Key, Field(max_length=128)] = ""
    limit: Annotated[int, Field(ge=1, le=50)] = 10


async def _answer(
    transaction: Transaction, moment: Moment, path: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What they answer once they have learned all that this transaction sees they have read. Raises
    Away."""
    assert moment.recommender is not None
    rows = await transaction.fetch(
        "SELECT topic, partition, next_offset FROM progress "
        "WHERE group_name = $1 AND next_offset > 0",
        _GROUP,
    )
    places = [f"{row['topic']}:{row['partition']}:{row['next_offset'] - 1}" for row in rows]
    params = {**asked, "min_position": ",".join(places), "wait": _PATIENCE}
    status, body = await moment.recommender.told(path, params, _PATIENCE)
    return body if status == 200 else {}


async def _trending(
    transaction: Transaction, moment: Moment, asked: AskedTrending
) -> Sequence[Mapping[str, Any]]:
    params = asked.model_dump(include={"shop", "category", "limit"})
    found = await _answer(transaction, moment, "/trending", params)
    return [
        {name: one[name] for name in ("product_id", "position", "score")}
        for one in found.get("products", ())
    ]


async def _scores(
    transaction: Transaction, moment: Moment, asked: Asked
) -> Sequence[Mapping[str, Any]]:
    found = await _answer(transaction, moment, "/scores", {"shop": asked.shop})
    if not found:
        return []
    ranking = {name: found["ranking"].get(name) for name in _RANKING}
    none = dict.fromkeys((*_COUNTS, *_RATES))
    return [
        {"placement": ALL, "policy": ALL, **none, **ranking},
        *({**one, **dict.fromkeys(_RANKING)} for one in found["placements"]),
    ]


QUERIES: Sequence[Report[Any]] = (
    Report(
        name="recommendations_trending",
        says="what visitors turn to most of late, relative to the first",
        path="/v1/recommendations/trending",
        group=_GROUP,
        asked=AskedTrending,
        columns=lambda _: [
            Column("product_id"),
            Column("position", "count"),
            Column("score", "number"),
        ],
        key=lambda _: ("product_id",),
        rows=_trending,
        tag="recommendations",
        past=False,
    ),
    Report(
        name="recommendations_scores",
        says="how good recommendations are, and what became of answers by placement and policy",
        path="/v1/recommendations/scores",
        group=_GROUP,
        asked=Asked,
        columns=lambda _: [
            *(Column(name) for name in ("placement", "policy")),
            *(Column(name, "count") for name in _COUNTS),
            *(Column(name, "number") for name in (*_RATES, *_RANKING)),
        ],
        key=lambda _: ("placement", "policy"),
        rows=_scores,
        tag="recommendations",
        past=False,
    ),
)
