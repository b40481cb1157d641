"""Reports on stock: what there is, what is low, how long it lasts, what goes and what does not."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby, islice
from typing import Annotated, Any, Literal

from pydantic import Field

from app.reports.report import Asked, AskedRange, Column, CurrencyCode, Key, Kind, Moment, Report
from app.reports.wording import shown
from projections.demand import rounded, sold
from projections.measured import Ask
from projections.read_model import Row, Transaction
from projections.sales import SALES
from projections.sell_through import COVER_DAYS, Level, cover, sell_through, slowest
from projections.stock_levels import SUMS, levels, low

Rows = list[dict[str, Any]]

Limit = Annotated[int, Field(ge=1, le=100_000, description="so many rows at most")]
Products = Annotated[
    list[Key], Field(max_length=1000, default_factory=list, description="only this product's")
]
By = Annotated[Literal["variant", "product"], Field(description="a row for each of them")]

_GROUP = "activity"
_DAY = timedelta(days=1)


class AskedStock(Asked):
    product: Products
    limit: Limit = 1000


class AskedLow(AskedStock):
    threshold: Annotated[
        int | None,
        Field(ge=0, le=10_000_000, description="for variants that have none of their own"),
    ] = None


class AskedCover(AskedStock):
    by: By = "variant"


class AskedSellThrough(AskedRange):
    by: By = "product"
    limit: Limit = 1000


class AskedSlow(AskedRange):
    by: By = "product"
    limit: Limit = 10


class AskedBest(AskedRange):
    by: Literal["product", "variant", "category"] = "product"
    ranking: Literal["units", "net", "gross", "orders"] = "units"
    currency: Annotated[CurrencyCode | None, Field(description="only this currency")] = None
    country: Annotated[
        list[Key],
        Field(description="only what was ordered in this country", default_factory=list),
    ]
    limit: Annotated[int, Field(ge=1, le=100_000, description="of each currency")] = 10


def _columns(names: Iterable[str], counts: Iterable[str], **more: Kind) -> Sequence[Column]:
    return [
        *(Column(name) for name in names),
        *(Column(name, "count") for name in counts),
        *(Column(name, kind) for name, kind in more.items()),
    ]


# What there is.


async def _on_hand(transaction: Transaction, _: Moment, asked: AskedStock) -> Rows:
    found = await levels(transaction, asked.shop, asked.product, limit=asked.limit)
    return [
        {
            "product": row["product"],
            "variant": row["variant"],
            **{name: row[name] for name in SUMS},
            "available": row["on_hand"] - row["reserved"],
            "threshold": row["threshold"],
        }
        for row in found
    ]


async def _low(transaction: Transaction, _: Moment, asked: AskedLow) -> Rows:
    found = await low(
        transaction, asked.shop, asked.product, threshold=asked.threshold, limit=asked.limit
    )
    return [
        {
            "product": row["product"],
            "variant": row["variant"],
            "on_hand": row["on_hand"],
            "available": row["on_hand"] - row["reserved"],
            "threshold": row["threshold"],
        }
        for row in found
    ]


# Against what is sold.


async def _levels(
    transaction: Transaction, shop: str, by: str, products: Sequence[str] = ()
) -> Mapping[str, Level]:
    """All there is, by product or by variant."""
    found: Sequence[Row] = await levels(transaction, shop, products, by=by)
    return {
        row["variant"] or row["product"]: Level(
            row["product"], int(row["on_hand"]), int(row["on_hand"] - row["reserved"])
        )
        for row in found
    }


async def _cover(transaction: Transaction, moment: Moment, asked: AskedCover) -> Rows:
    today = moment.today
    there = await _levels(transaction, asked.shop, asked.by, asked.product)
    ask = Ask(asked.shop, today - COVER_DAYS * _DAY, today - _DAY, by=(asked.by,))
    units = dict(await sold(transaction, moment.clock, ask))
    return [
        {
            asked.by: one.key,
            **({"product": one.level.product} if asked.by == "variant" else {}),
            "available": one.level.available,
            "units": one.units,
            "days": shown(rounded(one.days), "number"),
        }
        for one in cover(there, units)[: asked.limit]
    ]


async def _sell_through(transaction: Transaction, moment: Moment, asked: AskedSellThrough) -> Rows:
    there = await _levels(transaction, asked.shop, asked.by)
    ask = Ask(asked.shop, asked.first, asked.last, by=(asked.by,))
    units = dict(await sold(transaction, moment.clock, ask))
    return [
        {
            asked.by: one.key,
            "units": one.units,
            "on_hand": one.on_hand,
            "sell_through": shown(rounded(one.share), "share"),
        }
        for one in sell_through(there, units)[: asked.limit]
    ]


async def _slow(transaction: Transaction, moment: Moment, asked: AskedSlow) -> Rows:
    there = await _levels(transaction, asked.shop, asked.by)
    ever = await sold(transaction, moment.clock, Ask(asked.shop, by=(asked.by,)))
    ask = Ask(asked.shop, asked.first, asked.last, by=(asked.by,))
    units = dict.fromkeys((key for key, _ in ever), 0)
    units |= dict(await sold(transaction, moment.clock, ask))
    return [
        {"rank": rank, asked.by: key, "units": count, "on_hand": on_hand}
        for rank, (key, count, on_hand) in enumerate(slowest(there, units)[: asked.limit], 1)
    ]


_MEASURES = ("gross", "discounts", "refunds", "orders", "units")


async def _best(transaction: Transaction, moment: Moment, asked: AskedBest) -> Rows:
    only = {"country": asked.country} if asked.country else {}
    ask = Ask(
        asked.shop, asked.first, asked.last, by=(asked.by,), only=only, currency=asked.currency
    )
    found = [
        (row, _ranked(row.values))
        for row in await SALES.rows(transaction, moment.clock, ask, _MEASURES)
        if row.values["units"]
    ]
    found.sort(key=lambda one: (one[0].currency, -one[1][asked.ranking], one[0].key))
    return [
        {
            "rank": rank,
            asked.by: row.key[0] or None,
            "currency": currency,
            **{name: shown(values[name], "money") for name in ("net", "gross")},
            **{name: shown(values[name], "count") for name in ("orders", "units")},
        }
        for currency, of_currency in groupby(found, key=lambda one: one[0].currency)
        for rank, (row, values) in enumerate(islice(of_currency, asked.limit), 1)
    ]


def _ranked(values: Mapping[str, Decimal | int]) -> Mapping[str, Decimal | int]:
    return {**values, "net": values["gross"] - values["discounts"] - values["refunds"]}


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="stock_on_hand",
        says="units of each variant in the house, those of them reserved for orders and those that "
        "are available, and all that came, left and was corrected",
        path="/v1/reports/stock_on_hand",
        group=_GROUP,
        asked=AskedStock,
        columns=lambda _: _columns(("product", "variant"), (*SUMS, "available", "threshold")),
        key=lambda _: ("product", "variant"),
        rows=_on_hand,
        sums=(*SUMS, "available"),
    ),
    Report(
        name="low_stock",
        says="variants of which no more are available than their threshold, the fewest first",
        path="/v1/reports/low_stock",
        group=_GROUP,
        asked=AskedLow,
        columns=lambda _: _columns(("product", "variant"), ("on_hand", "available", "threshold")),
        key=lambda _: ("product", "variant"),
        rows=_low,
        sums=("on_hand", "available"),
    ),
    Report(
        name="days_of_cover",
        says="how many days what is available lasts at the mean of the units sold daily on the "
        f"last {COVER_DAYS} full days; nothing where nothing was sold",
        path="/v1/reports/days_of_cover",
        group=_GROUP,
        also=("sales",),
        asked=AskedCover,
        columns=lambda asked: _columns(
            dict.fromkeys((asked.by, "product")), ("available", "units"), days="number"
        ),
        key=lambda asked: (asked.by,),
        rows=_cover,
        ages=True,
        sums=("available", "units"),
    ),
    Report(
        name="sell_through",
        says="units sold on these days, of those and what is in the house now together",
        path="/v1/reports/sell_through",
        group=_GROUP,
        also=("sales",),
        asked=AskedSellThrough,
        columns=lambda asked: _columns((asked.by,), ("units", "on_hand"), sell_through="share"),
        key=lambda asked: (asked.by,),
        rows=_sell_through,
        sums=("units", "on_hand"),
    ),
    Report(
        name="best_selling",
        says="what sold best on these days, in some countries or all, ranked within each currency",
        path="/v1/reports/best_selling",
        group="sales",
        asked=AskedBest,
        columns=lambda asked: [
            Column("rank", "count"),
            *_columns((asked.by, "currency"), (), net="money", gross="money"),
            *_columns((), ("orders", "units")),
        ],
        key=lambda asked: (asked.by, "currency"),
        rows=_best,
        sums=("net", "gross", "units"),
    ),
    Report(
        name="slow_selling",
        says="what sold least on these days of all that is in stock or was ever sold, what was not "
        "sold at all first, and of that what there is most of",
        path="/v1/reports/slow_selling",
        group=_GROUP,
        also=("sales",),
        asked=AskedSlow,
        columns=lambda asked: [
            Column("rank", "count"),
            *_columns((asked.by,), ("units", "on_hand")),
        ],
        key=lambda asked: (asked.by,),
        rows=_slow,
        sums=("units", "on_hand"),
    ),
)
