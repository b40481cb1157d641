"""The report on reviews: how many stars products are given, now and over time."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import AskedRange, Column, Moment, Report
from app.reports.stock import Products
from app.reports.wording import PERIODS, period_of, shown
from projections.demand import rounded
from projections.rating_days import STARS, ratings
from projections.read_model import Transaction


class AskedRatings(AskedRange):
    grain: Literal["total", "day", "week", "month", "quarter", "year"] = "total"
    by: Annotated[
        Literal["total", "product"], Field(description="of each product, or of all together")
    ] = "total"
    product: Products
    limit: Annotated[int, Field(ge=1, le=100_000, description="so many rows at most")] = 10_000


async def _ratings(
    transaction: Transaction, _: Moment, asked: AskedRatings
) -> Sequence[Mapping[str, Any]]:
    found = await ratings(
        transaction,
        asked.shop,
        first=asked.first,
        last=asked.last,
        grain=asked.grain,
        by_product=asked.by == "product",
        products=asked.product,
        limit=asked.limit,
    )
    rows = []
    for row in found:
        counts = [int(row[f"stars_{n}"]) for n in STARS]
        stars = sum(n * count for n, count in zip(STARS, counts, strict=True))
        average = Fraction(stars, sum(counts)) if any(counts) else None
        period: dict[str, Any] = (
            {} if asked.grain == "total" else {asked.grain: period_of(asked.grain, row["period"])}
        )
        rows.append(
            {
                **period,
                **({"product": row["product"]} if asked.by == "product" else {}),
                "reviews": sum(counts),
                "average": shown(rounded(average), "number"),
                **{f"stars_{n}": count for n, count in zip(STARS, counts, strict=True)},
                "written": int(row["written"]),
            }
        )
    return rows


def _key(asked: AskedRatings) -> Sequence[str]:
    period = () if asked.grain == "total" else (asked.grain,)
    return (*period, *(("product",) if asked.by == "product" else ()))


def _columns(asked: AskedRatings) -> Sequence[Column]:
    return [
        *(Column(name, PERIODS.get(name, "text")) for name in _key(asked)),
        Column("reviews", "count"),
        Column("average", "number"),
        *(Column(f"stars_{n}", "count") for n in STARS),
        Column("written", "count"),
    ]


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="ratings",
        says="the reviews that stood at the end of each period, their average and how many of them "
        "gave how many stars, as they were edited, hidden and taken back by then; and how many "
        "were written in it, whatever became of them. A row for each period in which that changed",
        path="/v1/reports/ratings",
        group="activity",
        asked=AskedRatings,
        columns=_columns,
        key=_key,
        rows=_ratings,
        sums=("written",),
    ),
)
