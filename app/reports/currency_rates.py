"""What currencies are worth, as it was said."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.reports.report import AskedRange, Column, CurrencyCode, Moment, Report
from projections import currency_rates
from projections.read_model import Transaction

GROUP = "activity"


class AskedRates(AskedRange):
    """Which rates."""

    currency: Annotated[CurrencyCode | None, Field(description="only of this currency")] = None
    into: Annotated[CurrencyCode | None, Field(description="only into this one")] = None


async def _rows(
    transaction: Transaction, _moment: Moment, asked: AskedRates
) -> Sequence[Mapping[str, Any]]:
    found = await currency_rates.rates(
        transaction,
        shop=asked.shop,
        first=asked.first,
        last=asked.last,
        currency=asked.currency,
        into=asked.into,
    )
    return [{**one._asdict(), "day": one.day.isoformat(), "rate": f"{one.rate:f}"} for one in found]


_COLUMNS = (Column("currency"), Column("into"), Column("day", "day"), Column("rate", "number"))

REPORTS: Sequence[Report[Any]] = (
    Report(
        name="currency_rates",
        says="1 unit of `currency` is `rate` of `into`, from `day` on until the next",
        path="/v1/currency-rates",
        group=GROUP,
        asked=AskedRates,
        columns=lambda _: _COLUMNS,
        key=lambda _: ("currency", "into", "day"),
        rows=_rows,
        tag="currency rates",
    ),
)
