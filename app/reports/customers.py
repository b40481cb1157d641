"""Where customers come from, whether they stay, and what becomes of each month's new ones."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import AskedRange, Column, Key, Moment, Report
from app.reports.wording import PERIODS, period_of, share
from projections import customers, retention
from projections.measured import Ask, Grain
from projections.read_model import Transaction

_LONGEST_DAYS = 3660


class AskedPeriods(AskedRange):
    """A range, cut into periods."""

    grain: Literal["total", "week", "month", "quarter", "year"] = "month"


def _period(grain: Grain) -> list[Column]:
    return [] if grain == "total" else [Column(grain, PERIODS.get(grain, "text"))]


def _period_key(asked: AskedPeriods) -> Sequence[str]:
    return [column.name for column in _period(asked.grain)]


# Acquisition.


class AskedAcquisition(AskedPeriods):
    by: Annotated[
        Literal["country", "product"] | None,
        Field(
            description="country: of most of the first day's orders; product: the one of the "
            "largest gross in the first hour that the customer ordered in. Of equals the first by "
            "name"
        ),
    ] = None
    country: Annotated[
        list[Key], Field(description="only those new in this country", default_factory=list)
    ]


def _acquisition_columns(asked: AskedAcquisition) -> Sequence[Column]:
    by = [Column(asked.by)] if asked.by else []
    counts = [Column("new_customers", "count"), Column("share", "share")]
    return [*_period(asked.grain), *by, *counts]


async def _acquisition(
    transaction: Transaction, moment: Moment, asked: AskedAcquisition
) -> list[dict[str, Any]]:
    only = {"country": asked.country} if asked.country else {}
    by = ("country",) if asked.by == "country" else ()
    ask = Ask(asked.shop, asked.first, asked.last, asked.grain, by, only)
    if asked.by == "product":
        rows = await customers.acquired_by_product(transaction, moment.clock, ask)
    else:
        rows = await customers.acquired(transaction, ask)
    whole: dict[Any, int] = {}
    for row in rows:
        whole[row["period"]] = whole.get(row["period"], 0) + row["customers"]
    return [
        {
            **({asked.grain: period_of(asked.grain, row["period"])} if row["period"] else {}),
            **({asked.by: row["key"] or None} if asked.by else {}),
            "new_customers": row["customers"],
            "share": share(row["customers"], whole[row["period"]]),
        }
        for row in rows
    ]


# Churn.


class AskedChurn(AskedPeriods):
    days: Annotated[
        int,
        Field(ge=1, le=_LONGEST_DAYS, description="without an order, after which one has churned"),
    ] = 90


_CHURN = ("active_at_start", "new", "regained", "churned", "active_at_end", "lost")


async def _churn(
    transaction: Transaction, moment: Moment, asked: AskedChurn
) -> list[dict[str, Any]]:
    last = min(asked.last or moment.today, moment.today)
    ask = Ask(asked.shop, asked.first, last, asked.grain)
    return [
        {
            **({asked.grain: period_of(asked.grain, one.period)} if one.period else {}),
            "active_at_start": one.active,
            "new": one.new,
            "regained": one.regained,
            "churned": one.churned,
            "active_at_end": one.active_at_end,
            "lost": one.lost,
            "churn_rate": share(one.lost, one.active),
        }
        for one in await retention.churn(transaction, ask, asked.days)
    ]


# Cohorts.


class AskedCohorts(AskedRange):
    months: Annotated[int, Field(ge=0, le=120, description="to follow each cohort for")] = 12


async def _cohorts(
    transaction: Transaction, moment: Moment, asked: AskedCohorts
) -> list[dict[str, Any]]:
    ask = Ask(asked.shop, asked.first, asked.last)
    found = await retention.cohorts(transaction, ask, asked.months, moment.today)
    return [
        {
            "cohort": period_of("month", cohort.month),
            "months_since": since,
            "size": cohort.customers,
            "customers": active,
            "share": share(active, cohort.customers),
        }
        for cohort in found
        for since, active in enumerate(cohort.active)
    ]


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="acquisition",
        says="new customers by period, and by the country or the product that they began with. "
        "Each is new once, on the first day they ordered; orders without a customer are nobody's",
        path="/v1/reports/acquisition",
        group=customers.CUSTOMERS.group,
        asked=AskedAcquisition,
        columns=_acquisition_columns,
        key=lambda asked: [*_period_key(asked), *([asked.by] if asked.by else [])],
        rows=_acquisition,
        tag="customers",
        sums=("new_customers",),
    ),
    Report(
        name="churn",
        says="customers lost and won. One is active on a day they order on and for `days` days "
        "after it, and on the next day has churned; an order wins them back. `churn_rate` is the "
        "share of those active when the period begins who churn in it (`lost`); "
        "`active_at_end` is those with the new and the regained, less all who churned",
        path="/v1/reports/churn",
        group=customers.CUSTOMERS.group,
        asked=AskedChurn,
        columns=lambda asked: [
            *_period(asked.grain),
            *(Column(name, "count") for name in _CHURN),
            Column("churn_rate", "share"),
        ],
        key=_period_key,
        rows=_churn,
        tag="customers",
        ages=True,
        sums=("new", "regained", "churned"),
    ),
    Report(
        name="cohorts",
        says="retention: of the customers whose first order was in a month (of the range), how "
        "many ordered in each month from then on, until this one",
        path="/v1/reports/cohorts",
        group=customers.CUSTOMERS.group,
        asked=AskedCohorts,
        columns=lambda _: [
            Column("cohort", "month"),
            Column("months_since", "count"),
            Column("size", "count"),
            Column("customers", "count"),
            Column("share", "share"),
        ],
        key=lambda _: ["cohort", "months_since"],
        rows=_cohorts,
        tag="customers",
        ages=True,
    ),
)
