"""Reports on what becomes of orders: where they stand, which are unpaid, how long they take."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import Asked, AskedRange, Column, Moment, Report
from app.reports.wording import PERIODS, period_of, shown
from projections.demand import rounded
from projections.fulfilment import HOURS, by_status, time_to_ship, unpaid
from projections.read_model import Transaction

Rows = list[dict[str, Any]]

_HOUR = timedelta(hours=1)


class AskedUnpaid(Asked):
    hours: Annotated[
        int, Field(ge=0, le=1_000_000, description="only those that are so many hours old")
    ] = 0
    completed: Annotated[
        bool,
        Field(description="also sales of which no payment was told, such as cash on delivery"),
    ] = False
    limit: Annotated[int, Field(ge=1, le=100_000, description="so many rows at most")] = 100


class AskedShipping(AskedRange):
    grain: Literal["total", "day", "week", "month", "quarter", "year"] = "total"


def _time(at: datetime | None, moment: Moment) -> str | None:
    return None if at is None else at.astimezone(moment.clock.zone).isoformat()


async def _by_status(transaction: Transaction, moment: Moment, asked: AskedRange) -> Rows:
    found = await by_status(transaction, moment.clock, asked.shop, asked.first, asked.last)
    return [
        {
            "status": row["status"],
            "orders": row["orders"],
            "oldest": _time(row["oldest"], moment),
            "latest": _time(row["latest"], moment),
        }
        for row in found
    ]


async def _unpaid(transaction: Transaction, moment: Moment, asked: AskedUnpaid) -> Rows:
    before = moment.now - asked.hours * _HOUR
    found = await unpaid(
        transaction, asked.shop, before, completed=asked.completed, limit=asked.limit
    )
    return [
        {
            "order_id": row["order_id"],
            "status": row["status"],
            "ordered_at": _time(row["ordered_at"], moment),
            "hours": (moment.now - row["ordered_at"]) // _HOUR,
        }
        for row in found
    ]


def _hours(seconds: Decimal | Fraction) -> Any:
    return shown(rounded(Fraction(seconds) / 3600), "number")


async def _time_to_ship(transaction: Transaction, moment: Moment, asked: AskedShipping) -> Rows:
    found = await time_to_ship(
        transaction, moment.clock, asked.shop, asked.first, asked.last, asked.grain
    )
    return [
        {
            **(
                {asked.grain: period_of(asked.grain, row["period"])}
                if asked.grain != "total"
                else {}
            ),
            "orders": row["orders"],
            "mean": _hours(Fraction(row["seconds"]) / row["orders"]),
            "median": _hours(row["median"]),
            "p90": _hours(row["p90"]),
            **{f"within_{hours}h": row[f"within_{hours}h"] for hours in HOURS},
        }
        for row in found
    ]


def _shipping_key(asked: AskedShipping) -> Sequence[str]:
    return () if asked.grain == "total" else (asked.grain,)


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="orders_by_status",
        says="how many of the orders made on these days stand where now",
        path="/v1/reports/orders_by_status",
        group="sales",
        asked=AskedRange,
        columns=lambda _: [
            Column("status"),
            Column("orders", "count"),
            Column("oldest", "time"),
            Column("latest", "time"),
        ],
        key=lambda _: ("status",),
        rows=_by_status,
        tag="operations",
        sums=("orders",),
    ),
    Report(
        name="unpaid_orders",
        says="orders without a payment that are neither sales yet nor cancelled, the oldest first, "
        "and for how many hours",
        path="/v1/reports/unpaid_orders",
        group="sales",
        asked=AskedUnpaid,
        columns=lambda _: [
            Column("order_id"),
            Column("status"),
            Column("ordered_at", "time"),
            Column("hours", "count"),
        ],
        key=lambda _: ("order_id",),
        rows=_unpaid,
        tag="operations",
        ages=True,
    ),
    Report(
        name="time_to_ship",
        says="hours from a sale to its shipping, of the orders shipped in each period: the mean, "
        "the median and p90, each an order's own, the lower of two; and how many took no longer "
        "than so many hours",
        path="/v1/reports/time_to_ship",
        group="sales",
        asked=AskedShipping,
        columns=lambda asked: [
            *(Column(name, PERIODS.get(name, "text")) for name in _shipping_key(asked)),
            Column("orders", "count"),
            *(Column(name, "number") for name in ("mean", "median", "p90")),
            *(Column(f"within_{hours}h", "count") for hours in HOURS),
        ],
        key=_shipping_key,
        rows=_time_to_ship,
        tag="operations",
        sums=("orders", *(f"within_{hours}h" for hours in HOURS)),
    ),
)
