"""`rating_days`: how many reviews stand, by stars, product and day; fed by changes of `ratings`.

A row says what changed on a day. What stood at its end is the sum of all rows up to it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from projections.measured import period_of_day
from projections.ratings import Rated
from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Row,
    Setting,
    Transaction,
    Write,
)

STARS = (1, 2, 3, 4, 5)


def fold(changes: Sequence[Rated], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key. A row that comes to nothing is left out."""
    rows: dict[tuple[str, str, date, int], list[int]] = defaultdict(lambda: [0, 0])
    for one in changes:
        day = setting.clock.day(setting.clock.hour(one.at))
        row = rows[one.shop, one.product, day, one.stars]
        row[0] += one.standing
        row[1] += one.written
    return Folded(
        [
            (shop, product, day.isoformat(), stars, *row)
            for (shop, product, day, stars), row in sorted(rows.items())
            if any(row)
        ]
    )


_WRITE = """
    INSERT INTO rating_days AS known (shop, product, day, stars, standing, written)
    SELECT
        row->>0, row->>1, (row->>2)::date, (row->>3)::smallint,
        (row->>4)::bigint, (row->>5)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, product, day, stars) DO UPDATE SET
        standing = known.standing + excluded.standing, written = known.written + excluded.written
"""
WRITE = Write(_WRITE)


_CONTENTS = Contents(
    ("shop", "product", "day", "stars"),
    "SELECT shop, product, day, stars, standing, written FROM rating_days "
    "WHERE (standing, written) <> (0, 0)",
    of_day="told.day = asked.day",
)
RATING_DAYS = ReadModel("rating_days", version=1, fold=fold, write=WRITE, contents=_CONTENTS)


# The query.

_STOOD = """
    SELECT * FROM (
        SELECT
            period, product, {stood}, written
        FROM (
            SELECT
                {period} AS period, {product} AS product, {changed},
                coalesce(sum(written) FILTER (WHERE day >= $2), 0) AS written
            FROM rating_days
            WHERE shop = $1 AND day <= $3 AND (cardinality($4::text[]) = 0 OR product = ANY ($4))
            GROUP BY 1, 2
        ) AS changed
        WHERE ({tests}) <> ({zeros})
        WINDOW so_far AS (PARTITION BY product ORDER BY period)
    ) AS stood
    WHERE period IS DISTINCT FROM '-infinity'
    ORDER BY period, product COLLATE "C"
    LIMIT $5
"""


async def ratings(
    transaction: Transaction,
    shop: str,
    *,
    first: date | None = None,
    last: date | None = None,
    grain: str = "total",
    by_product: bool = False,
    products: Sequence[str] = (),
    limit: int | None = None,
) -> Sequence[Row]:
    """How many reviews of so many stars (`stars_1` …) stood at the end of each period in which that
    changed or one was written, and how many were `written` in it. Of the total there is one row.
    Sorted by period, by its first day, and product."""
    query = _STOOD.format(
        # All that was before the first day is one period, which is not shown.
        period="NULL::date"
        if grain == "total"
        else f"CASE WHEN day < $2 THEN '-infinity' ELSE {period_of_day(grain, 'day')} END",
        product="product" if by_product else "''::text",
        changed=", ".join(
            f"coalesce(sum(standing) FILTER (WHERE stars = {n}), 0) AS changed_{n}" for n in STARS
        ),
        tests=", ".join([*(f"changed_{n}" for n in STARS), "written"]),
        zeros=", ".join("0" for _ in (*STARS, "written")),
        stood=", ".join(f"sum(changed_{n}) OVER so_far AS stars_{n}" for n in STARS),
    )
    return await transaction.fetch(
        query, shop, first or date.min, last or date.max, list(products), limit
    )
