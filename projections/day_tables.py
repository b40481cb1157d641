"""The closer's tables: what it knows of shops and days, and what was told of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from projections.clock import ShopClock
from projections.closing import NOTHING, Change, Series, Shop, Told, Values
from projections.days import LEVELS
from projections.read_model import Row, Transaction, as_json
from streams import money
from streams.exclusive import Connection


class Note(NamedTuple):
    """A day that has changed; `change` names the transaction that did it last, `revision` is None
    while the day is open."""

    day: date
    change: int
    when: Change
    revision: int | None


async def shops(transaction: Transaction) -> dict[str, Shop]:
    rows = await transaction.fetch("SELECT shop, next_day, last_day, live_from FROM day_shops")
    return {shop: Shop(*rest) for shop, *rest in rows}


async def notes(transaction: Transaction) -> dict[str, list[Note]]:
    """The notes of changed days, by shop, in order of days."""
    rows = await transaction.fetch(
        """
        SELECT shop, day, change, first_at, last_at, revision
        FROM day_changes LEFT JOIN days USING (shop, day)
        ORDER BY shop, day
        """
    )
    notes: dict[str, list[Note]] = defaultdict(list)
    for shop, day, change, first_at, last_at, revision in rows:
        notes[shop].append(Note(day, change, Change(first_at, last_at), revision))
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
    rows = await transaction.fetch(
        "SELECT level, key, currency, first_day FROM day_series WHERE shop = $1", shop
    )
    return {Series(level, key, currency): first_day for level, key, currency, first_day in rows}


async def told(
    transaction: Transaction, shop: str, days: Sequence[date]
) -> dict[date, dict[Series, Values]]:
    """What was told of these days, but zeros."""
    return _by_day(
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


def _by_day(rows: Iterable[Row]) -> dict[date, dict[Series, Values]]:
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


async def sales(
    transaction: Transaction, clock: ShopClock, shop: str, days: Sequence[date]
) -> dict[date, dict[Series, Values]]:
    """What `revenue` has of these days, but zeros."""
    rows = await transaction.fetch(
        _SALES,
        shop,
        list(LEVELS),
        list(days),
        [clock.midnight(day) for day in days],
        [clock.midnight(day + timedelta(days=1)) for day in days],
    )
    return _by_day(rows)


_SALES = """
    SELECT wanted.day, dimension, key, currency, sum(gross), sum(discounts), sum(refunds),
        sum(orders), sum(units)
    FROM unnest($3::date[], $4::timestamptz[], $5::timestamptz[]) AS wanted (day, starts, ends),
    LATERAL (
        SELECT * FROM revenue
        WHERE shop = $1 AND dimension = ANY ($2) AND hour >= starts AND hour < ends
    ) AS sales
    GROUP BY wanted.day, dimension, key, currency
    HAVING (sum(gross), sum(discounts), sum(refunds), sum(orders), sum(units)) <> (0, 0, 0, 0, 0)
"""


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
        INSERT INTO days VALUES ($1, $2, $3, $4)
        ON CONFLICT (shop, day) DO UPDATE SET revision = $3, told_at = $4
        """,
        [(shop, day, revision, now) for day, (revision, now, _) in told.items()],
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
    SELECT $1, row->>0, row->>1, row->>2, (row->>3)::date
    FROM jsonb_array_elements($2::jsonb) AS row
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
