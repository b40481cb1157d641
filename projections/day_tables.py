"""The closer's tables: what it knows of shops and days, and what was told of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from projections.clock import ShopClock
from projections.closing import NOTHING, Change, Figures, Parents, Series, Shop, Told, Values
from projections.days import DENSE, LEVELS
from projections.read_model import Row, Transaction, as_json
from streams import money
from streams.exclusive import Connection


class Note(NamedTuple):
    """A day that has changed; `change` names the transaction that did it last, `revision` is None
    while the day is open. Of a `former` one less was told than would be today."""

    day: date
    change: int
    when: Change
    revision: int | None
    former: bool


async def shops(transaction: Transaction) -> dict[str, Shop]:
    rows = await transaction.fetch("SELECT shop, next_day, last_day, live_from FROM day_shops")
    return {shop: Shop(*rest) for shop, *rest in rows}


async def notes(transaction: Transaction) -> dict[str, list[Note]]:
    """The notes of changed days, by shop, in order of days."""
    rows = await transaction.fetch(
        """
        SELECT shop, day, change, first_at, last_at, revision, every_level IS FALSE
        FROM day_changes LEFT JOIN days USING (shop, day)
        ORDER BY shop, day
        """
    )
    notes: dict[str, list[Note]] = defaultdict(list)
    for shop, day, change, first_at, last_at, revision, former in rows:
        notes[shop].append(Note(day, change, Change(first_at, last_at), revision, former))
    return notes


async def take_away(connection: Connection, seen: Sequence[tuple[str, Note]]) -> None:
    """Takes away the notes that were heeded. One that a fold holds at this moment is left: waiting
    for several would be a way into a deadlock, and it is renewed anyhow."""
    if seen:
        await connection.execute(
            """
            DELETE FROM day_changes WHERE (shop, day) IN (
                SELECT shop, day
                FROM day_changes JOIN unnest($1::text[], $2::date[], $3::bigint[])
                    AS seen (shop, day, change) USING (shop, day, change)
                FOR UPDATE OF day_changes SKIP LOCKED
            )
            """,
            [shop for shop, _ in seen],
            [note.day for _, note in seen],
            [note.change for _, note in seen],
        )


async def closed(transaction: Transaction, shop: str, first: date, until: date) -> set[date]:
    rows = await transaction.fetch(
        "SELECT day FROM days WHERE shop = $1 AND day >= $2 AND day < $3", shop, first, until
    )
    return {row["day"] for row in rows}


async def first_days(transaction: Transaction, shop: str) -> dict[Series, date]:
    """When the series began of which zeros are told."""
    rows = await transaction.fetch(
        "SELECT level, key, currency, first_day FROM day_series "
        "WHERE shop = $1 AND level = ANY ($2)",
        shop,
        list(DENSE),
    )
    return {Series(level, key, currency): first_day for level, key, currency, first_day in rows}


async def told(
    transaction: Transaction, shop: str, days: Sequence[date]
) -> dict[date, dict[Series, Values]]:
    """What was told of these days, but zeros."""
    return by_day(
        await transaction.fetch(
            """
            SELECT day, level, key, currency, gross, discounts, refunds, orders, units
            FROM day_figures WHERE shop = $1 AND level = ANY ($2) AND day = ANY ($3)
            """,
            shop,
            list(LEVELS),
            list(days),
        )
    )


def by_day(rows: Iterable[Row]) -> dict[date, dict[Series, Values]]:
    """Rows of a day, or of a month by its first, with a series and its values."""
    found: dict[date, dict[Series, Values]] = defaultdict(dict)
    for day, level, key, currency, gross, discounts, refunds, orders, units in rows:
        found[day][Series(level, key, currency)] = Values(
            money.from_decimal(gross),
            money.from_decimal(discounts),
            money.from_decimal(refunds),
            int(orders),
            int(units),
        )
    return found


async def sales(transaction: Transaction, shop: str, day: date) -> dict[Series, Values]:
    """What `sales_periods` has of a day, but zeros."""
    rows = await transaction.fetch(_SALES, shop, list(LEVELS), day)
    return by_day(rows).get(day, {})


_SALES = """
    SELECT period, dimension, key, currency, gross, discounts, refunds, orders, units
    FROM sales_periods
    WHERE shop = $1 AND grain = 'day' AND dimension = ANY ($2) AND period = $3
        AND (gross, discounts, refunds, orders, units) <> (0, 0, 0, 0, 0)
"""


async def parents(
    transaction: Transaction, clock: ShopClock, shop: str, first: date, until: date
) -> Parents:
    """What the products and variants lie in that were sold on the days from first to before
    `until`: as the latest of these sales says; of what was only given back, as that says."""
    rows = await transaction.fetch(_PARENTS, shop, clock.midnight(first), clock.midnight(until))
    return {(level, key): parent for level, key, parent in rows}


_PARENTS = """
    SELECT DISTINCT ON (level, key) level, key, parent
    FROM (
        SELECT hour, category, product, variant, (sum(gross), sum(units)) <> (0, 0) AS sold
        FROM sales_lines WHERE shop = $1 AND hour >= $2 AND hour < $3
        GROUP BY hour, category, product, variant
    ) AS lines,
    LATERAL (
        VALUES ('product', product, category),
            ('variant', coalesce(nullif(variant, ''), product), product)
    ) AS lying (level, key, parent)
    ORDER BY level, key, sold DESC, hour DESC, parent DESC
