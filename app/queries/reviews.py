"""Reviews as they are listed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from app.commands.work import decode
from app.domain.review import REVIEW, Review
from projections.read_model import Transaction


class Found(NamedTuple):
    """A review, its version, and since when there is one of this person."""

    review: Review
    version: int
    created_at: datetime


async def find(transaction: Transaction, shop: str, product_id: str, one: str) -> Found | None:
    """One review of a product; None where there is none."""
    row = await transaction.fetchrow(
        "SELECT version, state, created_at FROM reviews "
        "WHERE shop = $1 AND product_id = $2 AND id = $3",
        *(shop, product_id, one),
    )
    return _found(row) if row else None


async def listed(
    transaction: Transaction,
    shop: str,
    product_id: str,
    rating: int | None,
    hidden: bool,
    after: tuple[datetime, str] | None,
    limit: int,
) -> Sequence[Found]:
    """The latest first, visible or hidden ones; one more than `limit` where there are more."""
    rows = await transaction.fetch(
        "SELECT version, state, created_at FROM reviews "  # noqa: S608
        "WHERE shop = $1 AND product_id = $2 AND ($3::int IS NULL OR rating = $3) "
        f"AND {_HIDDEN if hidden else 'visible'} "
        "AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5)) "
        "ORDER BY created_at DESC, id DESC LIMIT $6",
        *(shop, product_id, rating, *(after or (None, None)), limit + 1),
    )
    return [_found(row) for row in rows]


def _found(row: Any) -> Found:
    return Found(decode(REVIEW, row["state"]), row["version"], row["created_at"])


_HIDDEN = "(state ->> 'hidden')::boolean AND state ->> 'retracted' IS NULL"
