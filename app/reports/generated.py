"""Sales records of a period made of the log, beside those that are kept."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from app.reports.records import shown, sums_shown
from projections import skips
from projections.clock import ShopClock
from projections.read_model import Transaction
from projections.records import Record, Sums, records
from projections.records_anew import TOPIC, Difference, Stretch, differences, sums_of_log
from projections.refold import Source
from streams.batch import Partition

GROUP = "sales"
MOST_DAYS = 1_100  # three years


class Period(NamedTuple):
    """Which days of which shop, both ends included."""

    shop: str
    first: date
    last: date


class Kept(NamedTuple):
    """The records that are kept, and the log that they are made of: of one snapshot."""

    records: Sequence[Record]
    stretch: Stretch

    @property
    def length(self) -> int:
        """How many records of the log that is."""
        return sum(self.stretch.offsets.values())


async def kept(transaction: Transaction, clock: ShopClock, period: Period) -> Kept:
    """What is there of a period."""
    shop, first, last = period
    found = await records(transaction, clock, shop=shop, first=first, last=last)
    rows = await transaction.fetch(
        "SELECT partition, next_offset FROM progress WHERE group_name = $1 AND topic = $2",
        GROUP,
        TOPIC,
    )
    offsets = {Partition(TOPIC, row["partition"]): row["next_offset"] for row in rows}
    return Kept(found, Stretch(offsets, await skips.of_group(transaction, GROUP)))


async def generate(
    source: Source, period: Period, there: Kept, tell: Callable[[int], object] = lambda _: None
) -> Mapping[str, Any]:
    """The records as the log has them, and where those that are kept are otherwise. Raises as
    `sums_of_log` does."""
    log = await sums_of_log(source, there.stretch, *period, tell=tell)
    of_kept = {(one.period, one.currency): one for one in there.records}
    made = [
        of_kept.get(key, Record(*key, Sums(), "open"))._replace(sums=log.get(key, Sums()))
        for key in sorted({*of_kept, *log})
    ]
    offsets = sorted(there.stretch.offsets.items())
    return {
        "shop": period.shop,
        "from": period.first.isoformat(),
        "to": period.last.isoformat(),
        "timezone": source.clock.zone.key,
        "next_offsets": {TOPIC: [offset for _, offset in offsets]},
        "records": [shown(one, "day") for one in made],
        "differences": [_otherwise(one) for one in differences(there.records, log)],
    }


def _otherwise(one: Difference) -> Mapping[str, Any]:
    return {
        "day": one.period.isoformat(),
        "currency": one.currency,
        "kept": one.kept and sums_shown(one.kept),
        "log": one.log and sums_shown(one.log),
    }
