"""Imports in Postgres."""

from app.imports.carry_out import clear_away, folder_of
from app.imports.reading import Fault
from app.imports.store import Store
from app.jobs import queue
from app.jobs.imports import IMPORT
from app.settings import Settings
from projections.postgres import connect, migrate


async def test_every_row_that_was_not_taken_is_given_out_once(settings: Settings) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with await connect(settings.servers.postgres, settings.schema_name) as pool:
        store = Store(pool)
        await store.create("im-1", "main", "main", "sales.csv", [], {})
        faults = [Fault(0, "", f"order-{number:03}", "it differs") for number in range(100)]
        await store.reject("im-1", faults[::-1])
        found = [
            one for after in range(0, 100, 7) for one in await store.rejections("im-1", 7, after)
        ]
    assert found == faults


async def test_what_a_killed_process_left_has_failed_and_its_files_go(settings: Settings) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with await connect(settings.servers.postgres, settings.schema_name) as pool:
        store = Store(pool)
        for import_id in ("im-killed", "im-job", "im-alive", "im-draft"):
            await store.create(import_id, "main", "main", "sales.csv", [], {})
            folder_of(settings, import_id).mkdir(parents=True)
        await store.turn("im-draft", "draft")
        await queue.ask(pool, IMPORT, "main", {"import_id": "im-job"})
        await pool.execute(
            "UPDATE imports SET updated_at = now() - interval '6 minutes' "
            "WHERE import_id != 'im-alive'"
        )
        await clear_away(settings, store)
        states = [(one.import_id, one.state) for one in await store.listed("main", 10)]
        found = await store.find("im-killed")
    assert dict(states) == {
        "im-killed": "failed",
        "im-job": "received",
        "im-alive": "received",
        "im-draft": "draft",
    }
    assert found is not None
    assert "process" in found.detail
    left = {one.name for one in (settings.home / "imports").iterdir()}
    assert left == {"im-job", "im-alive", "im-draft"}