"""


async def series_count(transaction: Transaction, shop: str) -> int:
    """How many series a day may be told of, about."""
    count: int = await transaction.fetchval("SELECT count(*) FROM day_series WHERE shop = $1", shop)
    return count


# Days that were told when there were fewer levels.

_FORMER = {"total", "category"}
_CAUGHT_UP = 800  # days: as many as forecasters keep


async def note_former(connection: Connection) -> int:
    """Notes closed days of which less was told than would be today, as if they had changed: the
    latest of each shop. How many there are."""
    done = await connection.execute(
        """
        INSERT INTO day_changes AS known (shop, day, first_at, last_at, change)
        SELECT shop, day, now(), now(), pg_current_xact_id()::text::bigint
        FROM days JOIN (SELECT shop, max(day) AS last FROM days GROUP BY shop) AS of USING (shop)
        WHERE NOT every_level AND day > last - $1::int
        ORDER BY shop, day
        ON CONFLICT (shop, day) DO UPDATE SET last_at = excluded.last_at, change = excluded.change
        """,
        _CAUGHT_UP,
    )
    return int(done.split()[-1])


async def looked_at(transaction: Transaction, shop: str, days: Sequence[date]) -> None:
    """Days have been held against every level there is."""
    await transaction.execute(
        "UPDATE days SET every_level = true WHERE shop = $1 AND day = ANY ($2) AND NOT every_level",
        shop,
        list(days),
    )


def _of_every_level(figures: Figures) -> bool:
    """Whether what the log tells of a day is of this version: then it names a country, too."""
    return not figures or not {series.level for series in figures} <= _FORMER


async def save_shop(transaction: Transaction, name: str, shop: Shop) -> None:
    await transaction.execute(
        """
        INSERT INTO day_shops VALUES ($1, $2, $3, $4)
        ON CONFLICT (shop) DO UPDATE SET next_day = excluded.next_day,
            last_day = excluded.last_day, live_from = excluded.live_from
        """,
        name,
        shop.next_day,
        shop.last_day,
        shop.live_from,
    )


async def save_told(transaction: Transaction, shop: str, told: Mapping[date, Told]) -> None:
    """Keeps what is told of days: their revisions, when their series began, values but zeros."""
    await transaction.executemany(
        """
        INSERT INTO days AS known VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (shop, day) DO UPDATE SET
            revision = $3, told_at = $4, every_level = known.every_level OR $5
        """,
        [
            (shop, day, revision, now, _of_every_level(figures))
            for day, (revision, now, figures) in told.items()
        ],
    )
    first_days: dict[Series, date] = {}
    for day in sorted(told, reverse=True):
        first_days.update(dict.fromkeys(told[day].figures, day))
    await transaction.execute(_SAVE_SERIES, shop, as_json([(*s, d) for s, d in first_days.items()]))
    changed = [
        (series.level, day, series.key, series.currency, *map(str, values))
        for day, (revision, _, figures) in told.items()
        for series, values in figures.items()
        if revision or values != NOTHING
    ]
    await transaction.execute(_SAVE_FIGURES, shop, as_json(changed))


_SAVE_SERIES = """
    INSERT INTO day_series AS known
    SELECT $1, level, key, currency, first_day
    FROM jsonb_array_elements($2::jsonb) AS row,
        LATERAL (SELECT row->>0, row->>1, row->>2, (row->>3)::date)
            AS told (level, key, currency, first_day)
    WHERE NOT EXISTS (  -- most are known: to try and not write them would lock them all
        SELECT FROM day_series AS begun
        WHERE (shop, begun.level, begun.key, begun.currency)
                = ($1, told.level, told.key, told.currency)
            AND begun.first_day <= told.first_day
    )
    ON CONFLICT (shop, level, key, currency) DO UPDATE SET first_day = excluded.first_day
    WHERE excluded.first_day < known.first_day
"""
_SAVE_FIGURES = """
    INSERT INTO day_figures
    SELECT $1, row->>0, (row->>1)::date, row->>2, row->>3, (row->>4)::numeric * 0.0001,
        (row->>5)::numeric * 0.0001, (row->>6)::numeric * 0.0001, (row->>7)::bigint,
        (row->>8)::bigint
    FROM jsonb_array_elements($2::jsonb) AS row
    ON CONFLICT (shop, level, day, key, currency) DO UPDATE SET
        gross = excluded.gross, discounts = excluded.discounts, refunds = excluded.refunds,
        orders = excluded.orders, units = excluded.units
"""
