"""Carts and coupons when several come at one time, on a real Postgres."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest

from app.commands.abandonment import Abandonment
from app.commands.carts import (
    add_line,
    agree_to_prices,
    cart_of,
    change_line,
    merge_carts,
    open_cart,
)
from app.commands.coupons import issue_coupon
from app.commands.execute import Answer, Call, Commands
from app.commands.rates import set_tax_rates
from app.commands.work import Work, encode
from app.domain import coupon as coupons
from app.domain import shopping, stock
from app.domain.aggregate import Told
from app.domain.aggregates import AGGREGATES, OF_EVENT
from app.domain.cart import CART, Cart
from app.domain.category import CATEGORY
from app.domain.coupon import COUPON
from app.domain.offer import Offer
from app.domain.product import PRODUCT
from app.domain.refusal import Conflict
from app.domain.shopping import Shopper
from app.domain.stock import STOCK, Stock
from app.queries.carts import Destination, cart_now
from app.queries.quote import offered, on_sale
from app.queries.states import at_one_moment
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, connect_alone, migrate
from streams import codec
from streams.events import (
    VOCABULARY,
    CategoryAdded,
    CouponIssued,
    ProductDelisted,
    ProductListed,
    TaxRate,
    Variant,
)
from streams.money import Money

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GUEST, OTHERS = "guest", "customer-1"


@pytest.fixture
async def commands(settings: Settings) -> AsyncIterator[Commands]:
    """A schema of the test's own, with a product of two variants in it. After each test its states
    are what its events tell."""
    await migrate(settings.servers.postgres, settings.schema_name)
    pool = await connect(settings.servers.postgres, settings.schema_name, size=8)
    found = Commands(pool, Vault(pool))
    await run(found, _stocked)
    async with asyncio.timeout(90):
        yield found
        await hold_against_events(pool)
        await pool.close()


async def hold_against_events(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Folds what is on its way to the log, and compares it with the states."""
    told: dict[tuple[str, str], Any] = {}
    versions: Counter[tuple[str, str]] = Counter()
    for row in await pool.fetch("SELECT event FROM outbox ORDER BY id"):
        event = codec.decode_envelope(row["event"])
        data = codec.decode_data(event, VOCABULARY[event.type].topic)
        kind = OF_EVENT[type(data)]
        key = kind.table, kind.about[type(data)](data)
        told[key] = kind.evolve(told.get(key), Told(event.time, data, event.person))
        versions[key] += 1
    for kind in AGGREGATES:
        rows = await pool.fetch(f"SELECT id, version, state FROM {kind.table}")
        folded = {key for key in told if key[0] == kind.table}
        assert {(kind.table, row["id"]) for row in rows} == folded
        for row in rows:
            key = kind.table, row["id"]
            assert row["version"] == versions[key]
            assert json.loads(row["state"]) == json.loads(encode(told[key]))


async def _stocked(work: Work) -> Answer:
    await work.find(PRODUCT, "mug")
    await work.load(STOCK, ["blue", "red"])
    variants = [Variant(id=name, price=Money(99_000)) for name in ("blue", "red")]
    work.tell(ProductListed(product_id="mug", name="Mug", currency="EUR", variants=variants))
    for variant in ("blue", "red"):
        work.tell(*stock.receive(Stock("mug", variant), 100))
    return Answer({})


async def run(commands: Commands, handle: Any, at: datetime = AT) -> Any:
    done = await commands.run(Call("main", "", Work.new_id(), b""), at, handle)
    return msgspec.json.decode(done.body)


async def opened(commands: Commands, customer: str | None = None) -> str:
    cart = await run(commands, partial(open_cart, customer=customer))
    return str(cart["cart_id"])


async def added(
    commands: Commands, cart_id: str, variant: str, quantity: int = 1, at: datetime = AT
) -> Any:
    customer = OTHERS if cart_id == await _cart_of(commands, OTHERS) else None
    shopper = Shopper(None, customer) if customer else Shopper(cart_id)
    call = Call("main", "", "c", b"")
    return await run(
        commands, lambda work: add_line(work, call, cart_id, shopper, variant, quantity), at
    )


async def _cart_of(commands: Commands, customer: str) -> str | None:
    async with commands.pool.acquire() as connection:
        return await cart_of(Work(connection, Vault(commands.pool), "main", AT), customer)


async def merged(commands: Commands, cart_id: str) -> None:
    async def handle(work: Work) -> Answer:
        return Answer({"cart": await merge_carts(work, cart_id, OTHERS)})

    await run(commands, handle)


async def state(commands: Commands, cart_id: str) -> Cart:
    async with commands.pool.acquire() as connection:
        work = Work(connection, Vault(commands.pool), "main", AT)
        return (await work.look(CART, [cart_id]))[cart_id]


async def told(commands: Commands) -> Sequence[str]:
    rows = await commands.pool.fetch("SELECT event FROM outbox WHERE topic = 'carts' ORDER BY id")
    return [codec.decode_envelope(row["event"]).type for row in rows]


