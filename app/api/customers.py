"""`/v1/customers/…`: one customer, by the pseudonym their orders bear; `me` is whoever asks.

Whom figures are for sees anyone's, as in the reports; a customer who is logged in their own alone.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Meta

from app.api import access
from app.api.access import Actor, Role
from app.api.completeness import Figures, MinPosition, Wait
from app.api.forecasts import in_the_log
from app.api.paging import Cursor, Limit, page, parse_cursor
from app.api.problems import Problem, known_parameters
from app.erasure.names import ErasedNames
from app.learner.client import Asked, Away, LearnerClient
from app.reports.customer_value import GROUP, value_of
from projections import customer_value
from projections.clock import ShopClock, instant
from projections.customer_value import Place
from projections.measured import Ask

router = APIRouter(tags=["customers"], dependencies=[Depends(known_parameters)])

ME = "me"
CustomerId = Annotated[
    str,
    Path(min_length=1, max_length=128, pattern=r"^[^\x00/]+$", description="a pseudonym, or `me`"),
]
Whoever = Annotated[Actor, Depends(access.CUSTOMER_FIGURES)]
# Seconds since 1970, within the years that there are.
_Hour = Annotated[int, Meta(ge=-60_000_000_000, le=250_000_000_000)]


def seen_by(request: Request, actor: Actor, shop: str, customer_id: str) -> str:
    """Whom an actor asks for: a customer for themselves alone. Raises Problem, also where they were
    erased."""
    person = actor.id if actor.role in (Role.CUSTOMER, Role.STAFF, Role.ADMIN) else ""
    whose = person if customer_id == ME else customer_id
    names: ErasedNames = request.app.state.erased
    another = actor.role is Role.CUSTOMER and whose != person
    if not whose or another or names.are_gone(shop, whose):
        raise Problem(404, "unknown_customer", f"there is no customer {customer_id!r}")
    return whose


def without_erased(request: Request, shop: str, answer: Response) -> Response:
    """A learner's answer that lists `customers`, without those who were erased since its models
    were made."""
    names: ErasedNames = request.app.state.erased
    if answer.status_code != 200 or not names.known.count:
        return answer
    found = orjson.loads(bytes(answer.body))
    there = [one for one in found["customers"] if not names.are_gone(shop, one["customer"])]
    return Response(orjson.dumps({**found, "customers": there}), media_type="application/json")


@router.get("/v1/customers/{customer_id}/clv", operation_id="customers_clv")
async def customers_clv(
    request: Request,
    actor: Whoever,
    customer_id: CustomerId,
    horizon: Annotated[int, Query(ge=1, le=3650, description="days ahead")] = 365,
    discount: Annotated[
        float,
        Query(ge=0.0, le=1.0, allow_inf_nan=False, description="a year, of `present_value`"),
    ] = 0.0,
    min_position: MinPosition = [],  # noqa: B006  (FastAPI copies it)
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """What a customer has brought to date, by currency: completed orders less what was given back;
    and what they are expected to bring within `horizon` days.

    Days are of the shop's zone. Whoever has no order has brought nothing. `predicted` is of the
    customer's own currency, that of the first order that was heard of: how many orders, and what
    they are worth, each with the interval that holds four times of five; null where there is no
    order to go by, and while the process that learns is away.
    """
    customer = seen_by(request, actor, actor.shop, customer_id)
    figures: Figures = request.app.state.figures
    async with figures.snapshot(GROUP, min_position, wait) as (transaction, complete_to):
        rows = await customer_value.values(transaction, Ask(actor.shop), [customer])
    asked: Asked = {
        "shop": actor.shop,
        "customer": customer,
        "days": horizon,
        "discount": discount,
        "min_position": await in_the_log(request, min_position, wait),
        "wait": wait,
    }
    values = [{"currency": row["currency"], **value_of(row)} for row in rows]
    return {
        "shop": actor.shop,
        "customer": customer,
        "to_date": {
            "orders": int(sum(row["orders"] for row in rows)),
            "first_day": min(
                (one["first_day"] for one in values if one["first_day"]), default=None
            ),
            "last_day": max((one["last_day"] for one in values if one["last_day"]), default=None),
            "values": values,
        },
        "predicted": await _predicted(request.app.state.learner, asked),
        "complete_to": complete_to,
    }


_PREDICTED = (
    *("as_of", "horizon", "churn", "expected_orders", "orders_median", "orders_80"),
    *("currency", "order_value", "expected_value", "value_median", "value_80"),
    *("discount", "present_value", "model"),
)


async def _predicted(learner: LearnerClient, asked: Asked) -> dict[str, Any] | None:
    try:
        status, body = await learner.told("/customers/outlook", asked, float(asked["wait"] or 0))
    except Away:
        return None
    return {name: body[name] for name in _PREDICTED} if status == 200 else None


@router.get("/v1/customers/{customer_id}/orders", operation_id="customers_orders")
async def customers_orders(
    request: Request,
    actor: Whoever,
    customer_id: CustomerId,
    limit: Limit = 20,
    cursor: Cursor = None,
    min_position: MinPosition = [],  # noqa: B006
    wait: Wait = 2.0,
) -> dict[str, Any]:
    """The completed orders of a customer in short, those of the latest hour first."""
    customer = seen_by(request, actor, actor.shop, customer_id)
    told = parse_cursor(cursor, tuple[_Hour, str])
    before = Place(instant(told[0]), told[1]) if told else None
    figures: Figures = request.app.state.figures
    clock: ShopClock = request.app.state.clock
    async with figures.snapshot(GROUP, min_position, wait) as (transaction, complete_to):
        found = await customer_value.orders_of(
            transaction, clock, actor.shop, customer, limit + 1, before
        )
    paged = page(
        found,
        limit,
        lambda one: one[1],
        lambda one: (int(one[0].hour.timestamp()), one[0].order_id),
        "orders",
    )
    return {"shop": actor.shop, "customer": customer, **paged, "complete_to": complete_to}
