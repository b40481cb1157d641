"""`POST /v1/currency-rates`: what currencies are worth, dated; a report of that path reads it."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.commands import New, carried_out
from app.api.coupons import Staff
from app.commands import rates
from app.domain.currency_rate import Pair, SaidRate
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

router = APIRouter(tags=["currency rates"])

_MOST_RATES = 2_000  # some 60 days of all currencies that a central bank names

Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217")]
Rate = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$", examples=["0.92"])]
Day = Annotated[date, Field(ge=date(EARLIEST_YEAR, 1, 1), le=date(LATEST_YEAR, 12, 31))]


class NewCurrencyRate(BaseModel):
    """1 unit of `currency` is `rate` of `into`, from `day` on; null withdraws that day's."""

    model_config = ConfigDict(extra="forbid")

    currency: Currency
    into: Currency
    day: Day
    rate: Rate | None


class NewCurrencyRates(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "rates": [
                    {"currency": "USD", "into": "EUR", "day": "2026-03-01", "rate": "0.92"},
                    {"currency": "USD", "into": "EUR", "day": "2026-03-02", "rate": "0.925"},
                ]
            }
        },
    )

    rates: Annotated[list[NewCurrencyRate], Field(min_length=1, max_length=_MOST_RATES)]


@router.post("/v1/currency-rates", operation_id="currency_rates_say")
async def currency_rates_say(
    request: Request, actor: Staff, told: NewCurrencyRates, sent: New
) -> Response:
    """Rates of some days, past ones too; those of other days stay. A rate holds from its day of the
    shop on until the next day that has one, and in its own direction alone: what the other way is
    worth is said by whoever needs it.
    """
    said = [SaidRate(Pair(one.currency, one.into), one.day, one.rate) for one in told.rates]
    return await carried_out(
        request, actor, sent, lambda work, _: rates.say_currency_rates(work, said)
    )
