"""Products as they are looked for: by words, by category and all below it, by brand, price, stock.

Words are looked for as they begin, in any order, all of them; the better they fit, the earlier a
product comes. A search is no language: whatever else is in it is left out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from app.commands.work import decode
from app.domain.product import PRODUCT, Product
from projections.read_model import Transaction
from streams.money import Money

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 16
_MOST_LETTERS = 100


class Wanted(Struct, frozen=True, kw_only=True):
    """Which products. A price range is of one variant at least; no field means all of them."""

    words: str | None = None
    category: str | None = None
    brand: str | None = None
    currency: str | None = None
    min_price: Money | None = None
    max_price: Money | None = None
    in_stock: bool | None = None
    delisted: bool = False


class Found(NamedTuple):
    """A product, its version, how well it fits, and what is available of its variants."""

    product: Product
    version: int
    rank: float
    available: Mapping[str, int]


class Stars(NamedTuple):
    """How many visible reviews give one star, two, … five."""

    counts: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def average(self) -> float | None:
        """To two decimal places; None where there is no review."""
        stars = sum(number * count for number, count in enumerate(self.counts, 1))
        return round(stars / self.total, 2) if self.total else None


def search_of(words: str) -> str:
    """A search as Postgres reads one; empty where there is nothing to look for."""
    found = _WORD.findall(words.lower())[:_MOST_WORDS]
    return " & ".join(f"'{word[:_MOST_LETTERS]}':*" for word in found)


async def find(transaction: Transaction, shop: str, product_id: str) -> Found | None:
    """One product, also if it is not offered any more; None where there is none."""
    row = await transaction.fetchrow(
        f"SELECT *, 0::float8 AS rank, {_AVAILABLE} FROM products "  # noqa: S608
        "WHERE shop = $1 AND id = $2",
        *(shop, product_id),
    )
    return _found(row) if row else None


async def listed(
    transaction: Transaction,
    shop: str,
    wanted: Wanted,
    after: tuple[float, str] | None,
    limit: int,
) -> Sequence[Found]:
    """Those that fit best first, then by id, from after a rank and an id on; one more than `limit`
    where there are more."""
    search = search_of(wanted.words) if wanted.words is not None else None
    if search == "":
        return []
    rows = await transaction.fetch(
        _query(wanted, search is not None, after is not None),
        *(shop, search, wanted.category, wanted.brand, wanted.currency),
        *(_amount(wanted.min_price), _amount(wanted.max_price)),
        *(after or (None, None)),
        limit + 1,
    )
    return [_found(row) for row in rows]


async def stars_of(
    transaction: Transaction, shop: str, product_ids: Sequence[str]
) -> Mapping[str, Stars]:
    """What visible reviews give these products, as it is at this moment."""
    rows = await transaction.fetch(
        "SELECT product_id, rating, count(*) FROM reviews "
        "WHERE shop = $1 AND product_id = ANY($2) AND visible GROUP BY product_id, rating",
        *(shop, list(product_ids)),
    )
    found = {one: [0] * 5 for one in product_ids}
    for row in rows:
        found[row["product_id"]][row["rating"] - 1] = row["count"]
    return {one: Stars((a, b, c, d, e)) for one, (a, b, c, d, e) in found.items()}


def _found(row: Any) -> Found:
    product = decode(PRODUCT, row["state"])
    available = dict(zip(row["stocked"] or (), row["available"] or (), strict=True))
    return Found(product, row["version"], row["rank"], available)


def _amount(price: Money | None) -> str | None:
    return None if price is None else str(price)


def _query(wanted: Wanted, searched: bool, goes_on: bool) -> str:
    """The statement for what is wanted alone: so its plan is made for that, too."""
    rank = "ts_rank(search, to_tsquery('simple', $2::text))::float8" if searched else "0::float8"
    conditions = [
        "products.shop = $1",
        "NOT listed" if wanted.delisted else "listed",
        *(["search @@ to_tsquery('simple', $2::text)"] if searched else []),
        *(["category = ANY(ARRAY(SELECT id FROM below))"] if wanted.category is not None else []),
        *(["brand = $4"] if wanted.brand is not None else []),
        *(["state ->> 'currency' = $5"] if wanted.currency is not None else []),
        *([_PRICED] if (wanted.min_price, wanted.max_price) != (None, None) else []),
        *(
            [f"{'' if wanted.in_stock else 'NOT '}{_IN_STOCK}"]
            if wanted.in_stock is not None
            else []
        ),
    ]
    after = "WHERE rank < $8 OR (rank = $8 AND id > $9)" if goes_on else ""
    return f"""
        {_BELOW}, given AS (
            SELECT $2::text, $4::text, $5::text, $6::text, $7::text, $8::float8, $9::text
        ), fits AS (
            SELECT products.*, {rank} AS rank FROM products WHERE {" AND ".join(conditions)}
        ), page AS (
            SELECT * FROM fits {after} ORDER BY rank DESC, id LIMIT $10
        )
        SELECT id, version, state, rank, {_AVAILABLE.replace("products.", "page.")} FROM page
        ORDER BY rank DESC, id
    """  # noqa: S608 (parts of our own)


_BELOW = """
    WITH RECURSIVE below AS (
        SELECT id FROM categories WHERE shop = $1 AND id = $3 AND NOT removed
        UNION
        SELECT categories.id FROM categories JOIN below ON categories.parent = below.id
        WHERE categories.shop = $1 AND NOT categories.removed
    )
"""
_PRICED = """EXISTS (
    SELECT FROM jsonb_array_elements(state -> 'variants') AS variant
    WHERE (variant ->> 'price')::numeric
        BETWEEN coalesce($6::text::numeric, 0) AND coalesce($7::text::numeric, 'Infinity')
)"""
_OFFERED = """
    FROM stock WHERE stock.shop = products.shop AND stock.product_id = products.id
        AND products.state -> 'variants' @> jsonb_build_array(jsonb_build_object('id', stock.id))
"""
_IN_STOCK = f"EXISTS (SELECT {_OFFERED} AND stock.available > 0)"
_AVAILABLE = f"""
    ARRAY(SELECT stock.id {_OFFERED} ORDER BY stock.id) AS stocked,
    ARRAY(SELECT stock.available {_OFFERED} ORDER BY stock.id) AS available
"""
