"""States held against the log: whatever was changed beside it is named, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import asyncpg
import pytest

from app.commands import catalogue
from app.commands.execute import Answer, Call, Commands
from app.commands.retold import NotRelayed, check_states, shop_of
from app.commands.work import Work
from app.domain import stock
from app.domain.stock import STOCK
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, connect_alone, migrate
from projections.verify import Checked
from streams.events import ProductListed, Variant
from streams.money import Money
from streams.outbox import Relay
from streams.topics import create_topics

PARTITIONS = 3
Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
    found = await connect(settings.servers.postgres, settings.schema_name, size=4)
    yield found
    await found.close()


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[None]:
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    relay = Relay(alone, settings.servers.kafka, PARTITIONS, settings.prefix)
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def checked(settings: Settings, pool: Pool, patience: float = 60.0) -> dict[str, Checked]:
    shop = shop_of(settings)._replace(partitions=PARTITIONS)
    found = await check_states(shop, Vault(pool), patience=patience)
    return {one.read_model: one for one in found}


Handle = Callable[[Work], Awaitable[Answer]]


async def done(pool: Pool, handle: Handle) -> None:
    call = Call("main", "staff/s", "c", b"")
    await Commands(pool, Vault(pool)).run(call, datetime.now(UTC), handle)


async def list_mugs(pool: Pool, count: int, first: int = 0) -> None:
    for number in range(first, count):
        mug = ProductListed(
            product_id=f"mug-{number}",
            name="Mug",
            currency="EUR",
            variants=[Variant(id=f"blue-{number}", price=Money(99_000), options={"b": "x"})],
        )
        opening = {f"blue-{number}": 9}
        await done(pool, partial(catalogue.create_product, listed=mug, opening=opening))


async def test_what_the_log_tells_is_what_is_kept(settings: Settings, pool: Pool) -> None:
    await list_mugs(pool, 30)

    async def receive(work: Work) -> Answer:
        held = await work.get(STOCK, "blue-7")
        work.tell(*stock.receive(held, 5))
        return Answer({})

    await done(pool, receive)
    async with relaying(settings):
        found = await checked(settings, pool)
    assert {name: one.found.keys for name, one in found.items()} == {
        **dict.fromkeys(found, 0),
        "products": 30,
        "stock": 30,
    }
    assert [one for one in found.values() if one.found.differing] == []


MADE_UP = """
    INSERT INTO stock (shop, id, version, state, created_at, changed_at)
    SELECT shop, 'made-up', 1, state, created_at, changed_at FROM stock WHERE id = 'blue-3'
"""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "UPDATE stock SET state = jsonb_set(state, '{on_hand}', '99') WHERE id = 'blue-3'",
            "stock",
        ),
        ("UPDATE products SET version = version + 1 WHERE id = 'mug-3'", "products"),
        ("DELETE FROM products WHERE id = 'mug-3'", "products"),
        (MADE_UP, "stock"),
    ],
)
async def test_what_was_changed_beside_the_log_is_named(
    settings: Settings, pool: Pool, change: str, named: str
) -> None:
    await list_mugs(pool, 5)
    await pool.execute(change)
    async with relaying(settings):
        found = await checked(settings, pool)
    wrong = {name: one.found for name, one in found.items() if one.found.differing}
    assert list(wrong) == [named]
    (example,) = wrong[named].examples
    assert example.key[0] == "main"
    assert example.key[1] in ("blue-3", "mug-3", "made-up")
    assert example.left != example.right


async def test_an_event_that_never_came_to_the_log_is_missed(
    settings: Settings, pool: Pool
) -> None:
    await list_mugs(pool, 3)
    await pool.execute("DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox)")
    async with relaying(settings):
        found = await checked(settings, pool)
    assert [example.key for example in found["stock"].found.examples] == [("main", "blue-2")]
    assert found["stock"].found.examples[0].right is None


async def test_commands_go_on_while_it_is_checked(settings: Settings, pool: Pool) -> None:
    await list_mugs(pool, 3)
    going = True

    async def receive(work: Work) -> Answer:
        held = await work.get(STOCK, "blue-1")
        work.tell(*stock.receive(held, 1))
        return Answer({})

    async def go_on() -> int:
        count = 0
        while going:
            await done(pool, receive)
            count += 1
        return count

    async with relaying(settings):
        load = asyncio.create_task(go_on())
        found = [await checked(settings, pool) for _ in range(2)]
        going = False
        assert await load > 0
    assert [one for each in found for one in each.values() if one.found.differing] == []


async def test_where_nothing_is_relayed_it_says_so(settings: Settings, pool: Pool) -> None:
    await list_mugs(pool, 1)
    with pytest.raises(NotRelayed, match="wait to be relayed"):
        await checked(settings, pool, patience=0.3)
