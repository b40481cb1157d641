"""Daily sales records, and what they come to by month, as they stand."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

from app.reports.report import AskedRange, Column, Moment, Report
from projections.read_model import Transaction
from projections.records import Record, RecordGrain, Sums, records
from streams import money

_DIGITS = 60


def sums_shown(sums: Sums) -> dict[str, Any]:
    """A record's figures as JSON has them."""
    return {
        "gross": money.text(sums.gross),
        "discounts": money.text(sums.discounts),
        "refunds": money.text(sums.refunds),
        "net": money.text(sums.net),
        "tax": money.text(sums.tax),
        "orders": sums.orders,
        "units": sums.units,
        "customers": sums.customers,
        "average_order_value": _average(sums),
    }


def _average(sums: Sums) -> str | None:
    """Net by orders, rounded once to four decimal places, a half to the even digit."""
    if not sums.orders:
        return None
    with localcontext(prec=_DIGITS):
        return money.text(int(round(Decimal(sums.net) / sums.orders, 0)))


def shown(record: Record, grain: RecordGrain) -> dict[str, Any]:
    """A record as JSON has it."""
    period = record.period.isoformat()
    return {
        grain: period if grain == "day" else period[:7],
        "currency": record.currency,
        **sums_shown(record.sums),
        "status": record.status,
    }


def _report(name: str, says: str, path: str, grain: RecordGrain) -> Report[AskedRange]:
    async def rows(
        transaction: Transaction, moment: Moment, asked: AskedRange
    ) -> Sequence[Mapping[str, Any]]:
        found = await records(
            transaction,
            moment.clock,
            shop=asked.shop,
            first=asked.first,
            last=asked.last,
            grain=grain,
        )
        return [shown(one, grain) for one in found]

    columns = (
        Column(grain, grain),
        Column("currency"),
        *(Column(one, "money") for one in ("gross", "discounts", "refunds", "net", "tax")),
        *(Column(one, "count") for one in ("orders", "units", "customers")),
        Column("average_order_value", "money"),
        Column("status"),
    )
    return Report(
        name=name,
        says=says,
        path=path,
        group="sales",
        asked=AskedRange,
        columns=lambda _: columns,
        key=lambda _: (grain, "currency"),
        rows=rows,
        tag="sales",
        past=False,
        sums=("gross", "discounts", "refunds", "net", "tax", "orders", "units"),
    )


REPORTS: Sequence[Report[Any]] = (
    _report(
        "sales_records",
        "a record of each of the shop's days and currencies: what was sold, given back and taxed, "
        "to how many, and whether the day is open, closed or corrected since",
        "/v1/sales/records",
        "day",
    ),
    _report(
        "sales_records_monthly",
        "the same by month, of the days that are asked for; each customer counts once a month",
        "/v1/sales/records/monthly",
        "month",
    ),
)
