"""`/v1/carts`: what somebody is about to buy. A guest shows the token of its cart."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import access
from app.api.access import Actor, Role, Tokens
from app.api.commands import Change, New, Sent, carried_out
from app.api.coupons import EnteredCode
from app.api.problems import Problem
from app.api.reading import reading, versioned
from app.commands import carts
from app.commands.execute import Answer, Call
from app.commands.work import Work
from app.domain.shopping import MOST_UNITS, Shopper
from app.queries.carts import Destination, cart_now

router = APIRouter(tags=["carts"])

GUESTS_TOKEN_LASTS = timedelta(days=90)

CartId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
Variant = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
Quantity = Annotated[int, Field(ge=1, le=MOST_UNITS, strict=True)]
Country = Annotated[
    str | None, Query(pattern="^[A-Z]{2}$", description="ISO 3166: with it, the totals there")
]
Method = Annotated[
    str | None,
    Query(min_length=1, max_length=128, pattern=r"^[^\x00]+$", description="of shipping"),
]
ThisShopper = Annotated[Actor, Depends(access.SHOPPER)]


class NewLine(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"variant": "mug-blue", "quantity": 2}}
    )

    variant: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
    quantity: Quantity = 1
    recommendation_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[^\x00]+$",
            description="the answer of `/v1/recommendations` that led to it",
        ),
    ] = None


class ChangedLine(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"quantity": 3}})

    quantity: Quantity


class EnteredCoupon(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"code": "WELCOME10"}})

    code: EnteredCode


def shopper_of(actor: Actor) -> Shopper:
    """Whom an actor is as a shopper."""
    if actor.role is Role.GUEST:
        return Shopper(guest_of=actor.id)
    return Shopper(customer=actor.id)


@router.post("/v1/carts", operation_id="carts_open", status_code=201)
async def carts_open(
    request: Request,
    actor: Annotated[Actor, Depends(access.ANYONE)],
    sent: New,
) -> Response:
    """An empty cart. A customer has one and gets it again; a guest gets a `token` for a new one."""
    customer = None if actor.role in (Role.ANYONE, Role.GUEST) else actor.id
    tokens: Tokens = request.app.state.tokens

    async def handle(work: Work, _: Call) -> Answer:
        answer = await carts.open_cart(work, customer)
        if customer is not None:
            return answer
        guest = Actor(Role.GUEST, answer.body["cart_id"], actor.shop)
        token = tokens.issue(guest, work.now, GUESTS_TOKEN_LASTS)
        return answer._replace(body={**answer.body, "token": token})

    return await carried_out(request, actor, sent, handle)


@router.get("/v1/carts/{cart_id}", operation_id="carts_get")
async def carts_get(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    country: Country = None,
    shipping_method: Method = None,
) -> Response:
    """A cart with the present prices, what has changed since they were seen, and its totals."""
    now = datetime.now(UTC)
    to = Destination(country, shipping_method) if country else None
    async with reading(request, actor) as states:
        found, version = await cart_now(states, cart_id, shopper_of(actor), to, now)
    return versioned(found, version)


@router.post("/v1/carts/{cart_id}/lines", operation_id="carts_add_line")
async def carts_add_line(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    line: NewLine,
    sent: Change,
) -> Response:
    """So many more of a variant."""
    shopper = shopper_of(actor)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: carts.add_line(
            work, call, cart_id, shopper, line.variant, line.quantity, line.recommendation_id
        ),
    )


@router.patch("/v1/carts/{cart_id}/lines/{variant}", operation_id="carts_change_line")
async def carts_change_line(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    variant: Variant,
    line: ChangedLine,
    sent: Change,
) -> Response:
    """So many of a variant, and no more."""
    shopper = shopper_of(actor)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: carts.change_line(work, call, cart_id, shopper, variant, line.quantity),
    )


@router.delete("/v1/carts/{cart_id}/lines/{variant}", operation_id="carts_remove_line")
async def carts_remove_line(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    variant: Variant,
    sent: Change,
) -> Response:
    """None of a variant."""
    shopper = shopper_of(actor)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: carts.remove_line(work, call, cart_id, shopper, variant),
    )


@router.post("/v1/carts/{cart_id}/prices", operation_id="carts_agree_to_prices")
async def carts_agree_to_prices(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    sent: Change,
) -> Response:
    """Takes the present prices as seen: at no others than those is a cart ordered."""
    shopper = shopper_of(actor)
    return await carried_out(
        request, actor, sent, lambda work, call: carts.agree_to_prices(work, call, cart_id, shopper)
    )


@router.post("/v1/carts/{cart_id}/coupon", operation_id="carts_apply_coupon")
async def carts_apply_coupon(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    coupon: EnteredCoupon,
    sent: Change,
) -> Response:
    """A coupon, in place of the one that may be there."""
    shopper = shopper_of(actor)
    try:
        return await carried_out(
            request,
            actor,
            sent,
            lambda work, call: carts.apply_coupon(work, call, cart_id, shopper, coupon.code),
        )
    except Problem as problem:
        if problem.code.startswith("coupon_"):
            reason = problem.code.removeprefix("coupon_")
            await _denied(request, actor, cart_id, coupon.code, reason)
        raise


async def _denied(request: Request, actor: Actor, cart_id: str, code: str, reason: str) -> None:
    """Notes a coupon that was not taken, by a command of its own: the refused one did nothing."""
    shopper = shopper_of(actor)
    await carried_out(
        request,
        actor,
        Sent(),
        lambda work, _: carts.deny_coupon(work, cart_id, shopper, code, reason),
    )


@router.delete("/v1/carts/{cart_id}/coupon", operation_id="carts_remove_coupon")
async def carts_remove_coupon(
    request: Request,
    actor: ThisShopper,
    cart_id: CartId,
    sent: Change,
) -> Response:
    """No coupon."""
    shopper = shopper_of(actor)
    return await carried_out(
        request, actor, sent, lambda work, call: carts.remove_coupon(work, call, cart_id, shopper)
    )
