"""Erasing while others are at it, and after a backup: nobody comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from app.backup import backup, reconciled, restore
from app.commands.execute import Answer
from app.commands.ordering import Party
from app.commands.placing import NewOrder, place_order
from app.commands.work import Work
from app.erasure.erase import erase, find
from app.erasure.job import without_models
from app.settings import Settings
from app.subscriptions import LEARNERS, SUBSCRIPTIONS, steps_of
from app.vault import Erased, Vault
from ml_online import journal
from ml_online.journal import Overtaken
from ml_online.models import Models
from projections import at_once
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.read_model import ReadModel
from projections.store import GroupStore
from streams.batch import Batch, Moved, Part, Partition, Quarantined
from streams.events import Address
from streams.topics import create_topics
from tests import traffic
from tests.integration.test_learners import store_of
from tests.integration.test_retold import checked, done, list_mugs, relaying
from tests.learning import unordered
from tests.sales import AT, facts, line, said

Pool = asyncpg.Pool
ADDRESS = Address(name="Ada Lovelace", lines=["1 Example Street"], city="Berlin", country="DE")
TOPIC = UUID(int=7)
VISITED = ("visitor_links", "visitor_hours", "funnel", "goal_moments", "experiment_exposures")
ADA = '{"shop": "main", "person": "ada", "subject": "s", "data": {"email": "ada@example.com"}}'


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


def part(first: int, *orders: str) -> Part:
    """Orders of Ada's as the next records of a partition, and one record that is none."""
    sold: dict[str, Any] = {"currency": "EUR", "products": [line("p1", "2.00", 2)]}
    events = [
        replace(said("OrderCompleted", order, event_id=order, **sold), person="ada")
        for order in orders
    ]
    read = [replace(fact, offset=first + fact.offset) for fact in facts(events)]
    broken = Quarantined(first + len(read), None, "type", "unknown", b"k", ADA.encode(), 0, "main")
    return Part(
        Partition("orders", 0),
        first=first,
        next=first + len(read) + 1,
        facts=read,
        quarantined=[broken],
        repeated=(),
        last_digest=first,
        until_ms=int(AT.timestamp() * 1000) + first,
    )


async def erased(pool: Pool, person: str) -> dict[str, object]:
    told: list[Answer] = []

    async def handle(work: Work) -> Answer:
        told.append(await erase(work, person))
        return told[-1]

    await done(pool, handle)
    return dict(told[-1].body)


@pytest.mark.parametrize("most", [0, at_once.MOST_RECORDS])
async def test_who_folded_under_the_old_name_folds_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(at_once, "MOST_RECORDS", most)
    store = GroupStore(pool, "sales", steps_of("sales"), ShopClock(ZoneInfo("UTC")))
    await store.register()
    await store.progress({Partition("orders", 0): TOPIC})
    await store.commit(await store.prepare(Batch([part(0, "o1", "o2")], seek=1)))
    late = Batch([part(3, "o3")], seek=1)
    prepared = await store.prepare(late)
    await erased(pool, "ada")
    with pytest.raises(Moved):
        await store.commit(prepared)
    await store.commit(await store.prepare(late))
    rows = await pool.fetch("SELECT customer, sum(orders) FROM customer_days GROUP BY 1")
    ((name, orders),) = rows
    assert name.startswith("erased-")
    assert orders == 3
    for table in ("sales_lines", "orders", "quarantine"):
        for row in await pool.fetch(f"SELECT * FROM {table}"):
            assert '"ada"' not in str(tuple(row.values()))
            assert "'ada'" not in str(tuple(row.values()))
            assert b"ada" not in b"".join(v for v in row.values() if isinstance(v, bytes))


async def test_what_a_visitor_did_is_under_no_name_of_theirs(pool: Pool) -> None:
    """Nowhere, as soon as the transaction has ended: what is folded anew comes later."""
    mug: dict[str, Any] = {"data": {"product_id": "p1", "price": "2.00"}}
    new = {"experiment_id": "x", "arm": "new"}
    known: dict[str, Any] = {"person": "ada-lovelace"}
    visitor = "lovelace-visitor"
    read = traffic.facts(
        [
            traffic.happened("ProductViewed", "e1", visitor, **mug, **known),
            traffic.happened("ProductClicked", "e2", visitor, **mug, **known),
            traffic.happened("ProductAddedToWishlist", "e3", visitor, **mug),
            traffic.happened("ProductClicked", "e4", "somebody", **mug),
            traffic.happened("ExperimentExposed", "e5", visitor, data=new | {"unit": "person"}),
            traffic.happened("ExperimentExposed", "e6", visitor, data=new, **known),
            traffic.happened("ExperimentExposed", "e7", "somebody", data=new),
            traffic.happened(
                "ExperimentExposed", "e8", visitor, data=new | {"unit": "person"}, **known
            ),
        ]
    )
    partition, until_ms = Partition("interactions", 0), int(AT.timestamp() * 1000)
    store = GroupStore(pool, "activity", steps_of("activity"), ShopClock(ZoneInfo("UTC")))
    await store.register()
    await store.progress({partition: TOPIC})
    whole = Part(partition, 0, len(read), read, (), (), 1, until_ms)
    await store.commit(await store.prepare(Batch([whole], seek=1)))
    counted = {name: await pool.fetchval(f"SELECT count(*) FROM {name}") for name in VISITED}
    assert min(counted.values()) > 0
    assert await tables_with(pool, "lovelace") == {
        "visitor_links",
        "visitor_hours",
        "funnel",
        "experiment_exposures",
        "goal_moments",
    }
    await erased(pool, "ada-lovelace")
    assert await tables_with(pool, "lovelace") - {"outbox"} == set()
    for name, rows in counted.items():
        assert await pool.fetchval(f"SELECT count(*) FROM {name}") == rows
    units = await pool.fetch("SELECT unit, ranked FROM experiment_exposures")
    assert len({row["unit"] for row in units}) == 3
    assert {row["ranked"][:10] for row in units} == {"0v:erased-", "1v:somebod"}


