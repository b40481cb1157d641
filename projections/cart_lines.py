"""`cart_lines`: how many units of each variant are in a cart, at the price that was last shown.

Units are what was added less what was removed. A storefront that tells of a removal too many leaves
nothing: whoever reads takes no units for less than none.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)
from projections.visitor_links import Act
from streams import money
from streams.events import LONGEST_ID, CartRepriced, ProductAdded, ProductRemoved

# A price, and what says which of several is the last one: its time, then its event's id.
Priced = tuple[datetime, str, int]
_Told = tuple[str, str, int, str, int | None]  # product, variant, units, currency, price


def fold(acts: Sequence[Act], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What to add to each line, and the last price told of it, sorted by key."""
    found: dict[tuple[str, str, str, str], tuple[int, str, Priced | None]] = {}
    for act in acts:
        if not isinstance(act.data, ProductAdded | CartRepriced):
            continue
        for product, variant, units, currency, price in _told(act.data):
            key = (act.shop, act.data.cart_id, product, variant)
            before, known_currency, known_price = found.get(key, (0, "", None))
            priced = known_price
            if price is not None:
                told = (act.at, act.id, price)
                priced = max(told, priced) if priced else told
            found[key] = (before + units, max(known_currency, currency), priced)
    return Folded(
        [
            (*key, units, currency, *_text(priced))
            for key, (units, currency, priced) in sorted(found.items())
        ]
    )


def _text(priced: Priced | None) -> tuple[str | None, str | None, str | None]:
    if priced is None:
        return None, None, None
    at, by, price = priced
    return at.isoformat(), by, money.shown(price)


def _told(data: ProductAdded | CartRepriced) -> Iterator[_Told]:
    if isinstance(data, CartRepriced):
        for line in data.products:
            yield line.product_id, _variant(line.variant), 0, "", line.price
        return
    units = -data.quantity if isinstance(data, ProductRemoved) else data.quantity
    price = None if isinstance(data, ProductRemoved) else data.price
    yield data.product_id, _variant(data.variant), units, data.currency or "", price


def _variant(told: str | None) -> str:
    """As long as a variant of the catalogue may be: an index of Postgres takes no more."""
    return (told or "")[:LONGEST_ID]


# Units are added; of two prices the later one stays.
_WRITE = """
    INSERT INTO cart_lines AS known (
        shop, cart_id, product, variant, units, currency, priced_at, priced_by, price
    )
    SELECT
        row->>0, row->>1, row->>2, row->>3, (row->>4)::bigint, row->>5,
        (row->>6)::timestamptz, row->>7, (row->>8)::numeric
    FROM {rows} AS row
    ON CONFLICT (shop, cart_id, product, variant) DO UPDATE SET
        units = known.units + excluded.units,
        currency = greatest(known.currency, excluded.currency),
        (priced_at, priced_by, price) = (
            SELECT last.priced_at, last.priced_by, last.price
            FROM (VALUES
                (known.priced_at, known.priced_by, known.price),
                (excluded.priced_at, excluded.priced_by, excluded.price)
            ) AS last (priced_at, priced_by, price)
            ORDER BY last.priced_at DESC NULLS LAST, last.priced_by DESC, last.price DESC
            LIMIT 1
        )
"""


WRITE = Write(_WRITE)
_KEY = ("shop", "cart_id", "product", "variant")
CART_LINES = ReadModel(
    "cart_lines",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join(_KEY)}, units, currency, priced_at, priced_by, price "  # noqa: S608
        "FROM cart_lines",
    ),
)
