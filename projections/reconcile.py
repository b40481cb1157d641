"""Postgres came back older than the log: what must be set right before anyone reads on.

The folds need nothing. Offsets are as old as the figures, so the log is read again from there, and
what was in it already counts as it did. But three things do not follow the offsets:

Redis is ahead. A figure's revision counts up in Postgres, where it now begins anew below what Redis
holds: every read model gets a new generation, whose figures win over any of the one before. It is
made of the time, for a rebuild since then has counted the one before up where nobody can see it.

Days and months were told. The log has DayClosed and DayCorrected of which this Postgres knows
nothing; told anew they would bear the same ids and say it differently. What the log tells is known
again first.

Notes of changed days are as old as the backup and seem to have rested since, while the sales that
they speak of are still to be read again. Of closed days they begin to rest now.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from projections import closing_months, month_tables
from projections import day_tables as tables
from projections.closing import Shop, recall
from projections.read_model import Transaction
from streams.events import Event


class Reconciled(NamedTuple):
    """How many days the log had told beyond what Postgres knew."""

    days: int


async def reconcile(transaction: Transaction, told_in_the_log: Iterable[Event]) -> Reconciled:
    """Sets right what does not follow the offsets, in the caller's transaction."""
    await transaction.execute(
        "UPDATE read_models SET generation = 1 + greatest("
        "generation, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    )
    events = list(told_in_the_log)
    days = await _know_what_was_told(transaction, events)
    await _know_the_months(transaction, events)
    await transaction.execute(
        """
        UPDATE day_changes AS noted SET change = pg_current_xact_id()::text::bigint,
            last_at = clock_timestamp(),
            first_at = CASE
                WHEN EXISTS (SELECT FROM days WHERE (shop, day) = (noted.shop, noted.day))
                THEN clock_timestamp() ELSE first_at
            END
        """
    )
    return Reconciled(days)


async def _know_what_was_told(transaction: Transaction, events: Iterable[Event]) -> int:
    rows = await transaction.fetch("SELECT shop, day, revision FROM days")
    known = {(row["shop"], row["day"]): row["revision"] for row in rows}
    news: dict[str, list[date]] = defaultdict(list)
    for (shop, day), told in recall(events):
        if told.revision > known.get((shop, day), -1):
            await tables.save_told(transaction, shop, {day: told})
            news[shop].append(day)
    shops = await tables.shops(transaction)
    for name, days in news.items():
        first, last = min(days), max(days)
        known_shop = shops.get(name, Shop(first, last))
        await tables.save_shop(
            transaction,
            name,
            Shop(known_shop.next_day, max(last, known_shop.last_day), known_shop.live_from),
        )
    return sum(map(len, news.values()))


async def _know_the_months(transaction: Transaction, events: Iterable[Event]) -> None:
    known = await month_tables.revisions(transaction)
    for (shop, month), told in closing_months.recall(events):
        if told.revision > known.get((shop, month), -1):
            await month_tables.save(transaction, shop, month, told)
