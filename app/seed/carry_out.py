"""Carrying out a plan: each step is a command of its own, and what is there already is skipped.

So it can be interrupted at any moment and begun again, also with larger sizes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from app.commands import accounts, catalogue, coupons, ordering, placing, rates, reviews, stock
from app.commands.categories import NewCategory, create_category
from app.commands.execute import Answer, Call, Commands
from app.commands.ordering import Party
from app.commands.work import Work, decode
from app.domain.account import ACCOUNT, SHOP_ITSELF, By
from app.domain.aggregate import Aggregate
from app.domain.category import CATEGORY
from app.domain.coupon import COUPON
from app.domain.order import COMPLETED, DELIVERED, ORDER, PLACED, SHIPPED, Order
from app.domain.product import PRODUCT
from app.domain.refunding import Wanted
from app.domain.refusal import Conflict, Refusal
from app.domain.shipping import SHIPPING_RATES
from app.domain.stock import Stock, receive, set_threshold
from app.domain.tax import TAX_RATES
from app.seed.plan import Plan, PlannedOrder, PlannedProduct, PlannedUser, Step
from app.seed.words import CATEGORIES, RANGES
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, migrate
from streams.events import Data

T = TypeVar("T")
Piece = Coroutine[Any, Any, None]  # of work
S = TypeVar("S", bound=Struct)
Tell = Callable[[str, int, int], None]
"""What is being made, how much of it is there, and how much there is to be."""

AT_ONCE = 8
_LOOKED_AT = 200
_TRIES = 20
_RESTOCKED = 100

SHOPKEEPER = Party("", staff=True)


class Made(NamedTuple):
    """How many commands were carried out, and which orders were not placed, and why."""

    commands: int
    refused: Sequence[str]


class Seeding:
    """Makes one plan's shop."""

    def __init__(self, commands: Commands, shop: str, plan: Plan, hashed: str, tell: Tell) -> None:
        self._commands, self._shop, self._plan = commands, shop, plan
        self._hashed, self._tell = hashed, tell
        self._carried_out = 0
        self._refused: list[str] = []

    async def run(self) -> Made:
        """All of it, in the order in which one needs the other. Raises Refusal, OSError,
        PostgresError."""
        plan, sizes = self._plan, self._plan.sizes
        await self._basics()
        await self._each("products", sizes.products, plan.product, self._products)
        await self._each("users", sizes.users, plan.user, self._users)
        await self._each("orders", sizes.orders, plan.order, self._orders)
        return Made(self._carried_out, self._refused)

    async def _basics(self) -> None:
        """Categories, rates and coupons, before anything is sold."""
        plan, at = self._plan, self._plan.opened
        tree = [NewCategory(one, name) for one, name in CATEGORIES.items()]
        tree += [NewCategory(one.category, one.category.title(), one.parent) for one in RANGES]
        there = await self._there(CATEGORY, [one.category_id for one in tree])
        for new in tree:
            if new.category_id not in there:
                await self._do(at, partial(create_category, new=new))
        taxes, ways = dict(plan.tax_rates()), dict(plan.shipping_rates())
        for country in taxes.keys() - await self._there(TAX_RATES, list(taxes)):
            told = partial(rates.set_tax_rates, country=country, rates=taxes[country])
            await self._do(at, partial(told, call=self._call()))
        for country in ways.keys() - await self._there(SHIPPING_RATES, list(ways)):
            told = partial(rates.set_shipping_rates, country=country, rates=ways[country])
            await self._do(at, partial(told, call=self._call()))
        issued = {coupon.coupon_id: coupon for coupon in plan.coupons()}
        for code in issued.keys() - await self._there(COUPON, list(issued)):
            await self._do(at, partial(coupons.issue_coupon, terms=issued[code]))

    async def _each(
        self,
        what: str,
        count: int,
        planned: Callable[[int], T],
        make: Callable[[Sequence[T]], Awaitable[Iterable[Piece]]],
    ) -> None:
        """Makes what is planned, some at a time."""
        for first in range(0, count, _LOOKED_AT):
            numbers = range(first, min(first + _LOOKED_AT, count))
            await _some_at_once(await make([planned(number) for number in numbers]))
            self._tell(what, numbers.stop, count)

    async def _products(self, planned: Sequence[PlannedProduct]) -> Iterable[Piece]:
        there = await self._there(PRODUCT, [one.listed.product_id for one in planned])
        return [self._product(one) for one in planned if one.listed.product_id not in there]

    async def _product(self, planned: PlannedProduct) -> None:
        listed, opening = planned.listed, planned.opening
        create = partial(catalogue.create_product, listed=listed, opening=opening)
        await self._do(planned.at, create)
        variant = listed.variants[0].id
        await self._stock(variant, planned.at, partial(set_threshold, threshold=planned.threshold))

    async def _stock(
        self, variant: str, at: datetime, decide: Callable[[Stock], list[Data]]
    ) -> None:
        call = self._call()
        change = partial(stock.change_stock, call=call, variant=variant, decide=decide)
        await self._do(at, change)

    async def _users(self, planned: Sequence[PlannedUser]) -> Iterable[Piece]:
        there = await self._there(ACCOUNT, [one.registered.user_id for one in planned])
        return [self._user(one) for one in planned if one.registered.user_id not in there]

    async def _user(self, planned: PlannedUser) -> None:
        registered = planned.registered

        async def register(work: Work) -> Answer:
            return await accounts.register(work, registered, self._hashed, SHOP_ITSELF)

        async def settle(work: Work) -> Answer:
            by = By("customer", registered.user_id)
            call, user_id = self._call(), registered.user_id
            return await accounts.add_address(
                work, call, user_id, planned.address, by, default=True
            )

        await self._do(planned.at, register)
        await self._do(planned.at, settle)

    # Orders.

    async def _orders(self, planned: Sequence[PlannedOrder]) -> Iterable[Piece]:
        there = await self._states(ORDER, [one.new.order_id for one in planned])
        return [self._order(one, there.get(one.new.order_id)) for one in planned]

    async def _order(self, planned: PlannedOrder, order: Order | None) -> None:
        """Places an order, and does with it what is still to be done."""
        if order is None:
            order = await self._place(planned)
        for step in planned.steps:
            if order is None:
                return
            if step.what == "review":
                await self._review(planned, order, step)
            elif step.at >= order.placed_at and _is_due(step.what, order):
                order = await self._step(order, step)

    async def _place(self, planned: PlannedOrder) -> Order | None:
        """None where the shop will not have it."""
        party = Party(planned.user.registered.user_id)
        made: list[Order] = []

        async def place(work: Work) -> Answer:
            answer = await placing.place_order(work, party, planned.new)
            made[:] = [work.state(ORDER, planned.new.order_id)]
            return answer

        for _ in range(_TRIES):
            try:
                await self._do(planned.at, place)
            except Refusal as refusal:
                if "out_of_stock" not in {one.code for one in refusal.all or (refusal,)}:
                    self._refused.append(f"{planned.new.order_id}: {refusal}")
                    return None
                for variant, _ in planned.new.lines:
                    restock = partial(receive, quantity=_RESTOCKED, reason="restocked")
                    await self._stock(variant, planned.at, restock)
            else:
                return made[0]
        return None

    async def _step(self, order: Order, step: Step) -> Order:
        call, order_id = self._call(), order.order_id
        made: list[Order] = []

        async def act(work: Work) -> Answer:
            match step.what:
                case "complete":
                    reference = f"transfer-{order_id}"
                    done = ordering.complete_order(work, call, SHOPKEEPER, order_id, reference)
                case "ship":
                    done = ordering.ship_order(work, call, SHOPKEEPER, order_id, f"s-{order_id}")
                case "deliver":
                    done = ordering.deliver_order(work, call, SHOPKEEPER, order_id)
                case "cancel":
                    done = ordering.cancel_order(work, call, SHOPKEEPER, order_id, step.text)
                case _:
                    wanted = Wanted({order.lines[0].variant: 1})
                    done = ordering.refund_order(
                        work, call, SHOPKEEPER, order_id, wanted, step.text
                    )
            answer = await done
            made[:] = [work.state(ORDER, order_id)]
            return answer

        await self._do(step.at, act)
        return made[0]

    async def _review(self, planned: PlannedOrder, order: Order, step: Step) -> None:
        """What they say of the first thing that they bought, unless they have said so before."""
        person = planned.user.registered.user_id
        product_id = order.lines[0].product_id

        async def write(work: Work) -> Answer:
            return await reviews.write_review(work, product_id, person, step.rating, step.text)

        try:
            await self._do(step.at, write)
        except Conflict:
            return

    # What all of it is made with.

    async def _do(self, at: datetime, handle: Callable[[Work], Awaitable[Answer]]) -> None:
        await self._commands.run(self._call(), at, handle)
        self._carried_out += 1

    def _call(self) -> Call:
        return Call(self._shop, "", Work.new_id(), b"")

    async def _there(self, kind: Aggregate[S], ids: Sequence[str]) -> set[str]:
        return {*await self._states(kind, ids)}

    async def _states(self, kind: Aggregate[S], ids: Sequence[str]) -> dict[str, S]:
        rows = await self._commands.pool.fetch(
            f"SELECT id, state FROM {kind.table} WHERE shop = $1 AND id = ANY($2)",  # noqa: S608
            self._shop,
            list(ids),
        )
        return {row["id"]: decode(kind, row["state"]) for row in rows}


