"""The job that an erasure asks for: who asks need not know the models, as who does it must."""

from uuid import UUID

from app.jobs import queue
from app.jobs.job import Job, Kind, Progress
from app.settings import Settings
from projections.read_model import Transaction


async def _run(settings: Settings, job: Job, progress: Progress) -> dict[str, object]:
    from app.erasure.job import run  # and with it River

    return await run(settings, job, progress)


ERASURE_JOB = Kind("erasure", _run)


async def ask(transaction: Transaction, shop: str, number: UUID) -> None:
    """Models are to be made anew without whoever was erased."""
    await queue.ask(transaction, ERASURE_JOB, shop, {"erasure_id": str(number)}, str(number))
