"""Categories as they are listed."""

from collections.abc import Sequence
from typing import NamedTuple

from app.commands.work import decode
from app.domain.category import CATEGORY, Category
from projections.read_model import Transaction


class Found(NamedTuple):
    """A category and its version."""

    category: Category
    version: int


async def find(transaction: Transaction, shop: str, category_id: str) -> Found | None:
    """One category; None where there is none."""
    row = await transaction.fetchrow(
        "SELECT version, state FROM categories WHERE shop = $1 AND id = $2 AND NOT removed",
        *(shop, category_id),
    )
    return Found(decode(CATEGORY, row["state"]), row["version"]) if row else None


async def listed(
    transaction: Transaction, shop: str, parent: str | None, after: str, limit: int
) -> Sequence[Found]:
    """Categories by their ids, those right below one alone if it is named; one more than `limit`
    where there are more."""
    rows = await transaction.fetch(
        "SELECT version, state FROM categories WHERE shop = $1 AND NOT removed AND id > $2 "
        "AND ($3::text IS NULL OR parent = $3) ORDER BY id LIMIT $4",
        *(shop, after, parent, limit + 1),
    )
    return [Found(decode(CATEGORY, row["state"]), row["version"]) for row in rows]