async def tables_with(pool: Pool, name: str) -> set[str]:
    """Which tables say it, in whatever column."""
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {
        table
        for (table,) in tables
        if await pool.fetchval(
            f"SELECT EXISTS (SELECT FROM {table} AS told WHERE strpos(told::text, $1) > 0)",
            name,
        )
    }


async def test_no_key_is_made_again(pool: Pool) -> None:
    vault, other = Vault(pool), Vault(pool)
    sealed = await vault.seal("main", "ada", "e1", {"email": "ada@example.com"})
    await vault.seal("second", "ada", "e1", {"email": "ada@example.com"})
    await erased(pool, "ada")
    for one in (other, Vault(pool)):
        with pytest.raises(Erased):
            await one.open("main", "ada", "e1", sealed)
        with pytest.raises(Erased):
            await one.seal("main", "ada", "e2", {"email": "ada@example.com"})
    vault.forget()
    with pytest.raises(Erased):
        await vault.open("main", "ada", "e1", sealed)
    await vault.seal("second", "ada", "e2", {"email": "she of another shop"})
    assert await pool.fetchval("SELECT count(*) FROM person_keys WHERE shop = 'main'") == 0


async def test_a_learner_at_work_keeps_no_record_of_who_was_erased(pool: Pool) -> None:
    learner = store_of(pool, Models(unordered()))
    await learner.progress({Partition("orders", 0): TOPIC})
    await Vault(pool).seal("main", "ada", "e1", {"email": "ada@example.com"})
    await erased(pool, "ada")
    await learner.commit(await learner.prepare(Batch([part(0)], seek=1)))
    [row] = await pool.fetch("SELECT key, value FROM quarantine WHERE group_name = 'learners'")
    assert tuple(row) == (None, None)


async def test_where_models_cannot_be_made_anew_a_learner_at_work_leaves_its_own(
    settings: Settings, pool: Pool
) -> None:
    learner = store_of(pool, Models(unordered()))
    await learner.progress({Partition("orders", 0): TOPIC, Partition("orders", 1): TOPIC})
    await learner.commit(await learner.prepare(Batch([part(0, "o1", "o2")], seek=1)))
    await learner.snapshot()
    await without_models(settings, LEARNERS)
    async with asyncio.timeout(30):
        with pytest.raises(Overtaken):
            await learner.watch_journal()
    with pytest.raises(Overtaken):
        await learner.commit(await learner.prepare(Batch([part(3, "o3")], seek=1)))
    await learner.snapshot()  # as it does at its end
    assert await pool.fetchval("SELECT count(*) FROM learner_snapshots") == 0
    async with pool.acquire() as connection:
        entries = await journal.entries_after(connection, LEARNERS, 0)
    assert journal.leads(entries, 0, {}, {Partition("orders", 0): 3})


async def test_twice_is_once_and_says_the_same(pool: Pool) -> None:
    await Vault(pool).seal("main", "ada", "e1", {"email": "ada@example.com"})
    first = await erased(pool, "ada")
    again = await erased(pool, "ada")
    assert again["erasure_id"] == first["erasure_id"]
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE kind = 'erasure'") == 1


async def test_a_backup_brings_nobody_back(settings: Settings, pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "shop.backup"
    await list_mugs(pool, 1)
    new = NewOrder(
        "o-1", "cash_on_delivery", lines=[("blue-0", 2)], shipping_address=ADDRESS, email="a@b.de"
    )
    await done(pool, lambda work: place_order(work, Party("ada"), new))
    async with relaying(settings):
        await checked(settings, pool)
        await backup(settings, file)
        before = await erased(pool, "ada")
        await checked(settings, pool)  # once all is relayed
    assert (await restore(settings, file)).reconciled.erased == 1
    assert (await reconciled(settings)).erased == 0  # they were erased by now
    known = await find(pool, "main", "ada")
    assert known is not None
    assert str(known.id) != before["erasure_id"]  # that one was lost with what it was in
    assert await pool.fetchval("SELECT count(*) FROM person_keys WHERE person = 'ada'") == 0
    state = await pool.fetchval("SELECT state::text FROM shop_orders")
    assert "Ada" not in state
    assert '"ada"' not in state
    async with relaying(settings):
        found = await checked(settings, pool)
    assert {name: one.found.examples for name, one in found.items() if one.found.differing} == {}


async def test_every_read_model_of_persons_says_how_they_are_renamed(pool: Pool) -> None:
    """Columns that bear names are known by what they are called."""
    named = {"customer", "visitor", "ranked", "target", "person", "unit"}
    rows = await pool.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema()"
    )
    models = {
        row.model.name: row.model for row in SUBSCRIPTIONS if isinstance(row.model, ReadModel)
    }
    bearing = {row["table_name"] for row in rows if row["column_name"] in named} & models.keys()
    bearing -= {"currency_rates"}  # of a currency into its target
    assert len(bearing) > 3
    assert {name for name in bearing if not models[name].renamed} == set()
