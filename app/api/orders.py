"""`/v1/orders`: the shop's own orders, from their placing on; of others, what their events say."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import access
from app.api.access import Actor, Role
from app.api.commands import Change, New, carried_out
from app.api.completeness import Figures, MinPosition, Wait
from app.api.order_bodies import (
    ALL_BACK,
    ALL_OF_IT,
    CANCELLED,
    COMPLETED,
    SHIPPED,
    Cancelled,
    Completed,
    NewOrder,
    Refund,
    Return,
    Shipped,
    units_of,
)
from app.api.problems import Problem, known_parameters
from app.api.reading import Limit, reading, versioned
from app.api.sales import From, To, check_range
from app.commands import ordering, placing
from app.commands.ordering import Party
from app.commands.work import Work
from app.domain.order import ORDER
from app.domain.refunding import Wanted
from app.queries import orders as queries
from app.queries.orders import Filter
from app.queries.states import States
from projections import orders as figures_of_orders
from projections.clock import ShopClock

router = APIRouter(tags=["orders"])

_NO_NUL = r"^[^\x00]*$"

OrderId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00/]+$")]
Status = Literal["placed", "completed", "shipped", "delivered", "cancelled", "returned"]
Shopper = Annotated[Actor, Depends(access.SHOPPER)]
Staff = Annotated[Actor, Depends(access.STAFF)]


def party_of(actor: Actor) -> Party:
    """Whom an actor is to the orders of a shop."""
    staff = actor.role in (Role.STAFF, Role.ADMIN)
    return Party(actor.id, staff=staff, guest=actor.role is Role.GUEST)


@router.post("/v1/orders", operation_id="orders_place", status_code=201)
async def orders_place(
    request: Request,
    actor: Shopper,
    order: NewOrder,
    sent: New,
) -> Response:
    """An order at the present prices, with its stock set aside; or all that is in its way.

    Paid on delivery it is `completed` at once, by card once it is paid.
    """
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, _: placing.place_order(work, party_of(actor), order.told(Work.new_id())),
    )


@router.get("/v1/orders", operation_id="orders_list", dependencies=[Depends(known_parameters)])
async def orders_list(
    request: Request,
    actor: Staff,
    status: Status | None = None,
    unpaid: Annotated[bool | None, Query(description="something is to be paid, or not")] = None,
    user: Annotated[str | None, Query(max_length=128, pattern=_NO_NUL)] = None,
    first: From = None,
    last: To = None,
    refund: Annotated[
        Literal["requested", "failed"] | None,
        Query(description="the payment provider is still to make one, or could not"),
    ] = None,
    limit: Limit = 50,
    cursor: Annotated[
        str | None,
        Query(max_length=256, pattern=_NO_NUL, description="`next_cursor` of the page before"),
    ] = None,
) -> Response:
    """The shop's own orders in short, the latest first. Days are of the shop's zone."""
    check_range(first, last)
    clock: ShopClock = request.app.state.clock
    wanted = Filter(
        status,
        unpaid,
        user,
        _beginning(first, clock),
        _beginning(last + timedelta(days=1) if last else None, clock),
        refund,
    )
    async with reading(request, actor) as states:
        found = await _page(states, wanted, limit, cursor)
    return Response(
        orjson.dumps(found), headers={"Cache-Control": "no-store"}, media_type="application/json"
    )


async def _page(states: States, wanted: Filter, limit: int, cursor: str | None) -> Any:
    try:
        return await queries.listed(states.connection, states.shop, wanted, limit, cursor)
    except ValueError:
        reason = "no cursor of an answer before"
        errors = [{"field": "cursor", "reason": reason}]
        raise Problem(422, "invalid", f"cursor: {reason}", errors) from None


def _beginning(day: date | None, clock: ShopClock) -> datetime | None:
    return datetime.combine(day, time(), clock.zone) if day else None


@router.get(
    "/v1/orders/{order_id}/tax",
    operation_id="orders_tax",
    dependencies=[Depends(known_parameters)],
)
async def orders_tax(request: Request, actor: Shopper, order_id: OrderId) -> Response:
    """The taxes of an order, by line and by rate."""
    async with reading(request, actor) as states:
        found = await states.find(ORDER, order_id)
    if found is None or not party_of(actor).may_see(found[0]):
        raise _unknown(order_id)
    return versioned(queries.taxes(found[0]), found[1])


@router.get(
    "/v1/orders/{order_id:path}",
    operation_id="orders_get",
    response_model=dict[str, Any],
    dependencies=[Depends(known_parameters)],
)
async def orders_get(
    request: Request,
    actor: Annotated[Actor, Depends(access.ORDERS)],
    order_id: Annotated[str, Path(max_length=128, pattern=_NO_NUL)],
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Any:
    """One order: the shop's own as it is, to whose it is and to staff; else as its events leave it,
    with how complete that is."""
    known = actor.role in (Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN)
    party = party_of(actor)
    if known:
        async with reading(request, actor) as states:
            own = await states.find(ORDER, order_id)
        if own and party.may_see(own[0]):
            return versioned(ordering.view(own[0]), own[1])
        if not party.staff:
            raise _unknown(order_id)
    figures: Figures = request.app.state.figures
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        found = await figures_of_orders.order(transaction, actor.shop, order_id)
    if found is None:
        raise Problem(404, "unknown_order", f"no event of order {order_id!r} has been read")
    return {**found, "complete_to": complete_to}


@router.post("/v1/orders/{order_id}/cancel", operation_id="orders_cancel")
async def orders_cancel(
    request: Request,
    actor: Shopper,
    order_id: OrderId,
    sent: Change,
    told: Cancelled = CANCELLED,
) -> Response:
    """Before it is shipped. What was paid is paid back, stock and coupon are free again."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.cancel_order(
            work, call, party_of(actor), order_id, told.reason
        ),
    )


