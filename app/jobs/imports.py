"""The job that looks through an import's files, and carries the import out once that is clear."""

from collections.abc import Mapping
from typing import Any

from app.imports.carry_out import Failed, NotApplied, Stopped, Work
from app.imports.carry_out import Progress as Counts
from app.imports.store import Store
from app.jobs.job import Job, JobFailed, Kind, NotNow, Progress
from app.settings import Settings
from projections.postgres import connect

_PATIENCE = 60.0
"""Others wait for the process, too."""


async def _run(settings: Settings, job: Job, progress: Progress) -> Mapping[str, Any]:
    """From the beginning, but for what stands in its row: what was sent is not sent again. Rows
    are counted."""

    def tell(_: str, counts: Counts) -> None:
        progress.tell(counts.added + counts.known + counts.differing, counts.taken)

    pool = await connect(settings.servers.postgres, settings.schema_name, size=3)
    try:
        store = Store(pool)
        work = Work(settings, store, str(job.asked["import_id"]), tell, _PATIENCE)
        try:
            state = await work.state()
            if state == "received":
                state = await work.look()
            if state in ("queued", "running", "applying"):
                await work.run()
            elif state == "cancelled":
                await work.let_go()
        except Stopped:
            await work.let_go()
        except NotApplied as waits:
            raise NotNow(str(waits)) from waits
        except Failed as failed:
            raise JobFailed(str(failed)) from failed
        return {"import_id": job.asked["import_id"], "state": await work.state()}
    finally:
        pool.terminate()


async def _give_up(settings: Settings, job: Job) -> None:
    pool = await connect(settings.servers.postgres, settings.schema_name, size=1)
    try:
        work = Work(settings, Store(pool), str(job.asked["import_id"]), lambda *_: None)
        await work.give_up(job.error or "its job was given up")
    finally:
        pool.terminate()


IMPORT = Kind("import", _run, _give_up)
