"""`/v1/stock`: what there is of each variant. Staff alone see and change it."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import access
from app.api.access import Actor
from app.api.commands import Change, Sent, carried_out
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import known_parameters
from app.api.products import Filter, Name, Word, unknown
from app.api.reading import reading, versioned
from app.commands.stock import change_stock, stock_shown
from app.domain import stock as decide
from app.domain.stock import MOST_UNITS, Stock
from app.queries import stock
from streams.events import Data

router = APIRouter(tags=["stock"])

Staff = Annotated[Actor, Depends(access.STAFF)]


class Receipt(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"quantity": 20, "reason": "delivery 7"}}
    )

    quantity: Annotated[int, Field(ge=1, le=MOST_UNITS)]
    reason: Name | None = None


class Adjustment(BaseModel):
    """What was counted in the house, or by how much it is to change."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"change": -1, "reason": "broken"}}
    )

    on_hand: Annotated[int, Field(ge=0, le=MOST_UNITS)] | None = None
    change: Annotated[int, Field(ge=-MOST_UNITS, le=MOST_UNITS)] | None = None
    reason: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Adjustment":
        if (self.on_hand is None) == (self.change is None):
            raise ValueError("expected either on_hand or change")
        return self

    def decide(self, known: Stock) -> list[Data]:
        if self.on_hand is not None:
            return decide.count(known, self.on_hand, self.reason)
        return decide.adjust(known, self.change or 0, self.reason)


class Threshold(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"threshold": 5}})

    threshold: Annotated[int, Field(ge=0, le=MOST_UNITS)] | None = Field(
        description="stock is low at so many available units; null: never"
    )


@router.get("/v1/stock", operation_id="stock_list", dependencies=[Depends(known_parameters)])
async def stock_list(
    request: Request,
    actor: Staff,
    product_id: Filter = None,
    low: Annotated[bool | None, Query(description="at its threshold or below it, or not")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """The stock of all variants, by their ids."""
    (after,) = parse_cursor(cursor, tuple[str]) or ("",)
    async with reading(request, actor) as states:
        found = await stock.listed(states.connection, actor.shop, product_id, low, after, limit)
    return page(
        found,
        limit,
        lambda one: stock_shown(one.stock),
        lambda one: (one.stock.variant,),
        "stock",
    )


@router.get("/v1/stock/{variant}", operation_id="stock_get")
async def stock_get(request: Request, actor: Staff, variant: Word) -> Response:
    """One variant's stock."""
    async with reading(request, actor) as states:
        found = await stock.find(states.connection, actor.shop, variant)
    if found is None:
        raise unknown(f"variant {variant!r}")
    return versioned(stock_shown(found.stock), found.version)


@router.post("/v1/stock/{variant}/receive", operation_id="stock_receive")
async def stock_receive(
    request: Request,
    actor: Staff,
    variant: Word,
    receipt: Receipt,
    sent: Change,
) -> Response:
    """More units have come."""
    return await _changed(
        request,
        actor,
        sent,
        variant,
        lambda known: decide.receive(known, receipt.quantity, receipt.reason),
    )


@router.post("/v1/stock/{variant}/adjust", operation_id="stock_adjust")
async def stock_adjust(
    request: Request,
    actor: Staff,
    variant: Word,
    adjustment: Adjustment,
    sent: Change,
) -> Response:
    """Units were counted, written off or found; what is reserved for orders has to be there."""
    return await _changed(request, actor, sent, variant, adjustment.decide)


@router.post("/v1/stock/{variant}/threshold", operation_id="stock_threshold")
async def stock_threshold(
    request: Request,
    actor: Staff,
    variant: Word,
    body: Threshold,
    sent: Change,
) -> Response:
    """From how many available units on the stock is low, which is told once per crossing."""
    return await _changed(
        request,
        actor,
        sent,
        variant,
        lambda known: decide.set_threshold(known, body.threshold),
    )


async def _changed(
    request: Request,
    actor: Actor,
    sent: Sent,
    variant: str,
    decided: Callable[[Stock], list[Data]],
) -> Response:
    return await carried_out(
        request, actor, sent, lambda work, call: change_stock(work, call, variant, decided)
    )