def quantities(cart: Cart) -> dict[str, int]:
    return {line.variant: line.quantity for line in cart.lines}


async def test_the_last_redemption_of_a_coupon_is_won_by_one(commands: Commands) -> None:
    terms = CouponIssued(coupon_id="LAST", percent="10", limit=3, limit_per_customer=2)
    await run(commands, partial(issue_coupon, terms=terms))
    mug = Offer("mug", "blue", "Mug", Money(99_000), 1)

    async def place(n: int) -> str:
        customer = f"c{n % 5}"

        async def handle(work: Work) -> Answer:
            coupon = await work.get(COUPON, "LAST")
            coupons.check(coupon, [mug], currency="EUR", customer=customer, now=work.now)
            work.tell(*coupons.redeem(coupon, f"o{n}", Money(9900), "EUR"), person=customer)
            return Answer({})

        try:
            await run(commands, handle)
        except Conflict as refusal:
            return refusal.code
        return "placed"

    found = Counter(await asyncio.gather(*(place(n) for n in range(40))))
    assert found == {"placed": 3, "coupon_used_up": 37}


async def test_at_login_a_guests_cart_becomes_the_customers(commands: Commands) -> None:
    guests = await opened(commands)
    await added(commands, guests, "blue", 2)
    await merged(commands, guests)
    own = await _cart_of(commands, OTHERS)
    assert own is not None
    assert quantities(await state(commands, own)) == {"blue": 2}
    again = await opened(commands)
    await added(commands, again, "blue", 3)
    await added(commands, again, "red")
    await merged(commands, again)
    assert quantities(await state(commands, own)) == {"blue": 5, "red": 1}
    assert (await state(commands, again)).merged_into == own


async def test_logging_in_often_at_one_time_merges_once(commands: Commands) -> None:
    guests = await opened(commands)
    await added(commands, guests, "blue", 2)
    await asyncio.gather(*(merged(commands, guests) for _ in range(8)))
    own = await _cart_of(commands, OTHERS)
    assert own is not None
    assert quantities(await state(commands, own)) == {"blue": 2}
    assert (await told(commands)).count("CartMerged") == 1


@asynccontextmanager
async def while_ordered(commands: Commands, cart_id: str) -> AsyncIterator[None]:
    """An order is being made of a cart, until somebody waits for it who looked for it before."""
    locked = asyncio.Event()

    async def order(work: Work) -> Answer:
        cart = await work.get(CART, cart_id)
        work.tell(*shopping.check_out(cart, "o-1"), person=cart.customer)
        locked.set()
        while not await commands.pool.fetchval(_WAITING):
            await asyncio.sleep(0.02)
        return Answer({})

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(commands, order))
        await locked.wait()
        yield


_WAITING = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
            AND query LIKE 'SELECT id, version, state FROM carts %'
    )