@router.post("/v1/orders/{order_id}/complete", operation_id="orders_complete")
async def orders_complete(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    sent: Change,
    told: Completed = COMPLETED,
) -> Response:
    """It was paid by other means than it was to be, such as a transfer."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.complete_order(
            work, call, party_of(actor), order_id, told.reference
        ),
    )


@router.post("/v1/orders/{order_id}/ship", operation_id="orders_ship")
async def orders_ship(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    sent: Change,
    told: Shipped = SHIPPED,
) -> Response:
    """All of it that was not refunded leaves the house."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.ship_order(
            work, call, party_of(actor), order_id, told.shipment_id
        ),
    )


@router.post("/v1/orders/{order_id}/deliver", operation_id="orders_deliver")
async def orders_deliver(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    sent: Change,
) -> Response:
    """It has arrived; what was to be paid on delivery is paid."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.deliver_order(work, call, party_of(actor), order_id),
    )


@router.post("/v1/orders/{order_id}/refunds", operation_id="orders_refund", status_code=201)
async def orders_refund(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    sent: Change,
    told: Refund = ALL_OF_IT,
) -> Response:
    """Money back of what was paid, in part or whole."""
    wanted = Wanted(units_of(told.lines), told.shipping, told.amount)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.refund_order(
            work, call, party_of(actor), order_id, wanted, told.reason
        ),
    )


@router.post("/v1/orders/{order_id}/return", operation_id="orders_return", status_code=201)
async def orders_return(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    sent: Change,
    told: Return = ALL_BACK,
) -> Response:
    """Units came back: into stock where they can be sold again, and for money."""
    units = units_of(told.lines)
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.return_order(
            work,
            call,
            party_of(actor),
            order_id,
            units,
            restock=told.restock,
            refund=told.refund,
            shipping=told.shipping,
            reason=told.reason,
        ),
    )


def _unknown(order_id: str) -> Problem:
    return Problem(404, "unknown_order", f"there is no order {order_id!r}")
