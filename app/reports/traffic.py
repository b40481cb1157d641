"""Reports on who is in the shop, how far they come, and what becomes of their carts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.reports.report import (
    Asked,
    AskedRange,
    Column,
    CurrencyCode,
    Key,
    Moment,
    Report,
)
from app.reports.wording import PERIODS, period_of, share, shown, split, two
from projections import cart_standing, live_view, traffic
from projections.read_model import Row, Transaction

Bots = Annotated[
    traffic.Bots,
    Field(description="robots are left out, and counted in `left_out`, unless they are asked for"),
]


_Grain = Literal["total", "day", "week", "month"]
_Source: Any = Field(description="only this channel or campaign", default_factory=list)
_Country: Any = Field(description="only this country", default_factory=list)


class AskedTraffic(AskedRange):
    """What funnel, visitors and carts are asked with alike."""

    grain: str = "day"
    bots: Bots = "exclude"


class AskedFunnel(AskedTraffic):
    grain: _Grain = "day"
    by: Annotated[
        list[Literal["product", "source", "country"]],
        BeforeValidator(split),
        AfterValidator(two),
        Field(default_factory=list),
    ]
    product: Annotated[list[Key], Field(description="only this product", default_factory=list)]
    source: Annotated[list[Key], _Source]
    country: Annotated[list[Key], _Country]


class AskedVisitors(AskedTraffic):
    grain: Literal["total", "hour", "day", "week", "month"] = "day"
    by: Annotated[
        list[Literal["source", "country"]],
        BeforeValidator(split),
        AfterValidator(two),
        Field(default_factory=list),
    ]
    source: Annotated[list[Key], _Source]
    country: Annotated[list[Key], _Country]


class AskedCarts(AskedTraffic):
    grain: _Grain = "day"
    currency: Annotated[CurrencyCode | None, Field(description="only this currency")] = None


class AskedLive(Asked):
    bots: Bots = "exclude"
    minutes: Annotated[
        int, Field(ge=1, le=1440, description="within which checkouts and purchases are recent")
    ] = 30


def _range(asked: AskedTraffic, dimensions: Sequence[str] = ()) -> traffic.Range:
    only = {name: values for name in dimensions if (values := getattr(asked, name))}
    by = tuple(getattr(asked, "by", ()))
    return traffic.Range(asked.shop, asked.first, asked.last, asked.grain, by, only, asked.bots)


def _period(grain: str, row: Row, moment: Moment) -> dict[str, str]:
    period = row["period"]
    if grain == "hour":
        period = period.astimezone(moment.clock.zone)
    return {} if grain == "total" else {grain: period_of(grain, period)}


def _by(asked: AskedTraffic) -> list[str]:
    period = [] if asked.grain == "total" else [asked.grain]
    return [*period, *getattr(asked, "by", ())]


def _columns_by(asked: AskedTraffic) -> list[Column]:
    return [Column(name, PERIODS.get(name, "text")) for name in _by(asked)]


# The funnel.

_STEPS = ("viewed", "added", "checkout", "ordered")
_RATES: Mapping[str, tuple[str, str]] = {
    "added_rate": ("added_passed", "viewed_visitors"),
    "checkout_rate": ("checkout_passed", "added_visitors"),
    "ordered_rate": ("ordered_passed", "checkout_visitors"),
    "conversion": ("converted", "viewed_visitors"),
}


async def _funnel(
    transaction: Transaction, moment: Moment, asked: AskedFunnel
) -> Sequence[Mapping[str, Any]]:
    wanted = _range(asked, traffic.FUNNEL_DIMENSIONS)
    counts = (*_STEPS, *(f"{step}_visitors" for step in _STEPS))
    return [
        {
            **_period(asked.grain, row, moment),
            **{name: row[f"key{n}"] or None for n, name in enumerate(wanted.by)},
            **{name: row[name] for name in counts},
            **{name: share(row[part], row[whole]) for name, (part, whole) in _RATES.items()},
            "left_out": row["left_out"],
        }
        for row in await traffic.funnel(transaction, wanted)
    ]


def _funnel_columns(asked: AskedFunnel) -> Sequence[Column]:
    names = (*_STEPS, *(f"{step}_visitors" for step in _STEPS))
    counts = [Column(name, "count") for name in names]
    rates = [Column(name, "share") for name in _RATES]
    return [*_columns_by(asked), *counts, *rates, Column("left_out", "count")]


async def _visitors(
    transaction: Transaction, moment: Moment, asked: AskedVisitors
) -> Sequence[Mapping[str, Any]]:
    wanted = _range(asked, traffic.VISITOR_DIMENSIONS)
    return [
        {
            **_period(asked.grain, row, moment),
            **{name: row[f"key{n}"] or None for n, name in enumerate(wanted.by)},
            "visitors": row["visitors"],
            "left_out": row["left_out"],
        }
        for row in await traffic.visitors(transaction, moment.clock, wanted)
    ]


# Carts.

_CART_COUNTS = ("carts", "ordered", "abandoned", "open")
_CART_VALUES = ("ordered_value", "abandoned_value", "open_value")


async def _carts(
    transaction: Transaction, moment: Moment, asked: AskedCarts
) -> Sequence[Mapping[str, Any]]:
    rows = await cart_standing.carts(
        transaction,
        moment.clock,
        _range(asked),
        asked.currency,
        moment.now - moment.cart_silence,
    )
    return [
        {
            **_period(asked.grain, row, moment),
            "currency": row["currency"],
            **{name: row[name] for name in _CART_COUNTS},
            **{name: shown(row[name], "money") for name in _CART_VALUES},
            "abandonment_rate": share(row["abandoned"], row["abandoned"] + row["ordered"]),
            "left_out": row["left_out"],
        }
        for row in rows
    ]


def _cart_columns(asked: AskedCarts) -> Sequence[Column]:
    return [
        *_columns_by(asked),
        Column("currency"),
        *(Column(name, "count") for name in _CART_COUNTS),
        *(Column(name, "money") for name in _CART_VALUES),
        Column("abandonment_rate", "share"),
        Column("left_out", "count"),
    ]


# Now.

_LIVE = ("visitors", "active_carts", "checkouts", "purchases", "left_out")


def _stretch(moment: Moment, asked: AskedLive) -> live_view.Stretch:
    return live_view.stretch(moment.now, timedelta(minutes=asked.minutes), moment.cart_silence)


async def _live(
    transaction: Transaction, moment: Moment, asked: AskedLive
) -> Sequence[Mapping[str, Any]]:
    row = await live_view.live_view(
        transaction, moment.clock, asked.shop, _stretch(moment, asked), asked.bots
    )
    return [{name: row[name] for name in _LIVE}]


async def _live_countries(
    transaction: Transaction, moment: Moment, asked: AskedLive
) -> Sequence[Mapping[str, Any]]:
    rows = await live_view.live_countries(
        transaction, moment.clock, asked.shop, _stretch(moment, asked), asked.bots
    )
    return [
        {"country": row["country"] or None, **{name: row[name] for name in _LIVE}} for row in rows
    ]


async def _live_sales(
    transaction: Transaction, moment: Moment, asked: Asked
) -> Sequence[Mapping[str, Any]]:
    rows = await live_view.live_sales(transaction, moment.clock, asked.shop, moment.now)
    return [
        {
            "currency": row["currency"],
            "net": shown(row["net"], "money"),
            "orders": row["orders"],
            "net_before": shown(row["net_before"], "money"),
            "orders_before": row["orders_before"],
        }
        for row in rows
    ]


def _counts(names: Iterable[str]) -> list[Column]:
    return [Column(name, "count") for name in names]


REPORTS: Sequence[Report[Any]] = (
    Report(
        name="funnel",
        says="how often products were viewed, added to a cart, taken to checkout and ordered, by "
        "how many visitors, and how many of those of one step came to the next",
        path="/v1/reports/funnel",
        group="activity",
        asked=AskedFunnel,
        columns=_funnel_columns,
        key=_by,
        rows=_funnel,
        tag="traffic",
    ),
    Report(
        name="visitors",
        says="unique visitors: a person, as far as somebody is known by one, else the visitor, the "
        "cart or the order that events tell of",
        path="/v1/reports/visitors",
        group="activity",
        asked=AskedVisitors,
        columns=lambda asked: [*_columns_by(asked), *_counts(("visitors", "left_out"))],
        key=_by,
        rows=_visitors,
        tag="traffic",
    ),
    Report(
        name="carts",
        says="what became of the carts that last changed in a period, and what they come to: "
        "ordered, abandoned, or open still",
        path="/v1/reports/carts",
        group="activity",
        asked=AskedCarts,
        columns=_cart_columns,
        key=lambda asked: [*_by(asked), "currency"],
        rows=_carts,
        tag="traffic",
        ages=True,
        sums=(*_CART_COUNTS, *_CART_VALUES),
    ),
    Report(
        name="live_view",
        says="the shop now: visitors of the last 5 minutes, carts that are being filled, and the "
        "checkouts and purchases of the last `minutes`",
        path="/v1/reports/live_view",
        group="activity",
        asked=AskedLive,
        columns=lambda _: _counts(_LIVE),
        key=lambda _: (),
        rows=_live,
        tag="traffic",
        ages=True,
        also=("sales",),
    ),
    Report(
        name="live_countries",
        says="the same by country, as far as it is known; purchases by that of the order",
        path="/v1/reports/live_countries",
        group="activity",
        asked=AskedLive,
        columns=lambda _: [Column("country"), *_counts(_LIVE)],
        key=lambda _: ("country",),
        rows=_live_countries,
        tag="traffic",
        ages=True,
        also=("sales",),
    ),
    Report(
        name="live_sales",
        says="sales since the shop's midnight, and of the same weekday a week before up to the "
        "same time of its clock",
        path="/v1/reports/live_sales",
        group="sales",
        asked=Asked,
        columns=lambda _: [
            Column("currency"),
            Column("net", "money"),
            Column("orders", "count"),
            Column("net_before", "money"),
            Column("orders_before", "count"),
        ],
        key=lambda _: ("currency",),
        rows=_live_sales,
        tag="traffic",
        ages=True,
    ),
)
