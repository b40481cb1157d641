"""`visitor_hours`: who was in the shop in which hour, from where, and what they did there last.

A row for each visitor, hour and way in. From these come unique visitors over any range, who is
there now, and whether somebody has ordered since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from projections.clock import instant
from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)
from projections.visitor_links import Act

_CHECKOUT = frozenset({"CheckoutStarted", "OrderPlaced"})
_ORDERED = frozenset({"OrderPlaced", "OrderCompleted"})
_OF_ORDERS = frozenset(
    {"CheckoutStarted", "CheckoutStepViewed", "CheckoutStepCompleted", "PaymentInfoEntered"}
) | (_CHECKOUT | _ORDERED)
_OF_CARTS = frozenset(
    {"ProductAdded", "ProductRemoved", "CartViewed", "CouponEntered", "CouponApplied"}
    | {"CouponRemoved", "CouponDenied", "CartOpened", "CartRepriced", "CartRevived", "CartMerged"}
    | {"CartCheckedOut"}
)
_OF_LOOKING = frozenset(
    {"ProductsSearched", "ProductListViewed", "ProductListFiltered", "PromotionViewed"}
    | {"PromotionClicked", "ProductClicked", "ProductViewed", "ProductAddedToWishlist"}
    | {"ProductRemovedFromWishlist", "WishlistProductAddedToCart", "ProductShared", "CartShared"}
)
PRESENT = _OF_LOOKING | _OF_CARTS | _OF_ORDERS
"""What only who is in the shop does, unlike that a cart is abandoned, or an order shipped."""


def fold(acts: Sequence[Act], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """When each visitor was last seen, began a checkout and ordered, by hour and way in."""
    hour_of = setting.clock.hour
    found: dict[tuple[Any, ...], list[datetime | None]] = {}
    for act in acts:
        if act.type not in PRESENT:
            continue
        key = (act.shop, hour_of(act.at), act.source, act.country, act.bot, act.visitor)
        row = found.setdefault(key, [None, None, None])
        row[0] = _later(row[0], act.at)
        if act.type in _CHECKOUT:
            row[1] = _later(row[1], act.at)
        if act.type in _ORDERED:
            row[2] = _later(row[2], act.at)
    return Folded(
        [
            (shop, instant(hour).isoformat(), *way, *map(_text, row))
            for (shop, hour, *way), row in sorted(found.items())
        ]
    )


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None or at > known else known


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


# It moves the times on; greatest leaves out what is not told.
_WRITE = """
    INSERT INTO visitor_hours AS known (
        shop, hour, source, country, bot, visitor, seen_at, checkout_at, ordered_at
    )
    SELECT
        row->>0, (row->>1)::timestamptz, row->>2, row->>3, (row->>4)::boolean, row->>5,
        (row->>6)::timestamptz, (row->>7)::timestamptz, (row->>8)::timestamptz
    FROM {rows} AS row
    ON CONFLICT (shop, hour, source, country, bot, visitor) DO UPDATE SET
        seen_at = greatest(known.seen_at, excluded.seen_at),
        checkout_at = greatest(known.checkout_at, excluded.checkout_at),
        ordered_at = greatest(known.ordered_at, excluded.ordered_at)
"""


WRITE = Write(_WRITE)
_KEY = ("shop", "hour", "source", "country", "bot", "visitor")
VISITOR_HOURS = ReadModel(
    "visitor_hours",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join(_KEY)}, seen_at, checkout_at, ordered_at FROM visitor_hours",  # noqa: S608
        of_day="hour >= starts AND hour < ends",
    ),
    renamed=(
        """
        UPDATE visitor_hours SET visitor = 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND visitor = 'v:' || name
        """,
    ),
)
