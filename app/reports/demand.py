"""Reports on demand: units sold by day with their moving averages, trends, seasons."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import AskedRange, Column, Key, Moment, Report
from app.reports.wording import shown
from projections import demand
from projections.demand import WINDOWS, Series, rounded
from projections.read_model import Transaction

_DAY = timedelta(days=1)
_DAYS = 90  # where it is not said since when

Rows = list[dict[str, Any]]


class AskedDemand(AskedRange):
    """Days until yesterday, where it is not said otherwise the last 90 of them."""

    by: Annotated[
        Literal["total", "country", "channel", "category", "product", "variant"],
        Field(description="a series for each of them"),
    ] = "total"
    key: Annotated[
        list[Key],
        Field(
            max_length=100,
            default_factory=list,
            description="only this product, country and so on",
        ),
    ]
    top: Annotated[
        int, Field(ge=1, le=100, description="without `key`: so many, that sold most on these days")
    ] = 10


class AskedSeason(AskedDemand):
    of: Literal["weekday", "month"] = "weekday"


def days_of(asked: AskedRange, moment: Moment) -> tuple[date, date]:
    """The first and last day asked for, the last one a full one."""
    yesterday = moment.today - _DAY
    last = min(asked.last or yesterday, yesterday)
    return asked.first or last - (_DAYS - 1) * _DAY, last


async def _series(
    transaction: Transaction, moment: Moment, asked: AskedDemand, before: int = 0
) -> Mapping[str, Series]:
    """By key; `before` so many days earlier than is asked."""
    first, last = days_of(asked, moment)
    if first > last:
        return {}
    return await demand.series_of(
        transaction,
        moment.clock,
        asked.shop,
        first,
        last,
        by=asked.by,
        keys=asked.key,
        top=asked.top,
        before=before,
    )


def _named(asked: AskedDemand, key: str) -> dict[str, Any]:
    return {} if asked.by == "total" else {asked.by: key or None}


def _number(value: Fraction | None) -> Any:
    return shown(rounded(value), "number")


async def _daily(transaction: Transaction, moment: Moment, asked: AskedDemand) -> Rows:
    first, _ = days_of(asked, moment)
    found = await _series(transaction, moment, asked, before=max(WINDOWS) - 1)
    rows = []
    for key, series in found.items():
        means = [demand.moving(series, window) for window in WINDOWS]
        for (day, units), *of_day in zip(series.days(), *means, strict=True):
            if day >= first:
                mean = {f"mean_{n}": _number(m) for n, m in zip(WINDOWS, of_day, strict=True)}
                rows.append({**_named(asked, key), "day": day.isoformat(), "units": units, **mean})
    return rows


async def _trend(transaction: Transaction, moment: Moment, asked: AskedDemand) -> Rows:
    rows = []
    for key, series in (await _series(transaction, moment, asked)).items():
        if series.units:
            found = demand.trend(series)
            rows.append(
                {
                    **_named(asked, key),
                    "from": series.first.isoformat(),
                    "days": found.days,
                    "units": found.units,
                    "mean": _number(Fraction(found.units, found.days)),
                    "slope": _number(found.slope),
                }
            )
    return rows


async def _seasons(transaction: Transaction, moment: Moment, asked: AskedSeason) -> Rows:
    return [
        {
            **_named(asked, key),
            asked.of: part.number,
            "days": part.days,
            "units": part.units,
            "mean": _number(Fraction(part.units, part.days)),
            "ratio": _number(part.ratio),
        }
        for key, series in (await _series(transaction, moment, asked)).items()
        for part in demand.seasonality(series, asked.of)
    ]


def _key(asked: AskedDemand) -> Sequence[str]:
    return () if asked.by == "total" else (asked.by,)


def _columns(asked: AskedDemand, *more: Column) -> Sequence[Column]:
    return [*(Column(name) for name in _key(asked)), *more]


_ZEROS = "days without a sale are zeros from the first sale on, and today is left out"

REPORTS: Sequence[Report[Any]] = (
    Report(
        name="demand",
        says=f"units sold by day, with the mean of {', '.join(map(str, WINDOWS))} days up to each "
        f"where there are so many since the first sale; {_ZEROS}",
        path="/v1/reports/demand",
        group="sales",
        asked=AskedDemand,
        columns=lambda asked: _columns(
            asked,
            Column("day", "day"),
            Column("units", "count"),
            *(Column(f"mean_{window}", "number") for window in WINDOWS),
        ),
        key=lambda asked: (*_key(asked), "day"),
        rows=_daily,
        ages=True,
        sums=("units",),
    ),
    Report(
        name="demand_trend",
        says="how many units more are sold each day than the day before, by the straight line "
        f"nearest to these days' (least squares); {_ZEROS}",
        path="/v1/reports/demand_trend",
        group="sales",
        asked=AskedDemand,
        columns=lambda asked: _columns(
            asked,
            Column("from", "day"),
            Column("days", "count"),
            Column("units", "count"),
            Column("mean", "number"),
            Column("slope", "number"),
        ),
        key=_key,
        rows=_trend,
        ages=True,
        sums=("units",),
    ),
    Report(
        name="seasonality",
        says="how much more is sold on a day of each weekday, or month, than on any day: the mean "
        f"of its days by the mean of all; {_ZEROS}",
        path="/v1/reports/seasonality",
        group="sales",
        asked=AskedSeason,
        columns=lambda asked: _columns(
            asked,
            Column(asked.of, "count"),
            Column("days", "count"),
            Column("units", "count"),
            Column("mean", "number"),
            Column("ratio", "number"),
        ),
        key=lambda asked: (*_key(asked), asked.of),
        rows=_seasons,
        ages=True,
        sums=("units",),
    ),
)
