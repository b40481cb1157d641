"""Every metric, declared once: what it measures, over which read models, in which unit.

A row here makes the query (`/v1/metrics/NAME`), the live subscription of the same name, the export
and the documentation.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from app.reports.currency_rates import GROUP as RATES
from app.reports.report import AskedRange, Column, CurrencyCode, Key, Moment, Report, TooManyRows
from app.reports.wording import DIGITS, PERIODS, period_of, shown, split, two
from app.reports.yearly import Beside, beside, year_before
from projections.customers import CUSTOMERS
from projections.measured import Ask, Grain, Measured, Source, Unit
from projections.read_model import Transaction
from projections.sales import SALES


class Metric(NamedTuple):
    """A figure with a name. Of `parts` it is the sum, each with its sign; with `over` it is that
    sum divided by another's, row by row, and nothing where that is nothing."""

    name: str
    says: str
    source: Source
    parts: Mapping[str, int]
    over: Mapping[str, int] = {}
    unit: Unit = "money"


def _sum(name: str, says: str, source: Source, parts: Mapping[str, int] | None = None) -> Metric:
    parts = parts or {name: 1}
    return Metric(name, says, source, parts, unit=source.measures[next(iter(parts))])


_NET = {"gross": 1, "discounts": -1, "refunds": -1}

METRICS: Sequence[Metric] = (
    _sum("gross", "price times quantity of what was sold", SALES),
    _sum("discounts", "what was taken off it", SALES),
    _sum("refunds", "what was given back, when it was given back", SALES),
    _sum("net", "gross less discounts and refunds", SALES, _NET),
    _sum("adjustments", "corrections of the books, beside all that", SALES),
    _sum("tax", "tax of what was sold, shipping included, less what refunds gave back", SALES),
    _sum("orders", "orders completed; one that is cancelled later stays one", SALES),
    _sum("units", "units sold", SALES),
    _sum("refunded_units", "units given back", SALES),
    Metric("average_order_value", "net by orders", SALES, _NET, {"orders": 1}),
    Metric("units_per_order", "units by orders", SALES, {"units": 1}, {"orders": 1}, "number"),
    Metric("refund_rate", "refunds by gross", SALES, {"refunds": 1}, {"gross": 1}, "share"),
    _sum("customers", "how many different customers ordered", CUSTOMERS),
    _sum("new_customers", "those who ordered for the first time", CUSTOMERS),
    _sum("returning_customers", "those who had ordered before the period", CUSTOMERS),
    _sum("repeat_customers", "those who ordered more than once in the period", CUSTOMERS),
    _sum("orders_without_customer", "orders of which it is not known whose", CUSTOMERS),
    Metric(
        *("returning_rate", "returning customers by all", CUSTOMERS),
        *({"returning_customers": 1}, {"customers": 1}, "share"),
    ),
    Metric(
        *("repeat_rate", "customers who ordered more than once by all", CUSTOMERS),
        *({"repeat_customers": 1}, {"customers": 1}, "share"),
    ),
)


# What one may ask.


class AskedMetric(AskedRange):
    """What every metric may be asked with; a model of its own adds a filter per dimension."""

    grain: str = "day"
    by: Annotated[
        list[str], BeforeValidator(split), AfterValidator(two), Field(default_factory=list)
    ]
    currency: Annotated[CurrencyCode | None, Field(description="only this currency")] = None
    compare: Annotated[
        Literal["year"] | None,
        Field(
            description="beside each row the same period a year before, as `…_before`, and by "
            "which share it has changed since: the same date, month, or ISO week by its number; "
            "null for a 29 February, or a week 53, that the year before has not"
        ),
    ] = None

    @model_validator(mode="after")
    def _comparable(self) -> "AskedMetric":
        if self.compare and self.grain == "hour":
            raise ValueError("compare: hours are not compared with those of a year before")
        if self.compare and self.grain == "total" and not (self.first and self.last):
            raise ValueError("compare: of a total it takes from and to")
        return self


class AskedAmounts(AskedMetric):
    """Of a source that has amounts, what they are worth in another currency may be asked."""

    into: Annotated[
        CurrencyCode | None,
        Field(
            description="convert to this currency, each day's amounts at that day's rate, which is "
            "the latest that was said of it or of a day before; where there is none, 422"
        ),
    ] = None

    @property
    def joins(self) -> Sequence[str]:
        """Rates are read by another group than sales."""
        return (RATES,) if self.into else ()


def _asked(source: Source) -> type[AskedMetric]:
    dimensions: Any = Literal[tuple(source.dimensions)]
    grains: Any = Literal[tuple(source.grains)]
    told = Annotated[list[dimensions], BeforeValidator(split), AfterValidator(two)]
    fields: dict[str, Any] = {
        "grain": (grains, "day" if "day" in source.grains else source.grains[0]),
        "by": (told, []),
        **{
            name: (Annotated[list[Key], Field(description=f"only this {name}")], [])
            for name in source.dimensions
        },
    }
    base = AskedAmounts if "money" in source.measures.values() else AskedMetric
    return create_model(f"Asked{source.name.title()}", __base__=base, **fields)