_FROM = {
    "complete": (PLACED,),
    "ship": (COMPLETED,),
    "deliver": (SHIPPED,),
    "cancel": (PLACED, COMPLETED),
    "refund": (DELIVERED,),
}


def _is_due(what: str, order: Order) -> bool:
    """Whether it was not done before."""
    return order.status in _FROM[what] and not (what == "refund" and order.given_back)


async def _some_at_once(work: Iterable[Piece]) -> None:
    """Does all of it, in its order, so many at a time; the first failure ends it."""
    left = iter(work)

    async def do() -> None:
        for one in left:
            await one

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(do())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    finally:
        for one in left:  # which Python would complain of, were they merely dropped
            one.close()


@asynccontextmanager
async def seeding(
    settings: Settings, shop: str, plan: Plan, hashed: str, tell: Tell
) -> AsyncIterator[Seeding]:
    """On the servers of the settings. Raises OSError, PostgresError."""
    postgres, schema = settings.servers.postgres, settings.schema_name
    await migrate(postgres, schema)
    pool = await connect(postgres, schema, size=AT_ONCE)
    keys = await connect(postgres, schema, size=2)
    try:
        yield Seeding(Commands(pool, Vault(keys)), shop, plan, hashed, tell)
    finally:
        await pool.close()
        await keys.close()
