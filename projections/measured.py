"""What a metric is asked with, and what a read model answers: the words that both share."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol, TypeAlias

from projections.clock import ShopClock
from projections.read_model import Transaction

Unit: TypeAlias = Literal["money", "count", "share", "number"]
Grain: TypeAlias = Literal["total", "hour", "day", "week", "month", "quarter", "year"]
GRAINS: Sequence[Grain] = ("total", "hour", "day", "week", "month", "quarter", "year")
_LONGER = ("week", "month", "quarter", "year")  # than a day


def period_of_day(grain: str, day: str) -> str:
    """The first day of the period that a day lies in, in SQL; NULL where there is but one."""
    if grain in ("total", "day"):
        return "NULL::date" if grain == "total" else day
    if grain not in _LONGER:
        raise ValueError(f"no days are in {grain!r}")
    return f"date_trunc('{grain}', {day}::timestamp)::date"


def period_of_hour(grain: str, hour: str, zone: str) -> str:
    """The same for an hour of a clock, in a zone; an hour stays the instant that it begins with."""
    if grain in ("total", "hour"):
        return "NULL::date" if grain == "total" else hour
    return period_of_day(grain, f"({hour} AT TIME ZONE {zone})::date")


class Ask(NamedTuple):
    """A question about the shop's days first..last, both included; None is as far as there is.

    `by` are up to two dimensions to tell rows apart by, `only` the values that count of some.
    Amounts of different currencies are never added up: `currency` asks for one alone, `into`
    converts each day's amounts at that day's rate. No more than `most` rows are read, and one by
    which whoever asks sees that there are more.
    """

    shop: str
    first: date | None = None
    last: date | None = None
    grain: Grain = "total"
    by: tuple[str, ...] = ()
    only: Mapping[str, Sequence[str]] = {}
    currency: str | None = None
    into: str | None = None
    most: int | None = None


class Measured(NamedTuple):
    """One row of an answer. `period` is the shop's day it begins with (an instant, by the hour);
    `key` has a value per dimension of `by`, empty where it is unknown. Money is exact."""

    period: date | datetime | None
    key: tuple[str, ...]
    currency: str
    values: Mapping[str, Decimal | int]


class Source(Protocol):
    """Read models that answer for some measures. `measures` says what each counts in."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def measures(self) -> Mapping[str, Unit]: ...

    @property
    def dimensions(self) -> Sequence[str]: ...

    @property
    def grains(self) -> Sequence[Grain]: ...

    async def rows(
        self, transaction: Transaction, clock: ShopClock, ask: Ask, measures: Sequence[str]
    ) -> list[Measured]:
        """These measures, by period, key and currency, sorted; rows of zeros alone are left out."""
