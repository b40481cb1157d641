"""`/v1/tax-rates` and `/v1/shipping-rates`, by country: set by the staff, read by anyone."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor
from app.api.amounts import Amount
from app.api.commands import Change, carried_out
from app.api.coupons import Moment, Staff, Text
from app.api.reading import Cursor, Limit, one, page, reading
from app.commands import rates
from app.commands.execute import shown
from app.domain.shipping import SHIPPING_RATES
from app.domain.tax import TAX_RATES
from streams.events import ShippingRate, TaxRate

router = APIRouter(tags=["taxes and shipping"])

Anyone = Annotated[Actor, Depends(access.ANYONE)]
Country = Annotated[str, Path(pattern="^[A-Z]{2}$", description="ISO 3166")]
CountryOrRest = Annotated[str, Path(pattern=r"^([A-Z]{2}|\*)$", description="ISO 3166, or `*`")]


class NewTaxRate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: Text | None = Field(None, description="none: all that have no rate of their own")
    rate: Annotated[str, Field(pattern=r"^(0(\.\d{1,6})?|1(\.0{1,6})?)$", examples=["0.19"])]
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class NewTaxRates(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"rates": [{"rate": "0.19"}, {"category": "books", "rate": "0.07"}]}
        },
    )

    rates: Annotated[list[NewTaxRate], Field(max_length=500)]


class NewShippingRate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    method: Text
    amount: Amount
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    free_from: Amount | None = None


class NewShippingRates(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "rates": [
                    {"method": "post", "amount": "4.90", "currency": "EUR", "free_from": "50.00"}
                ]
            }
        },
    )

    rates: Annotated[list[NewShippingRate], Field(max_length=500)]


@router.put("/v1/tax-rates/{country}", operation_id="tax_rates_set")
async def tax_rates_set(
    request: Request,
    actor: Staff,
    country: Country,
    told: NewTaxRates,
    sent: Change,
) -> Response:
    """All rates of a country, those of other times among them. A rate holds to before its end."""
    new = [TaxRate(**rate.model_dump()) for rate in told.rates]
    return await carried_out(
        request, actor, sent, lambda work, call: rates.set_tax_rates(work, call, country, new)
    )


@router.get("/v1/tax-rates", operation_id="tax_rates_list")
async def tax_rates_list(
    request: Request, actor: Anyone, cursor: Cursor = None, limit: Limit = 50
) -> Mapping[str, Any]:
    """By country."""
    async with reading(request, actor) as states:
        return await page(states, TAX_RATES, "tax_rates", shown, cursor, limit)


@router.get("/v1/tax-rates/{country}", operation_id="tax_rates_get")
async def tax_rates_get(request: Request, actor: Anyone, country: Country) -> Response:
    """A country's rates."""
    async with reading(request, actor) as states:
        return await one(states, TAX_RATES, country, shown)


@router.put("/v1/shipping-rates/{country}", operation_id="shipping_rates_set")
async def shipping_rates_set(
    request: Request,
    actor: Staff,
    country: CountryOrRest,
    told: NewShippingRates,
    sent: Change,
) -> Response:
    """All rates of a country; of `*` those of all countries that have none of their own."""
    new = [ShippingRate(**rate.model_dump()) for rate in told.rates]
    return await carried_out(
        request, actor, sent, lambda work, call: rates.set_shipping_rates(work, call, country, new)
    )


@router.get("/v1/shipping-rates", operation_id="shipping_rates_list")
async def shipping_rates_list(
    request: Request, actor: Anyone, cursor: Cursor = None, limit: Limit = 50
) -> Mapping[str, Any]:
    """By country."""
    async with reading(request, actor) as states:
        return await page(states, SHIPPING_RATES, "shipping_rates", shown, cursor, limit)


@router.get("/v1/shipping-rates/{country}", operation_id="shipping_rates_get")
async def shipping_rates_get(request: Request, actor: Anyone, country: CountryOrRest) -> Response:
    """A country's rates, or those of the rest."""
    async with reading(request, actor) as states:
        return await one(states, SHIPPING_RATES, country, shown)
