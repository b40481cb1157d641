"""Postgres comes back older than the log: commands decide about what was sold since, and what
waited in the backup is not told twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.backup import backup, reconciled, restore
from app.commands.execute import Answer
from app.commands.ordering import Party
from app.commands.placing import NewOrder, place_order
from app.commands.work import Work
from app.domain import stock
from app.domain.refusal import Conflict
from app.domain.stock import STOCK
from app.settings import Settings
from projections.postgres import connect, migrate
from streams.events import Address
from streams.readback import log_ends, read_back
from streams.topics import TOPICS, create_topics, partitions_of
from tests.integration.test_retold import checked, done, list_mugs, relaying

Pool = asyncpg.Pool
ADDRESS = Address(name="Ada Lovelace", lines=["1 Example Street"], city="Berlin", country="DE")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"partitions": 3})


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    async with await connect(servers.postgres, settings.schema_name, size=4) as found:
        yield found


async def order(pool: Pool, name: str, variant: str, quantity: int) -> None:
    new = NewOrder(name, "cash_on_delivery", lines=[(variant, quantity)], shipping_address=ADDRESS)
    await done(pool, lambda work: place_order(work, Party(f"person-of-{name}"), new))


async def receive(pool: Pool, variant: str, quantity: int) -> None:
    async def handle(work: Work) -> Answer:
        work.tell(*stock.receive(await work.get(STOCK, variant), quantity))
        return Answer({})

    await done(pool, handle)


async def states(pool: Pool) -> dict[str, list[Any]]:
    """All rows of states, with their times."""
    tables = ("products", "stock", "shop_orders")
    query = "SELECT id, version, state, created_at, changed_at FROM {} ORDER BY id"
    return {table: list(await pool.fetch(query.format(table))) for table in tables}


async def relayed(settings: Settings, pool: Pool) -> None:
    """What waits is brought to the log."""
    async with asyncio.timeout(60), relaying(settings):
        while await pool.fetchval("SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"):
            await asyncio.sleep(0.05)


async def ids(settings: Settings) -> Counter[str]:
    """How often the log has each event."""
    names = [
        TopicPartition(settings.prefix + topic, number)
        for topic in TOPICS
        for number in range(partitions_of(topic, settings.partitions))
    ]
    kafka = settings.servers.kafka
    return Counter(
        [
            msgspec.json.decode(record.value)["id"]
            async for _, records in read_back(kafka, await log_ends(kafka, names))
            for record in records
        ]
    )


async def differing(settings: Settings, pool: Pool) -> list[str]:
    await relayed(settings, pool)
    found = await checked(settings, pool)
    return [name for name, one in found.items() if one.found.differing]


async def test_commands_go_on_from_what_the_log_tells(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    file = tmp_path / "shop.backup"
    await list_mugs(pool, 3)
    await order(pool, "o-1", "blue-1", 2)
    await relayed(settings, pool)
    await receive(pool, "blue-2", 5)  # waits in the backup, and comes to the log later
    await backup(settings, file)

    await order(pool, "o-2", "blue-1", 4)
    await order(pool, "o-3", "blue-2", 1)
    await relayed(settings, pool)
    said, then = await ids(settings), await states(pool)

    restored = (await restore(settings, file)).reconciled.restated
    assert restored.relayed == 1
    assert restored.states == 4  # two orders, and the stock of two variants
    assert restored.broken == []
    now = await states(pool)
    assert [row for row in now["shop_orders"] if row["id"] == "o-1"] == then["shop_orders"][:1]
    assert now["stock"] == then["stock"]
    assert now["products"] == then["products"]
    # The keys of these persons were lost with Postgres: where the orders go cannot be read.
    assert [(r["id"], r["version"]) for r in now["shop_orders"]] == [
        (r["id"], r["version"]) for r in then["shop_orders"]
    ]
    assert "Lovelace" not in now["shop_orders"][1]["state"]

    with pytest.raises(Conflict):
        await order(pool, "o-4", "blue-1", 4)  # 9 - 2 - 4 are left
    await order(pool, "o-4", "blue-1", 3)
    assert await differing(settings, pool) == []
    assert {*(await ids(settings)).values()} == {1}
    assert said.keys() < (await ids(settings)).keys()


async def test_what_only_the_outbox_has_counts_in_the_states(
    settings: Settings, pool: Pool
) -> None:
    await list_mugs(pool, 2)
    await relayed(settings, pool)
    await receive(pool, "blue-1", 5)
    then = await states(pool)
    # As if the log had lost what it acknowledged last, and Postgres had come back on a replica.
    await pool.execute("UPDATE stock SET version = 1, state = state || '{\"on_hand\": 9}'")
    found = (await reconciled(settings)).restated
    assert (found.relayed, found.states, found.broken) == (0, 1, [])
    assert await states(pool) == then
    assert (await reconciled(settings)).restated.states == 0
    assert await differing(settings, pool) == []


async def test_a_log_without_its_beginning_leaves_states_as_they_are(
    settings: Settings, pool: Pool
) -> None:
    await list_mugs(pool, 1)
    await relayed(settings, pool)
    then = await states(pool)
    names = [TopicPartition(f"{settings.prefix}catalog", number) for number in range(3)]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in names})
    finally:
        await admin.close()
    assert (await reconciled(settings)).restated.states is None
    assert await states(pool) == then