def ask_of(source: Source, asked: AskedMetric) -> Ask:
    """The question that is put to a source."""
    only = {name: values for name in source.dimensions if (values := getattr(asked, name))}
    return Ask(
        asked.shop,
        asked.first,
        asked.last,
        cast(Grain, asked.grain),
        tuple(asked.by),
        only,
        asked.currency,
        asked.into if isinstance(asked, AskedAmounts) else None,
    )


# What is answered.


def _value(metric: Metric, values: Mapping[str, Decimal | int]) -> Decimal | int | None:
    """A metric of a row's measures. None where it would be divided by nothing."""
    with localcontext(prec=DIGITS):
        value = sum((sign * values[name] for name, sign in metric.parts.items()), Decimal(0))
        if not metric.over:
            return value
        over = sum((sign * values[name] for name, sign in metric.over.items()), Decimal(0))
        return Decimal(value) / over if over else None


def _by_currency(source: Source) -> bool:
    """Whether it tells currencies apart: what counts heads does not."""
    return "money" in source.measures.values()


def _columns(metric: Metric) -> Callable[[AskedMetric], Sequence[Column]]:
    def columns(asked: AskedMetric) -> Sequence[Column]:
        period = Column(asked.grain, PERIODS.get(asked.grain, "text"))
        found = [] if asked.grain == "total" else [period]
        found += [Column(name) for name in asked.by]
        found += [Column("currency")] if _by_currency(metric.source) else []
        found += [Column(metric.name, metric.unit)]
        if asked.compare:
            found += [Column(f"{metric.name}_before", metric.unit), Column("change", "share")]
        return found

    return columns


def _key(source: Source) -> Callable[[AskedMetric], Sequence[str]]:
    currency = ("currency",) if _by_currency(source) else ()

    def key(asked: AskedMetric) -> Sequence[str]:
        period = () if asked.grain == "total" else (asked.grain,)
        return (*period, *asked.by, *currency)

    return key


def _rows(
    metric: Metric,
) -> Callable[[Transaction, Moment, AskedMetric], Any]:
    measures = tuple(dict.fromkeys((*metric.parts, *metric.over)))

    async def rows(
        transaction: Transaction, moment: Moment, asked: AskedMetric
    ) -> Sequence[Mapping[str, Any]]:
        async def answer(ask: Ask) -> Sequence[Measured]:
            found = await metric.source.rows(transaction, moment.clock, ask, measures)
            if ask.most is not None and len(found) > ask.most:
                raise TooManyRows(ask.most)
            return found

        ask = ask_of(metric.source, asked)._replace(most=moment.most_rows)
        found = await answer(ask)
        if asked.compare is None:
            return [_told(metric, asked, row) for row in found]
        before = await answer(year_before(ask))
        nothing = dict.fromkeys(measures, 0)
        return [
            _compared(metric, asked, one, nothing)
            for one in beside(found, before, ask.grain, open_end=ask.last is None)
        ]

    return rows


def _told(metric: Metric, asked: AskedMetric, row: Measured) -> dict[str, Any]:
    period: dict[str, Any] = (
        {} if row.period is None else {asked.grain: period_of(asked.grain, row.period)}
    )
    keys = {name: key or None for name, key in zip(asked.by, row.key, strict=True)}
    currency = {"currency": row.currency} if _by_currency(metric.source) else {}
    value = shown(_value(metric, row.values), metric.unit)
    return {**period, **keys, **currency, metric.name: value}


def _compared(
    metric: Metric, asked: AskedMetric, one: Beside, nothing: Mapping[str, int]
) -> dict[str, Any]:
    """A row beside that of a year before: nothing was sold where there is no row, and nothing can
    be said where the calendar has no such period."""
    now = one.row._replace(values=one.row.values or nothing)
    before = _value(metric, one.before or nothing) if one.had_period else None
    return {
        **_told(metric, asked, now),
        f"{metric.name}_before": shown(before, metric.unit),
        "change": shown(change(_value(metric, now.values), before), "share"),
    }


def change(now: Decimal | int | None, before: Decimal | int | None) -> Decimal | None:
    """By which share of what was before there is more now; None where that was nothing."""
    if now is None or not before:
        return None
    with localcontext(prec=DIGITS):
        return (Decimal(now) - Decimal(before)) / abs(Decimal(before))


def reports() -> Sequence[Report[Any]]:
    """A report for each metric."""
    asked = {
        source.name: _asked(source)
        for source in {m.source.name: m.source for m in METRICS}.values()
    }
    return [
        Report(
            name=metric.name,
            says=metric.says,
            path=f"/v1/metrics/{metric.name}",
            group=metric.source.group,
            asked=asked[metric.source.name],
            columns=_columns(metric),
            key=_key(metric.source),
            rows=_rows(metric),
            tag="metrics",
        )
        for metric in METRICS
    ]
