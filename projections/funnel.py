"""`funnel`: how often each visitor has viewed, added, gone to checkout with and ordered a product.

A row for each visitor, shop day, product and way in; with the product `''`, for the event as a
whole. Events are sums of these rows, and visitors, who count once, are the rows' visitors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)
from projections.visitor_links import Act

STEPS = ("viewed", "added", "checkout", "ordered")
STEP_OF: Mapping[str, int] = {
    "ProductViewed": 0,
    "ProductAdded": 1,
    "WishlistProductAddedToCart": 1,
    "CheckoutStarted": 2,
    "OrderPlaced": 2,  # whoever orders by command was at the checkout, told or not
    "OrderCompleted": 3,
}
WHOLE = ""


def fold(acts: Sequence[Act], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key. An event counts once for each of its products."""
    hour_of, day_of = setting.clock.hour, setting.clock.day
    found: dict[tuple[Any, ...], list[int]] = {}
    for act in acts:
        step = STEP_OF.get(act.type)
        if step is None:
            continue
        day = day_of(hour_of(act.at))
        for product in (WHOLE, *products_of(act)):
            key = (act.shop, day, product, act.source, act.country, act.bot, act.visitor)
            row = found.get(key)
            if row is None:
                row = found[key] = [0, 0, 0, 0]
            row[step] += 1
    return Folded(
        [(shop, day.isoformat(), *rest, *row) for (shop, day, *rest), row in sorted(found.items())]
    )


def products_of(act: Act) -> set[str]:
    """The products that an event is about."""
    data: Any = act.data
    lines = getattr(data, "products", None)
    return {data.product_id} if lines is None else {line.product_id for line in lines}


_WRITE = """
    INSERT INTO funnel AS known (
        shop, day, product, source, country, bot, visitor, viewed, added, checkout, ordered
    )
    SELECT
        row->>0, (row->>1)::date, row->>2, row->>3, row->>4, (row->>5)::boolean, row->>6,
        (row->>7)::int, (row->>8)::int, (row->>9)::int, (row->>10)::int
    FROM {rows} AS row
    ON CONFLICT (shop, day, product, source, country, bot, visitor) DO UPDATE SET
        viewed = known.viewed + excluded.viewed, added = known.added + excluded.added,
        checkout = known.checkout + excluded.checkout, ordered = known.ordered + excluded.ordered
"""


WRITE = Write(_WRITE)
_KEY = ("shop", "day", "product", "source", "country", "bot", "visitor")
FUNNEL = ReadModel(
    "funnel",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join((*_KEY, *STEPS))} FROM funnel",  # noqa: S608
        of_day="told.day = asked.day",
    ),
    renamed=(
        """
        UPDATE funnel SET visitor = 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND visitor = 'v:' || name
        """,
    ),
)
