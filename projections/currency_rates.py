"""`currency_rates`: what was said last of what a currency is worth on a day.

The rates are on `days`, which is one partition: so of two that were said of a day, which one was
last is the same for every reader.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Transaction,
    Write,
)
from streams.codec import Fact
from streams.events import CurrencyRatesChanged


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What was said last of each day, with where it stands in the log, sorted by key."""
    said: dict[tuple[str, str, str, str], tuple[int, str | None]] = {}
    for fact in facts:
        data = fact.data
        if isinstance(data, CurrencyRatesChanged):
            for one in data.rates:
                key = (fact.event.shop, data.currency, data.into, one.day)
                if _is_day(one.day) and said.get(key, (-1, None))[0] < fact.offset:
                    said[key] = fact.offset, one.rate
    return Folded([(*key, rate, offset) for key, (offset, rate) in sorted(said.items())])


def _is_day(text: str) -> bool:
    """Whether a calendar has it."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


# What was said last is kept.
_WRITE = """
    INSERT INTO currency_rates AS known (shop, currency, target, day, rate, record_offset)
    SELECT row->>0, row->>1, row->>2, (row->>3)::date, (row->>4)::numeric, (row->>5)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, target, currency, day) DO UPDATE
    SET rate = excluded.rate, record_offset = excluded.record_offset
    WHERE known.record_offset < excluded.record_offset
"""
WRITE = Write(_WRITE)
_KEY = ("shop", "currency", "target", "day")
_CONTENTS = Contents(
    _KEY, "SELECT shop, currency, target, day, rate, record_offset FROM currency_rates"
)
CURRENCY_RATES = ReadModel("currency_rates", version=1, fold=fold, write=WRITE, contents=_CONTENTS)


# The query.


class Rate(NamedTuple):
    """1 unit of `currency` is `rate` of `into`, from this day on."""

    currency: str
    into: str
    day: date
    rate: Decimal


async def rates(
    transaction: Transaction,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    currency: str | None = None,
    into: str | None = None,
) -> list[Rate]:
    """The rates that were said of first..last (both included), by pair and day."""
    rows = await transaction.fetch(
        _QUERY, shop, currency, into, first or date.min, last or date.max
    )
    return [Rate(*row) for row in rows]


_QUERY = """
    SELECT currency, target, day, rate FROM currency_rates
    WHERE shop = $1 AND rate IS NOT NULL
        AND ($2::text IS NULL OR currency = $2) AND ($3::text IS NULL OR target = $3)
        AND day BETWEEN $4 AND $5
    ORDER BY currency, target, day
"""
