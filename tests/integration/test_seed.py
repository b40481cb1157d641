"""A seeded shop: the same from the same seed, whole however often it was interrupted, and true."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.commands import accounts
from app.seed import carry_out
from app.seed.carry_out import Made, seeding
from app.seed.plan import Plan, Sizes
from app.settings import Settings
from projections.postgres import connect, migrate
from streams.topics import create_topics
from tests.e2e.service import environment, run_cli
from tests.integration.test_retold import PARTITIONS, checked, relaying

Pool = asyncpg.Pool

UNTIL = datetime(2026, 6, 30, 12, tzinfo=UTC)
OPENED = UNTIL - timedelta(days=40)
SIZES = Sizes(users=8, products=12, orders=30)


def plan(sizes: Sizes = SIZES, seed: str = "t") -> Plan:
    return Plan(seed, sizes, OPENED, UNTIL, "EUR")


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
    found = await connect(settings.servers.postgres, settings.schema_name, size=4)
    yield found
    await found.close()


class Interrupted(Exception):
    pass


async def seed(settings: Settings, sizes: Sizes = SIZES, orders: int | None = None) -> Made:
    """Seeds, until there are so many orders."""

    def tell(what: str, done: int, _: int) -> None:
        if what == "orders" and orders is not None and done >= orders:
            raise Interrupted

    async with seeding(settings, "main", plan(sizes), "no hash", tell) as made:
        return await made.run()


def test_a_plan_is_a_function_of_its_seed() -> None:
    one, same, other = plan(), plan(), plan(seed="u")
    assert [one.order(n) for n in range(30)] == [same.order(n) for n in range(30)]
    assert [one.user(n) for n in range(8)] == [same.user(n) for n in range(8)]
    ids = {p.product(n).listed.product_id for p in (one, other) for n in range(12)}
    assert len(ids) == 24


def test_a_larger_plan_has_the_same_products_and_users() -> None:
    larger = plan(Sizes(100, 100, 100))
    assert [plan().product(n) for n in range(12)] == [larger.product(n) for n in range(12)]
    assert [plan().user(n) for n in range(8)] == [larger.user(n) for n in range(8)]


def test_a_shop_is_believable() -> None:
    large = plan(Sizes(300, 60, 600))
    orders = [large.order(n) for n in range(600)]
    assert len({large.user(n).address.country for n in range(300)}) > 12
    assert all(OPENED <= one.at <= UNTIL for one in orders)
    assert all(one.at <= step.at <= UNTIL for one in orders for step in one.steps)
    steps = Counter(step.what for one in orders for step in one.steps)
    assert steps["ship"] > steps["deliver"] > steps["review"] > steps["refund"] > 0
    hours = Counter(one.at.hour for one in orders)
    assert sum(hours[h] for h in range(17, 23)) > 2 * sum(hours[h] for h in range(2, 8))


async def counts(pool: Pool) -> dict[str, int]:
    tables = ("accounts", "products", "stock", "shop_orders", "reviews", "coupons", "categories")
    return {name: await pool.fetchval(f"SELECT count(*) FROM {name}") for name in tables}


async def states(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT id, state ->> 'status' AS status FROM shop_orders ORDER BY id")
    return [(row["id"], row["status"]) for row in rows]


async def test_a_seeded_shop_is_what_its_log_tells(settings: Settings, pool: Pool) -> None:
    async with asyncio.timeout(300):
        made = await seed(settings)
        assert made.refused == []
        found = await counts(pool)
        assert found["accounts"] == 8
        assert found["products"] == 12
        assert found["shop_orders"] == 30
        assert found["reviews"] > 0
        assert len({status for _, status in await states(pool)}) > 1
        async with relaying(settings):
            compared = await checked(settings, pool)
    assert [one for one in compared.values() if one.found.differing] == []


async def test_it_goes_on_where_it_was_interrupted_and_does_nothing_twice(
    settings: Settings, pool: Pool
) -> None:
    async with asyncio.timeout(300):
        with pytest.raises(Interrupted):
            await seed(settings, Sizes(8, 12, 10), orders=10)
        assert (await seed(settings)).commands > 0
        whole = await states(pool)
        assert len(whole) == 30
        again = await seed(settings)
        assert await states(pool) == whole
        assert again.commands == 0


async def test_a_user_and_a_product_that_were_interrupted_are_ended(
    settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise Interrupted

    async with asyncio.timeout(300):
        for where, what in ((carry_out, "set_threshold"), (accounts, "add_address")):
            with monkeypatch.context() as patched:
                patched.setattr(where, what, interrupted)
                with pytest.raises(ExceptionGroup):
                    await seed(settings)
        await seed(settings)
        rows = await pool.fetch("SELECT state -> 'addresses' AS addresses FROM accounts")
        assert len(rows) == 8
        assert all(row["addresses"] for row in rows)
        low = await pool.fetch("SELECT DISTINCT product_id FROM stock WHERE state ? 'threshold'")
        assert len(low) == 12
        assert (await seed(settings)).commands == 0


async def test_the_command_says_what_it_has_made(settings: Settings, pool: Pool) -> None:
    sizes = ("--users", "3", "--products", "4", "--orders", "5", "--days", "20")
    seeding = run_cli(
        *("seed", *sizes, "--seed", "cli"),
        environment=environment(settings),
        stderr=subprocess.PIPE,
    )
    _, said = await asyncio.to_thread(seeding.communicate)
    assert seeding.returncode == 0, said.decode()
    assert "0 orders refused" in said.decode()
    assert (await counts(pool))["shop_orders"] == 5
