"""Commands about orders: to place one, and what becomes of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.commands.execute import Answer, Call, check_version, shown
from app.commands.work import Work
from app.domain import coupon, ordering, refunding, stock
from app.domain.coupon import COUPON
from app.domain.order import ORDER, Order
from app.domain.refunding import Wanted
from app.domain.refusal import Unknown
from app.domain.stock import STOCK
from streams.events import Data, OrderRefunded, OrderReturned


class Party(NamedTuple):
    """Who acts: staff for anybody, others for themselves; a guest is known by their cart."""

    person: str
    staff: bool = False
    guest: bool = False

    def may_see(self, order: Order) -> bool:
        if self.guest:
            return order.customer is None and order.cart_id == self.person
        return self.staff or order.customer == self.person


async def open_order(work: Work, call: Call, party: Party, order_id: str) -> Order:
    """Locks an order, with its coupon if it has one. Raises Unknown where there is none that this
    party may see, Stale."""
    seen = (await work.look(ORDER, [order_id])).get(order_id)
    if seen and seen.coupon:
        await work.load(COUPON, [seen.coupon])
    order = await work.find(ORDER, order_id)
    if order is None or not party.may_see(order):
        raise Unknown("unknown_order", f"there is no order {order_id!r}", "order_id")
    check_version(call, work.version(ORDER, order_id))
    return order


def tell(work: Work, order: Order, events: Sequence[Data]) -> None:
    """What was decided of an order, told of whose it is."""
    work.tell(*events, person=order.person)


def answer(work: Work, order_id: str, status: int = 200) -> Answer:
    return Answer(
        view(work.state(ORDER, order_id)),
        status,
        work.version(ORDER, order_id),
        f"/v1/orders/{order_id}" if status == 201 else None,
    )


def view(order: Order) -> dict[str, Any]:
    """An order as it is shown, with what is left of it."""
    return {**shown(order), "given_back": str(order.given_back), "left": str(order.left)}


async def cancel_order(
    work: Work, call: Call, party: Party, order_id: str, reason: str | None
) -> Answer:
    """Nothing of it will be sent: its stock and its coupon are free again, and what was paid is
    paid back."""
    order = await open_order(work, call, party, order_id)
    events = refunding.cancel(order, work.new_id(), reason)
    stocks = await work.load(STOCK, [line.variant for line in order.lines])
    tell(work, order, events)
    for held in stocks.values():
        work.tell(*stock.release(held, order_id))
    if order.coupon and (redeemed := work.state(COUPON, order.coupon)):
        work.tell(*coupon.release(redeemed, order_id), person=order.customer)
    return answer(work, order_id)


async def complete_order(
    work: Work, call: Call, party: Party, order_id: str, reference: str | None
) -> Answer:
    """It was paid by other means."""
    order = await open_order(work, call, party, order_id)
    tell(work, order, ordering.complete(order, reference))
    return answer(work, order_id)


async def ship_order(
    work: Work, call: Call, party: Party, order_id: str, shipment_id: str | None
) -> Answer:
    """All of it that was not refunded leaves the house."""
    order = await open_order(work, call, party, order_id)
    events = ordering.ship(order, shipment_id)
    stocks = await work.load(STOCK, [line.variant for line in order.lines])
    tell(work, order, events)
    for held in stocks.values():
        work.tell(*stock.ship(held, order_id))
    return answer(work, order_id)


async def deliver_order(work: Work, call: Call, party: Party, order_id: str) -> Answer:
    """It has arrived; cash on delivery is paid."""
    order = await open_order(work, call, party, order_id)
    tell(work, order, ordering.deliver(order))
    return answer(work, order_id)


async def refund_order(
    work: Work, call: Call, party: Party, order_id: str, wanted: Wanted, reason: str | None
) -> Answer:
    """Money back, in part or whole; units that are not shipped yet go back into stock."""
    order = await open_order(work, call, party, order_id)
    events = refunding.refund(order, work.new_id(), wanted, reason)
    units = {
        share.variant: share.quantity
        for event in events
        if isinstance(event, OrderRefunded)
        for share in event.shares
        if share.quantity and order.shipped_at is None
    }
    stocks = await work.load(STOCK, list(units))
    tell(work, order, events)
    for variant, quantity in units.items():
        work.tell(*stock.release(stocks[variant], order_id, quantity))
    return answer(work, order_id, 201)


async def return_order(
    work: Work,
    call: Call,
    party: Party,
    order_id: str,
    units: Mapping[str, int],
    *,
    restock: bool,
    refund: bool,
    shipping: bool,
    reason: str | None,
) -> Answer:
    """Units came back: into stock where they can be sold again, and for money where that is due."""
    order = await open_order(work, call, party, order_id)
    events = refunding.take_back(
        order,
        work.new_id(),
        units,
        restock=restock,
        refund=refund,
        shipping=shipping,
        reason=reason,
    )
    tell(work, order, events)
    if restock:
        came = [event for event in events if isinstance(event, OrderReturned)]
        back = {one.variant or "": one.quantity for event in came for one in event.products}
        stocks = await work.load(STOCK, list(back))
        for variant, quantity in back.items():
            work.tell(*stock.receive(stocks[variant], quantity, "returned"))
    return answer(work, order_id, 201)


async def retry_refund(
    work: Work, call: Call, party: Party, order_id: str, refund_id: str
) -> Answer:
    """Money that the provider could not give back is to be given back once more."""
    order = await open_order(work, call, party, order_id)
    tell(work, order, refunding.retry_refund(order, refund_id))
    return answer(work, order_id)
