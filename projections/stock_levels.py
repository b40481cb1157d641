"""`stock_levels`: what there is of each variant of each product, as its events tell.

On hand are the units in the house, the reserved ones among them until they are shipped: the words
of `app.domain.stock`. All but the threshold are sums, so that it does not matter in which order
their events come; of the threshold, what was told last holds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from projections.read_model import (
    Contents,
    Folded,
    FoldFailed,
    ReadModel,
    Row,
    Setting,
    Transaction,
    Write,
)
from streams.codec import Fact
from streams.events import (
    LONGEST_ID,
    Data,
    ProductListed,
    StockAdjusted,
    StockReceived,
    StockReleased,
    StockReserved,
    StockShipped,
    StockThresholdChanged,
)

_TELLING = frozenset(
    {
        *(StockReceived, StockAdjusted, StockReserved, StockReleased, StockShipped),
        *(StockThresholdChanged, ProductListed),
    }
)

Key = tuple[str, str, str]  # shop, product, variant


class Change(Struct, gc=False):
    """What a batch adds to one level, and the last threshold that it tells."""

    on_hand: int = 0
    reserved: int = 0
    received: int = 0
    adjusted: int = 0
    shipped: int = 0
    threshold: int | None = None
    told: tuple[datetime, str] | None = None  # when, and by which event


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What to add to each level, sorted by key. One of which anything was told has a row, be it of
    zeros: what is for sale and was never in the house is out of stock."""
    changes: dict[Key, Change] = {}
    for fact in facts:
        if type(fact.data) in _TELLING:
            try:
                _add(changes, fact)
            except Exception as error:
                raise FoldFailed("stock_levels", fact) from error
    return Folded([(*key, *_row(changes[key])) for key in sorted(changes)])


def _row(change: Change) -> tuple[Any, ...]:
    sums = change.on_hand, change.reserved, change.received, change.adjusted, change.shipped
    return (*sums, change.threshold, *(change.told or (None, None)))


def _add(changes: dict[Key, Change], fact: Fact) -> None:
    shop, data = fact.event.shop, fact.data
    if isinstance(data, ProductListed):
        for variant in [one.id for one in data.variants] or [_variant(data)]:
            changes.setdefault((shop, data.product_id, variant), Change())
        return
    assert isinstance(data, StockReceived | StockAdjusted | StockThresholdChanged)
    key = shop, data.product_id, _variant(data)
    change = changes.get(key)
    if change is None:
        change = changes[key] = Change()
    if isinstance(data, StockThresholdChanged):
        told = fact.event.time, fact.event.id
        if change.told is None or told > change.told:
            change.threshold, change.told = data.threshold, told
    else:
        _count(change, data, data.quantity)


def _count(change: Change, data: Data, units: int) -> None:
    match data:  # the first that fits: some events are special forms of later ones
        case StockShipped():
            change.on_hand -= units
            change.reserved -= units
            change.shipped += units
        case StockReleased():
            change.reserved -= units
        case StockReserved():
            change.reserved += units
        case StockReceived():
            change.on_hand += units
            change.received += units
        case StockAdjusted():
            change.on_hand += units
            change.adjusted += units


def _variant(data: ProductListed | StockReceived | StockAdjusted | StockThresholdChanged) -> str:
    """As sales know it: a product without variants is its own only one. It is as long as one of the
    catalogue may be: an index of Postgres takes no more."""
    told: str = data.variant or getattr(data, "sku", None) or data.product_id
    return told[:LONGEST_ID]


_WRITE = """
    INSERT INTO stock_levels AS known (
        shop, product, variant, on_hand, reserved, received, adjusted, shipped,
        threshold, threshold_at, threshold_id
    )
    SELECT
        row->>0, row->>1, row->>2, (row->>3)::bigint, (row->>4)::bigint, (row->>5)::bigint,
        (row->>6)::bigint, (row->>7)::bigint, (row->>8)::int, (row->>9)::timestamptz, row->>10
    FROM {rows} AS row
    ON CONFLICT (shop, product, variant) DO UPDATE SET
        on_hand = known.on_hand + excluded.on_hand,
        reserved = known.reserved + excluded.reserved,
        received = known.received + excluded.received,
        adjusted = known.adjusted + excluded.adjusted,
        shipped = known.shipped + excluded.shipped,
        (threshold, threshold_at, threshold_id) = (
            SELECT told.* FROM (VALUES
                (known.threshold, known.threshold_at, known.threshold_id),
                (excluded.threshold, excluded.threshold_at, excluded.threshold_id)
            ) AS told (threshold, at, id)
            ORDER BY told.at DESC NULLS LAST, told.id COLLATE "C" DESC LIMIT 1
        )
"""
WRITE = Write(_WRITE)


_KEY = ("shop", "product", "variant")
SUMS = ("on_hand", "reserved", "received", "adjusted", "shipped")
_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join((*_KEY, *SUMS))}, threshold, threshold_at, threshold_id "  # noqa: S608
    "FROM stock_levels",
)
STOCK_LEVELS = ReadModel("stock_levels", version=1, fold=fold, write=WRITE, contents=_CONTENTS)


# The queries.

_LEVELS = """
    SELECT product, {variant} AS variant, {sums}, {threshold} AS threshold
    FROM stock_levels
    WHERE shop = $1 AND (cardinality($2::text[]) = 0 OR product = ANY ($2))
    {grouped}
    ORDER BY product COLLATE "C", {variant} COLLATE "C"
    LIMIT $3
"""


async def levels(
    transaction: Transaction,
    shop: str,
    products: Sequence[str] = (),
    *,
    by: str = "variant",
    limit: int | None = None,
) -> Sequence[Row]:
    """What there is of each variant, or of each `product`'s variants together, which has no
    threshold. Sorted by product and variant."""
    whole = by == "product"
    query = _LEVELS.format(
        variant="''::text" if whole else "variant",
        sums=", ".join(f"sum({name}) AS {name}" if whole else name for name in SUMS),
        threshold="NULL::int" if whole else "threshold",
        grouped="GROUP BY product" if whole else "",
    )
    return await transaction.fetch(query, shop, list(products), limit)


_LOW = """
    SELECT product, variant, on_hand, reserved, coalesce(threshold, $3) AS threshold
    FROM stock_levels
    WHERE shop = $1 AND (cardinality($2::text[]) = 0 OR product = ANY ($2))
        AND on_hand - reserved <= coalesce(threshold, $3)
    ORDER BY on_hand - reserved, product COLLATE "C", variant COLLATE "C"
    LIMIT $4
"""


async def low(
    transaction: Transaction,
    shop: str,
    products: Sequence[str] = (),
    *,
    threshold: int | None = None,
    limit: int | None = None,
) -> Sequence[Row]:
    """Variants of which no more are available than their threshold, or this one where they have
    none. The fewest first."""
    return await transaction.fetch(_LOW, shop, list(products), threshold, limit)
