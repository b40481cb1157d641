"""`/v1/orders`: the shop's own orders, from their placing on; of others, what their events say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import asyncpg
import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import access
from app.api.access import Actor, Role
from app.api.commands import IdempotencyKey, IfMatch, carried_out, etag
from app.api.completeness import RETRY, Figures, MinPosition, Wait
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
from app.api.sales import From, Shop, To, check_range
from app.commands import ordering, placing
from app.commands.ordering import Party
from app.commands.work import Work
from app.domain.refunding import Wanted
from app.queries import orders as queries
from app.queries.orders import MOST_LISTED, Filter
from projections import orders as figures_of_orders
from projections.clock import ShopClock
from projections.read_model import Transaction

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


async def _anyone(request: Request, shop: Shop = "main") -> Actor:
    """Who asks, as far as that is known: what is nobody's own is shown to who has a write key."""
    try:
        return await access.ANYONE(request, shop)
    except Problem:
        return Actor(Role.ANYONE, "", shop)


@router.post("/v1/orders", operation_id="orders_place", status_code=201)
async def orders_place(
    request: Request,
    actor: Shopper,
    order: NewOrder,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """An order at the present prices, with its stock set aside; or all that is in its way.

    Paid on delivery it is `completed` at once, by card once it is paid.
    """
    return await carried_out(
        request,
        actor,
        idempotency_key,
        None,
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
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
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
    )
    async with _reading(request) as transaction:
        return _secret(await _page(transaction, actor.shop, wanted, limit, cursor))


async def _page(
    transaction: Transaction, shop: str, wanted: Filter, limit: int, cursor: str | None
) -> Any:
    try:
        return await queries.listed(transaction, shop, wanted, limit, cursor)
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
    async with _reading(request) as transaction:
        found = await queries.find(transaction, actor.shop, order_id)
    if found is None or not party_of(actor).may_see(found.order):
        raise _unknown(order_id)
    return _secret(queries.taxes(found.order), found.version)


@router.get(
    "/v1/orders/{order_id:path}",
    operation_id="orders_get",
    response_model=dict[str, Any],
    dependencies=[Depends(known_parameters)],
)
async def orders_get(
    request: Request,
    actor: Annotated[Actor, Depends(_anyone)],
    order_id: Annotated[str, Path(max_length=128, pattern=_NO_NUL)],
    shop: Shop = "main",
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> Any:
    """One order: the shop's own as it is, to whose it is and to staff; else as its events leave it,
    with how complete that is."""
    known = actor.role in (Role.GUEST, Role.CUSTOMER, Role.STAFF, Role.ADMIN)
    party = party_of(actor)
    if known:
        async with _reading(request) as transaction:
            own = await queries.find(transaction, actor.shop, order_id)
        if own and party.may_see(own.order):
            return _secret(ordering.view(own.order), own.version)
        if not party.staff:
            raise _unknown(order_id)
    figures: Figures = request.app.state.figures
    async with figures.snapshot("sales", min_position, wait) as (transaction, complete_to):
        found = await figures_of_orders.order(transaction, shop, order_id)
    if found is None:
        raise Problem(404, "unknown_order", f"no event of order {order_id!r} has been read")
    return {**found, "complete_to": complete_to}


@router.post("/v1/orders/{order_id}/cancel", operation_id="orders_cancel")
async def orders_cancel(
    request: Request,
    actor: Shopper,
    order_id: OrderId,
    told: Cancelled = CANCELLED,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Before it is shipped. What was paid is paid back, stock and coupon are free again."""
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
        lambda work, call: ordering.cancel_order(
            work, call, party_of(actor), order_id, told.reason
        ),
    )


@router.post("/v1/orders/{order_id}/complete", operation_id="orders_complete")
async def orders_complete(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    told: Completed = COMPLETED,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """It was paid by other means than it was to be, such as a transfer."""
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
        lambda work, call: ordering.complete_order(
            work, call, party_of(actor), order_id, told.reference
        ),
    )


@router.post("/v1/orders/{order_id}/ship", operation_id="orders_ship")
async def orders_ship(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    told: Shipped = SHIPPED,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """All of it that was not refunded leaves the house."""
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
        lambda work, call: ordering.ship_order(
            work, call, party_of(actor), order_id, told.shipment_id
        ),
    )


@router.post("/v1/orders/{order_id}/deliver", operation_id="orders_deliver")
async def orders_deliver(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """It has arrived; what was to be paid on delivery is paid."""
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
        lambda work, call: ordering.deliver_order(work, call, party_of(actor), order_id),
    )


@router.post("/v1/orders/{order_id}/refunds", operation_id="orders_refund", status_code=201)
async def orders_refund(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    told: Refund = ALL_OF_IT,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Money back of what was paid, in part or whole."""
    wanted = Wanted(units_of(told.lines), told.shipping, told.amount)
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
        lambda work, call: ordering.refund_order(
            work, call, party_of(actor), order_id, wanted, told.reason
        ),
    )


@router.post("/v1/orders/{order_id}/return", operation_id="orders_return", status_code=201)
async def orders_return(
    request: Request,
    actor: Staff,
    order_id: OrderId,
    told: Return = ALL_BACK,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Units came back: into stock where they can be sold again, and for money."""
    units = units_of(told.lines)
    return await carried_out(
        request,
        actor,
        idempotency_key,
        if_match,
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


@asynccontextmanager
async def _reading(request: Request) -> AsyncIterator[Transaction]:
    """A connection for one answer. Raises Problem."""
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    try:
        async with pool.acquire(timeout=5) as connection:
            yield connection
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError) as e:
        raise Problem(503, "postgres_unavailable", "it cannot be read now", headers=RETRY) from e


def _secret(body: Any, version: int | None = None) -> Response:
    """What is somebody's own: with its ETag where it can be changed, and never cached."""
    headers = {"Cache-Control": "no-store"}
    if version is not None:
        headers["ETag"] = etag(version)
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _unknown(order_id: str) -> Problem:
    return Problem(404, "unknown_order", f"there is no order {order_id!r}")
