"""`cart_activity`: when something last happened to each cart, and what became of it.

Carts of the shop's own till are opened, abandoned, revived, merged and checked out by its word. Of
those that only a storefront tells of, no more is known than what was added and removed, and when.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)
from projections.visitor_links import Act

_CHANGES = frozenset(
    {"ProductAdded", "ProductRemoved", "CartViewed", "CartOpened", "CartRepriced", "CartRevived"}
    | {"CouponEntered", "CouponApplied", "CouponRemoved", "CouponDenied"}
)


class _Cart(Struct):
    """What a batch tells of a cart. Each field is a greatest or a least: in any order the same."""

    visitor: str
    source: str = ""
    country: str = ""
    bot: bool = False
    commanded: bool = False
    changed_at: datetime | None = None
    abandoned_at: datetime | None = None
    revived_at: datetime | None = None
    merged_at: datetime | None = None
    ordered_at: datetime | None = None


_WHEN: Mapping[str, str] = {
    **dict.fromkeys(_CHANGES, "changed_at"),
    "CartAbandoned": "abandoned_at",
    "CartMerged": "merged_at",
    "CartCheckedOut": "ordered_at",
    "OrderPlaced": "ordered_at",
    "OrderCompleted": "ordered_at",
}


def fold(acts: Sequence[Act], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What the events tell of each cart, sorted by key. An order counts for the cart it names."""
    found: dict[tuple[str, str], _Cart] = {}
    for act in acts:
        when = _WHEN.get(act.type)
        cart_id = getattr(act.data, "cart_id", None)
        if when is None or cart_id is None:
            continue
        key = (act.shop, cart_id)
        cart = found.get(key)
        if cart is None:
            cart = found[key] = _Cart(act.ranked)
        _take(cart, act, when)
        if act.type == "CartRevived":
            _take(cart, act, "revived_at")
    return Folded(
        [
            (
                *key,
                cart.visitor,
                cart.source,
                cart.country,
                cart.bot,
                cart.commanded,
                *map(_text, (cart.changed_at, cart.abandoned_at, cart.revived_at)),
                *map(_text, (cart.merged_at, cart.ordered_at)),
            )
            for key, cart in sorted(found.items())
        ]
    )


def _take(cart: _Cart, act: Act, when: str) -> None:
    known = getattr(cart, when)
    if known is None or act.at > known:
        setattr(cart, when, act.at)
    cart.visitor = min(cart.visitor, act.ranked)
    cart.source = max(cart.source, act.source)
    cart.country = max(cart.country, act.country)
    cart.bot = cart.bot or act.bot
    cart.commanded = cart.commanded or act.commanded


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


# It moves on what is known of carts; greatest and least leave out what is not told.
_WRITE = """
    INSERT INTO cart_activity AS known (
        shop, cart_id, ranked, source, country, bot, commanded,
        changed_at, abandoned_at, revived_at, merged_at, ordered_at
    )
    SELECT
        row->>0, row->>1, row->>2, row->>3, row->>4, (row->>5)::boolean, (row->>6)::boolean,
        (row->>7)::timestamptz, (row->>8)::timestamptz, (row->>9)::timestamptz,
        (row->>10)::timestamptz, (row->>11)::timestamptz
    FROM {rows} AS row
    ON CONFLICT (shop, cart_id) DO UPDATE SET
        ranked = least(known.ranked, excluded.ranked),
        source = greatest(known.source, excluded.source),
        country = greatest(known.country, excluded.country),
        bot = known.bot OR excluded.bot,
        commanded = known.commanded OR excluded.commanded,
        changed_at = greatest(known.changed_at, excluded.changed_at),
        abandoned_at = greatest(known.abandoned_at, excluded.abandoned_at),
        revived_at = greatest(known.revived_at, excluded.revived_at),
        merged_at = greatest(known.merged_at, excluded.merged_at),
        ordered_at = greatest(known.ordered_at, excluded.ordered_at)
"""


WRITE = Write(_WRITE)
CART_ACTIVITY = ReadModel(
    "cart_activity",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        ("shop", "cart_id"),
        "SELECT shop, cart_id, ranked, source, country, bot, commanded, changed_at, abandoned_at, "
        "revived_at, merged_at, ordered_at FROM cart_activity",
    ),
    renamed=(
        """
        UPDATE cart_activity SET ranked = rank || 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym),
            unnest(ARRAY['0', '1']) AS rank
        WHERE shop = $1 AND ranked = rank || 'v:' || name
        """,
    ),
)