"""


async def test_nothing_is_merged_into_a_cart_that_is_ordered_at_this_moment(
    commands: Commands,
) -> None:
    guests, own = await opened(commands), await opened(commands, OTHERS)
    await added(commands, own, "red")
    await added(commands, guests, "blue", 2)
    async with while_ordered(commands, own):
        await merged(commands, guests)
    assert quantities(await state(commands, own)) == {"red": 1}
    new = await _cart_of(commands, OTHERS)
    assert new is not None
    assert quantities(await state(commands, new)) == {"blue": 2}


async def test_who_opens_a_cart_gets_none_that_is_ordered_at_this_moment(
    commands: Commands,
) -> None:
    own = await opened(commands, OTHERS)
    await added(commands, own, "red")
    async with while_ordered(commands, own):
        assert await opened(commands, OTHERS) != own


async def test_merging_never_keeps_anyone_from_logging_in(commands: Commands) -> None:
    await merged(commands, "nowhere")
    await merged(commands, await opened(commands))
    await merged(commands, await opened(commands, "customer-2"))
    assert await _cart_of(commands, OTHERS) is None


@asynccontextmanager
async def looking(settings: Settings, now: datetime, processes: int) -> AsyncIterator[None]:
    """So many processes that look for silent carts, an hour of silence being long."""
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    pool = partial(connect, settings.servers.postgres, settings.schema_name, size=1)
    tasks = [
        asyncio.create_task(Abandonment(alone, pool, HOUR, 0.05, lambda: now).run())
        for _ in range(processes)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_abandoned(commands: Commands, *cart_ids: str) -> None:
    async with asyncio.timeout(60):
        for cart_id in cart_ids:
            while (await state(commands, cart_id)).status != "abandoned":
                await asyncio.sleep(0.05)


async def test_silent_carts_are_abandoned_once_and_revived_by_a_change(
    commands: Commands, settings: Settings
) -> None:
    silent, fresh, empty = [await opened(commands) for _ in range(3)]
    await added(commands, silent, "blue")
    await added(commands, fresh, "blue", at=AT + HOUR)
    async with looking(settings, AT + HOUR, processes=3):
        await until_abandoned(commands, silent)
    assert (await state(commands, fresh)).status == "open"
    assert (await state(commands, empty)).status == "open"
    assert (await told(commands)).count("CartAbandoned") == 1

    await added(commands, silent, "red", at=AT + 2 * HOUR)
    found = await state(commands, silent)
    assert found.status == "open"
    assert quantities(found) == {"blue": 1, "red": 1}
    async with looking(settings, AT + 3 * HOUR, processes=1):
        await until_abandoned(commands, silent, fresh)
    assert Counter(await told(commands))["CartAbandoned"] == 3
    assert Counter(await told(commands))["CartRevived"] == 1


async def test_a_cart_is_ordered_at_prices_that_were_seen_alone(commands: Commands) -> None:
    cart = await state(commands, (await added(commands, await opened(commands), "blue"))["cart_id"])
    shopping.check_prices(cart, {"blue": Money(99_000)})
    with pytest.raises(Conflict, match=r"9\.90 → 12\.00"):
        shopping.check_prices(cart, {"blue": Money(120_000)})


async def listed(commands: Commands, price: int) -> None:
    async def handle(work: Work) -> Answer:
        await work.find(PRODUCT, "mug")
        variants = [Variant(id=name, price=Money(price)) for name in ("blue", "red")]
        work.tell(ProductListed(product_id="mug", name="Mug", currency="EUR", variants=variants))
        return Answer({})

    await run(commands, handle)


async def delisted(commands: Commands) -> None:
    async def handle(work: Work) -> Answer:
        await work.find(PRODUCT, "mug")
        work.tell(ProductDelisted(product_id="mug"))
        return Answer({})

    await run(commands, handle)


async def reserved(commands: Commands, units: int) -> None:
    async def handle(work: Work) -> Answer:
        there = await work.get(STOCK, "blue")
        work.tell(*stock.reserve(there, "o-1", units))
        return Answer({})

    await run(commands, handle)


async def seen(commands: Commands, cart_id: str) -> dict[str, Any]:
    async with at_one_moment(commands.pool, "main") as states:
        return (await cart_now(states, cart_id, Shopper(cart_id), None, AT))[0]


async def test_a_cart_tells_what_has_changed_since_it_was_filled(commands: Commands) -> None:
    cart_id = await opened(commands)
    await added(commands, cart_id, "blue", 3)
    assert (await seen(commands, cart_id))["lines"][0]["changed"] == []

    await listed(commands, 120_000)
    await reserved(commands, 98)
    found = await seen(commands, cart_id)
    assert found["lines"][0] | {"changed": ["price", "out_of_stock"]} == found["lines"][0]
    assert (found["lines"][0]["price"], found["lines"][0]["seen_price"]) == ("12.00", "9.90")
    assert (found["lines"][0]["available"], found["subtotal"]) == (2, "36.00")

    call = Call("main", "", "c", b"")
    await run(commands, lambda work: agree_to_prices(work, call, cart_id, Shopper(cart_id)))
    assert (await seen(commands, cart_id))["lines"][0]["changed"] == ["out_of_stock"]

    await delisted(commands)
    gone = await seen(commands, cart_id)
    assert (gone["lines"][0]["changed"], gone["lines"][0]["price"]) == (["delisted"], None)
    assert gone["subtotal"] == "0.00"
    with pytest.raises(Conflict, match="not for sale"):
        await added(commands, cart_id, "red")
    left = await run(
        commands, lambda work: change_line(work, call, cart_id, Shopper(cart_id), "blue", 1)
    )
    assert left["lines"][0]["quantity"] == 1


async def test_a_rate_and_a_coupon_hold_for_all_below_their_category(commands: Commands) -> None:
    async def handle(work: Work) -> Answer:
        line = ["all", "kitchen", "cups"]
        await work.load(CATEGORY, line)
        for parent, one in zip([None, *line], line, strict=False):
            work.tell(CategoryAdded(category_id=one, name=one, parent=parent))
        await work.find(PRODUCT, "mug")
        variants = [Variant(id="blue", price=Money(100_000))]
        listing = ProductListed(product_id="mug", name="Mug", currency="EUR", variants=variants)
        work.tell(msgspec.structs.replace(listing, category="cups"))
        return Answer({})

    await run(commands, handle)
    rates = [TaxRate(rate="0.20"), TaxRate(rate="0.10", category="kitchen")]
    call = Call("main", "", "c", b"")
    await run(commands, lambda work: set_tax_rates(work, call, "AT", rates))
    cart_id = await opened(commands)
    await added(commands, cart_id, "blue")
    async with at_one_moment(commands.pool, "main") as states:
        found, _ = await cart_now(states, cart_id, Shopper(cart_id), Destination("AT"), AT)
        offers = offered(await on_sale(states, ["blue"]), [("blue", 1)])
    assert found["totals"]["lines"][0]["tax_rate"] == "0.10"
    assert offers[0].categories == ("cups", "kitchen", "all")
