"""What customers are worth so far: the top ones, the value of each, and their segments."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import AskedRange, Column, CurrencyCode, Key, Moment, Report
from app.reports.wording import share, shown
from projections import customer_value
from projections.customer_value import Asked, Ranking, Segment
from projections.measured import Ask, Unit
from projections.read_model import Row, Transaction

GROUP = "sales"
_MOST = 1_000_000
WITHOUT_CUSTOMER = "without_customer"


class AskedAmounts(AskedRange):
    """A range, and which amounts in it."""

    currency: Annotated[CurrencyCode | None, Field(description="only this currency")] = None
    country: Annotated[
        list[Key],
        Field(description="only what was ordered in this country", default_factory=list),
    ]


class AskedValues(AskedAmounts):
    """The same of some customers."""

    customer: Annotated[
        list[Key], Field(max_length=1000, description="only this customer", default_factory=list)
    ]
    limit: Annotated[int, Field(ge=1, le=_MOST)] = 1000


def _ask(asked: AskedAmounts, by: Sequence[str] = ()) -> Ask:
    only = {"country": asked.country} if asked.country else {}
    return Ask(
        asked.shop, asked.first, asked.last, by=tuple(by), only=only, currency=asked.currency
    )


_VALUES: dict[str, Unit] = {
    **dict.fromkeys(("orders", "units", "refunded_units"), "count"),
    **dict.fromkeys(("gross", "discounts", "refunds", "net", "tax"), "money"),
}
_VALUE_COLUMNS: Sequence[Column] = (
    *(Column(name, unit) for name, unit in _VALUES.items()),
    Column("average_order_value", "money"),
    Column("first_day", "day"),
    Column("last_day", "day"),
)


def value_of(row: Row) -> dict[str, Any]:
    """What one customer has brought in one currency."""
    days = {name: row[name] and row[name].isoformat() for name in ("first_day", "last_day")}
    average = round(row["net"] / row["orders"], 6) if row["orders"] else None
    return {
        **{name: shown(row[name], unit) for name, unit in _VALUES.items()},
        "average_order_value": shown(average, "money"),
        **days,
    }


async def _values(transaction: Transaction, _: Moment, asked: AskedValues) -> list[dict[str, Any]]:
    rows = await customer_value.values(transaction, _ask(asked), asked.customer, asked.limit)
    return [
        {"customer": row["customer"], "currency": row["currency"], **value_of(row)} for row in rows
    ]


# The top ones.


class AskedTop(AskedValues):
    ranking: Annotated[Ranking, Field(description="what they are ranked by")] = "net"
    by: Annotated[Literal["country"] | None, Field(description="the top ones of each country")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=_MOST, description="of each currency and country")] = 10


def _top_key(asked: AskedTop) -> list[str]:
    return [*([asked.by] if asked.by else []), "currency", "customer"]


def _top_columns(asked: AskedTop) -> Sequence[Column]:
    by = [Column(asked.by)] if asked.by else []
    return [*by, Column("currency"), Column("rank", "count"), Column("customer"), *_VALUE_COLUMNS]


async def _top(transaction: Transaction, _: Moment, asked: AskedTop) -> list[dict[str, Any]]:
    ask = _ask(asked, (asked.by,) if asked.by else ())
    rows = await customer_value.top(transaction, ask, asked.ranking, asked.limit, asked.customer)
    return [
        {
            **({asked.by: row["key"] or None} if asked.by else {}),
            "currency": row["currency"],
            "rank": row["rank"],
            "customer": row["customer"],
            **value_of(row),
        }
        for row in rows
    ]


# Segments.

_RULE = (
    "Recency is the last day of an order, frequency their number, monetary their net, within the "
    "range and of each currency by itself. Of n customers of whom k do worse, a score is "
    "1 + 5k div n: fifths from 1 to 5, equals alike. Recency and frequency make the segment: "
)


def _rule() -> str:
    """The segments by their scores, as `customer_value.GRID` has them."""
    told = [
        f"{segment} "
        + " ".join(
            f"{recency}{frequency}"
            for recency, row in enumerate(customer_value.GRID, 1)
            for frequency, one in enumerate(row, 1)
            if one == segment
        )
        for segment in customer_value.SEGMENTS
    ]
    return _RULE + ", ".join(told)


async def _segments(
    transaction: Transaction, _: Moment, asked: AskedAmounts
) -> list[dict[str, Any]]:
    rows = await customer_value.segments(transaction, _ask(asked))
    whole: dict[str, int] = {}
    for row in rows:
        whole[row["currency"]] = whole.get(row["currency"], 0) + row["customers"]
    return [
        {
            "currency": row["currency"],
            "segment": row["segment"] or WITHOUT_CUSTOMER,
            "customers": row["customers"],
            "share": share(row["customers"], whole[row["currency"]]) if row["segment"] else None,
            "orders": row["orders"],
            "net": shown(row["net"], "money"),
        }
        for row in rows
    ]


class AskedScores(AskedValues):
    segment: Annotated[list[Segment], Field(default_factory=list)]


_SCORES = ("recency", "frequency", "monetary")


async def _scores(transaction: Transaction, _: Moment, asked: AskedScores) -> list[dict[str, Any]]:
    wanted = Asked(asked.segment, asked.customer, asked.limit)
    rows = await customer_value.scored(transaction, _ask(asked), wanted)
    return [
        {
            "currency": row["currency"],
            "customer": row["customer"],
            "segment": row["segment"],
            **{name: row[name] for name in _SCORES},
            "last_day": row["last_day"].isoformat(),
            "orders": row["orders"],
            "net": shown(row["net"], "money"),
        }
        for row in rows
    ]


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="top_customers",
        says="the customers who brought most, by net, gross, orders or units: of a range, and of "
        "a country or of each. Amounts of different currencies are ranked apart",
        path="/v1/reports/top_customers",
        group=GROUP,
        asked=AskedTop,
        columns=_top_columns,
        key=_top_key,
        rows=_top,
        tag="customers",
        sums=tuple(_VALUES),
    ),
    Report(
        name="customer_values",
        says="what each customer has brought in each currency, by customer: without a range their "
        "lifetime value to date",
        path="/v1/reports/customer_values",
        group=GROUP,
        asked=AskedValues,
        columns=lambda _: [Column("customer"), Column("currency"), *_VALUE_COLUMNS],
        key=lambda _: ["customer", "currency"],
        rows=_values,
        tag="customers",
        sums=tuple(_VALUES),
    ),
    Report(
        name="customer_segments",
        says="customers by recency, frequency and monetary value. Orders without a customer are "
        f"the segment `{WITHOUT_CUSTOMER}`. {_rule()}",
        path="/v1/reports/customer_segments",
        group=GROUP,
        asked=AskedAmounts,
        columns=lambda _: [
            Column("currency"),
            Column("segment"),
            Column("customers", "count"),
            Column("share", "share"),
            Column("orders", "count"),
            Column("net", "money"),
        ],
        key=lambda _: ["currency", "segment"],
        rows=_segments,
        tag="customers",
        sums=("customers", "orders", "net"),
    ),
    Report(
        name="customer_scores",
        says="each customer's scores by recency, frequency and monetary value, those of the "
        f"largest net first. {_rule()}",
        path="/v1/reports/customer_scores",
        group=GROUP,
        asked=AskedScores,
        columns=lambda _: [
            Column("currency"),
            Column("customer"),
            Column("segment"),
            *(Column(name, "count") for name in _SCORES),
            Column("last_day", "day"),
            Column("orders", "count"),
            Column("net", "money"),
        ],
        key=lambda _: ["currency", "customer"],
        rows=_scores,
        tag="customers",
        sums=("orders", "net"),
    ),
)
