"""The shop's own orders: one, or those that somebody looks for, the latest first."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.commands.work import decode
from app.domain.order import ORDER, Order, OrderLine
from projections.read_model import Transaction
from streams.money import Money


class Filter(NamedTuple):
    """Which orders; None is all. Those placed from `first` on, and before `until`."""

    status: str | None = None
    unpaid: bool | None = None
    person: str | None = None
    first: datetime | None = None
    until: datetime | None = None
    refund: str | None = None
    """`requested`: the provider is still to make one; `failed`: somebody has to look."""


async def listed(
    transaction: Transaction, shop: str, wanted: Filter, limit: int, cursor: str | None = None
) -> Mapping[str, Any]:
    """Some orders in short, and the cursor to go on with. Raises ValueError if it is none."""
    before, before_id = parse_cursor(cursor) if cursor else (None, None)
    *simple, refund = wanted
    page = _PAGE.format(and_refund=f"AND {_REFUNDS[refund]}" if refund else "")
    rows = await transaction.fetch(page, shop, *simple, before, before_id, limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "orders": [in_short(decode(ORDER, row["state"])) for row in rows[:limit]],
        "next_cursor": f"{last['created_at'].isoformat()}/{last['id']}" if last else None,
    }


async def orders_of(
    transaction: Transaction, shop: str, user_id: str, limit: int, cursor: str | None = None
) -> Mapping[str, Any]:
    """A user's orders. Raises ValueError if the cursor is none."""
    return await listed(transaction, shop, Filter(person=user_id), limit, cursor)


def parse_cursor(cursor: str) -> tuple[datetime, str]:
    """When the last order of a page was placed, and its id. Raises ValueError."""
    at, _, order_id = cursor.partition("/")
    found = datetime.fromisoformat(at)
    if found.tzinfo is None or not order_id or "\0" in order_id:
        raise ValueError("no cursor of an answer before")
    try:
        return found.astimezone(UTC), order_id
    except OverflowError as error:
        raise ValueError("no time that there can be") from error


_PAGE = """
    SELECT id, state, created_at FROM shop_orders
    WHERE shop = $1
        AND ($2::text IS NULL OR status = $2)
        AND ($3::boolean IS NULL OR unpaid = $3)
        AND ($4::text IS NULL OR person = $4)
        AND ($5::timestamptz IS NULL OR created_at >= $5)
        AND ($6::timestamptz IS NULL OR created_at < $6)
        AND ($7::timestamptz IS NULL OR (created_at, id) < ($7, $8::text))
        {and_refund}
    ORDER BY created_at DESC, id DESC
    LIMIT $9
"""

# The conditions of the indexes in 0016_payments.sql, word for word.
FAILED_REFUNDS = """state @? '$.payment.refunds.* ? (@.status == "failed")'"""
_REFUNDS = {
    "requested": """state @? '$.payment.refunds.* ? (@.status == "requested")'""",
    "failed": FAILED_REFUNDS,
}


def in_short(order: Order) -> dict[str, Any]:
    """An order as a list has it, without anything that is personal but whose it is."""
    return {
        "order_id": order.order_id,
        "status": order.status,
        "person": order.person,
        "placed_at": order.placed_at,
        "country": order.country,
        "currency": order.currency,
        "units": sum(line.quantity for line in order.lines),
        "total": str(order.total),
        "given_back": str(order.given_back),
        "payment_method": order.payment.method,
        "payment_status": order.payment.status,
    }


def taxes(order: Order) -> dict[str, Any]:
    """The taxes of an order by line and by rate, less what was given back. `net` is without tax."""
    by_rate: dict[str | None, list[OrderLine]] = defaultdict(list)
    for line in order.lines:
        by_rate[line.tax_rate].append(line)
    return {
        "order_id": order.order_id,
        "country": order.country,
        "currency": order.currency,
        "lines": [
            {
                "variant": line.variant,
                "name": line.name,
                "category": line.category,
                "rate": line.tax_rate,
                **_taxed([line]),
            }
            for line in order.lines
        ],
        "rates": [
            {"rate": rate, **_taxed(lines)}
            for rate, lines in sorted(by_rate.items(), key=lambda item: item[0] or "")
        ],
        "shipping": {
            "net": str(order.shipping),
            "tax": str(order.shipping_tax),
            "refunded_net": str(order.refunded_shipping),
            "refunded_tax": str(order.refunded_shipping_tax),
        },
        "tax": str(order.tax),
        "refunded_tax": str(
            Money(sum(line.refunded_tax for line in order.lines) + order.refunded_shipping_tax)
        ),
    }


def _taxed(lines: Sequence[OrderLine]) -> dict[str, str]:
    return {
        "net": str(Money(sum(line.amount for line in lines))),
        "tax": str(Money(sum(line.tax for line in lines))),
        "refunded_net": str(Money(sum(line.refunded for line in lines))),
        "refunded_tax": str(Money(sum(line.refunded_tax for line in lines))),
    }
