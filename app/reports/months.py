"""The shop's closed months, as they were told."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import (
    AskedRange,
    Column,
    CurrencyCode,
    Key,
    Moment,
    Report,
    TooManyRows,
)
from projections import month_tables
from projections.month_tables import Month
from projections.read_model import Transaction
from streams import money
from streams.events import SalesLevel


class AskedMonths(AskedRange):
    """Which months: those that have a day of the range."""

    level: SalesLevel = "total"
    key: Annotated[list[Key], Field(description="only these keys of `level`", default_factory=list)]
    currency: Annotated[CurrencyCode | None, Field(description="only this currency")] = None


async def _rows(
    transaction: Transaction, moment: Moment, asked: AskedMonths
) -> Sequence[Mapping[str, Any]]:
    found = await month_tables.months(
        transaction,
        shop=asked.shop,
        first=asked.first,
        last=asked.last,
        level=asked.level,
        keys=asked.key or None,
        currency=asked.currency,
    )
    if moment.most_rows is not None and len(found) > moment.most_rows:
        raise TooManyRows(moment.most_rows)
    return [_shown(one) for one in found]


def _shown(one: Month) -> dict[str, Any]:
    level, key, currency = one.series
    values = one.values
    return {
        "month": f"{one.month:%Y-%m}",
        **({} if level == "total" else {level: key or None}),
        "currency": currency,
        "gross": money.text(values.gross),
        "discounts": money.text(values.discounts),
        "refunds": money.text(values.refunds),
        "net": money.text(values.gross - values.discounts - values.refunds),
        "orders": values.orders,
        "units": values.units,
        "days": one.days,
        "status": "corrected" if one.revision else "closed",
        "revision": one.revision,
    }


def _columns(asked: AskedMonths) -> Sequence[Column]:
    amounts = [Column(name, "money") for name in ("gross", "discounts", "refunds", "net")]
    counts = [Column(name, "count") for name in ("orders", "units", "days")]
    return [
        Column("month", "month"),
        *([] if asked.level == "total" else [Column(asked.level)]),
        Column("currency"),
        *amounts,
        *counts,
        Column("status"),
        Column("revision", "count"),
    ]


def _key(asked: AskedMonths) -> Sequence[str]:
    return ["month", *([] if asked.level == "total" else [asked.level]), "currency"]


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="sales_months",
        says="the closed months as they were told, zeros included: the sums of their closed days",
        path="/v1/sales/months",
        group="sales",
        asked=AskedMonths,
        columns=_columns,
        key=_key,
        rows=_rows,
        tag="sales",
        past=False,
        sums=("gross", "discounts", "refunds", "net", "units"),  # orders are in several categories
    ),
)
