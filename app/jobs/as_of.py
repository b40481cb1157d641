"""The job that makes figures of the past: what is asked of it, and doing it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from app.folding import group_of, source_of
from app.jobs.job import Job, JobFailed, Kind, Progress
from app.settings import Settings
from projections import as_of
from projections.as_of import Past, by_topic
from projections.read_model import FoldFailed
from projections.store import ReadModelChanged
from streams.batch import LogChanged, Partition


def asked_of(text: str, pasts: Sequence[Past]) -> Mapping[str, Any]:
    """What a job is told, as JSON: the word that was asked, and what it comes to."""
    return {
        "as_of": text,
        "groups": {
            past.group.name: {
                "tables": past.group.tables,
                "topics": {topic: str(number) for topic, number in past.ids.items()},
                "next_offsets": by_topic(past.offsets),
            }
            for past in pasts
        },
    }


def pasts_of(settings: Settings, asked: Mapping[str, Any]) -> list[Past]:
    """What a job has been told."""
    return [
        Past(
            group_of(settings, name, told["tables"]),
            {
                Partition(topic, number): offset
                for topic, offsets in told["next_offsets"].items()
                for number, offset in enumerate(offsets)
            },
            {topic: UUID(number) for topic, number in told["topics"].items()},
        )
        for name, told in asked["groups"].items()
    ]


async def _run(settings: Settings, job: Job, progress: Progress) -> Mapping[str, Any]:
    """Makes what is not kept yet; records are what is counted."""
    pasts = pasts_of(settings, job.asked)
    total = sum(sum(past.offsets.values()) for past in pasts)
    before, schemas = 0, []
    try:
        for past in pasts:

            def tell(done: int, _of: int, before: int = before) -> None:
                progress.tell(before + done, total)

            made = await as_of.make(past, source_of(settings), settings.as_of_kept, tell)
            schemas.append(made)
            before += sum(past.offsets.values())
    except (LogChanged, FoldFailed, ReadModelChanged) as error:
        raise JobFailed(str(error)) from error
    progress.tell(total, total)
    return {"next_offsets": job.asked["groups"][pasts[0].group.name]["next_offsets"]}


async def _give_up(settings: Settings, job: Job) -> None:
    for past in pasts_of(settings, job.asked):
        await as_of.give_up(past, source_of(settings))


AS_OF = Kind("as_of", _run, _give_up, figures=True, shops_share=True)
