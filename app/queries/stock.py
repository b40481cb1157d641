"""Stock as it is listed."""

from collections.abc import Sequence
from typing import NamedTuple

from app.commands.work import decode
from app.domain.stock import STOCK, Stock
from projections.read_model import Transaction


class Found(NamedTuple):
    """A variant's stock and its version."""

    stock: Stock
    version: int


async def find(transaction: Transaction, shop: str, variant: str) -> Found | None:
    """One variant's; None where there is none."""
    row = await transaction.fetchrow(
        "SELECT version, state FROM stock WHERE shop = $1 AND id = $2", shop, variant
    )
    return Found(decode(STOCK, row["state"]), row["version"]) if row else None


async def listed(
    transaction: Transaction,
    shop: str,
    product_id: str | None,
    low: bool | None,
    after: str,
    limit: int,
) -> Sequence[Found]:
    """By variants' ids, of one product alone if it is named, low or not; one more than `limit`
    where there are more."""
    rows = await transaction.fetch(
        f"SELECT version, state FROM stock WHERE shop = $1 AND id > $2 "  # noqa: S608
        f"AND ($3::text IS NULL OR product_id = $3) {_LOW[low]} ORDER BY id LIMIT $4",
        *(shop, after, product_id, limit + 1),
    )
    return [Found(decode(STOCK, row["state"]), row["version"]) for row in rows]


_LOW = {None: "", True: "AND low", False: "AND NOT low"}
