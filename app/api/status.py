"""Seen from outside: is it alive, is it ready, how far is it, and the same for Prometheus."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from app.api import access
from app.api.completeness import RETRY
from app.api.gauges import registry_of
from app.api.problems import Problem
from app.api.watch import Seen, Watch
from app.status import GroupStatus, OutboxStatus, QuarantineStatus
from app.subscriptions import SUBSCRIPTIONS
from streams.log import Log

router = APIRouter(tags=["health"])


@router.get("/health/live", operation_id="health_live", dependencies=[Depends(access.PUBLIC)])
async def health_live() -> dict[str, str]:
    """Answers while the process does, whatever is away."""
    return {"status": "ok"}


@router.get("/health/ready", operation_id="health_ready", dependencies=[Depends(access.PUBLIC)])
async def health_ready(request: Request) -> dict[str, Any]:
    """Answers once events are accepted and figures can be read; a 503 says what is missing.

    Without Redis or the learner, or where Kafka went away later, `missing` says so.
    """
    watch: Watch = request.app.state.watch
    away = kinds((await watch.look()).away)
    log: Log = request.app.state.log
    if not log.ready:
        away.setdefault("kafka", "not reached yet")
    # Whether events are accepted is the producer's to say: a look may just be slow.
    if "postgres" in away or not log.ready:
        errors = [{"field": name, "reason": reason} for name, reason in away.items()]
        missing = ", ".join(away)
        raise Problem(503, "not_ready", f"missing: {missing}", errors, headers=RETRY)
    return {"status": "ok", "missing": sorted(away)}


@router.get("/v1/status", operation_id="status_get", dependencies=[Depends(access.OPERATIONS)])
async def status_get(request: Request) -> dict[str, Any]:
    """How far every read model and learner is, by partition, what waits, and what is wrong.

    `rate` is in records a second, over the last quarter of a minute; `lag` in records, null where
    Kafka does not answer.
    """
    watch: Watch = request.app.state.watch
    return as_json(await watch.look())


def kinds(away: Mapping[str, str]) -> dict[str, str]:
    """Why a server does not answer, in one word: the rest, addresses and all, is in the log."""
    return {name: reason.partition(":")[0] for name, reason in away.items()}


def as_json(seen: Seen) -> dict[str, Any]:
    """What was seen, as the API shows it. Of errors it tells the kind alone: their words may hold
    what stands in an event."""
    failures = [
        {
            "group": one.group,
            "model": one.model,
            "position": str(one.position),
            "event_id": one.event_id,
            "event_type": one.event_type,
            "error": one.error.partition(":")[0],
            "first_at": one.first_at,
            "last_at": one.last_at,
            "times": one.times,
        }
        for one in seen.failures
    ]
    well = not seen.away and not failures and not any(one.unaccounted for one in seen.groups)
    return {
        "status": "ok" if well else "degraded",
        "missing": kinds(seen.away),
        "models": [_model(one, seen) for one in _models(seen)],
        "groups": {one.group: _group(one, seen) for one in seen.groups},
        "failures": failures,
        "quarantine": seen.quarantine and _quarantine(seen.quarantine),
        "outbox": seen.outbox and _outbox(seen.outbox),
        "learner": seen.learner,
        "recommender": seen.recommender,
    }


def _quarantine(found: QuarantineStatus) -> dict[str, int]:
    return {"records": found.records, "waiting": found.waiting}


def _outbox(found: OutboxStatus) -> dict[str, float]:
    return {"waiting": found.waiting, "oldest_seconds": round(found.oldest_seconds, 3)}


def _models(seen: Seen) -> list[tuple[str, str, int]]:
    """Names, groups and the versions of the code, in the order of the table of subscriptions."""
    known = {one.group for one in seen.groups}
    rows = ((row.model, row.group) for row in SUBSCRIPTIONS if row.group in known)
    return list(dict.fromkeys((model.name, group, model.version) for model, group in rows))


def _model(named: tuple[str, str, int], seen: Seen) -> dict[str, Any]:
    """A read model or a model family: those of one group share its offsets. Only a read model has a
    table, and so a generation of it and a version that it was filled by."""
    name, group, code = named
    (of,) = [one for one in seen.groups if one.group == group]
    version, generation = seen.versions.get(name, (code, None))
    return {
        "name": name,
        "group": group,
        "version": version,
        "generation": generation,
        "lag": _lag(of, seen),
        "complete_to": of.complete_to,
        "rate": _rate(of, seen),
        "errors": sum(one.times for one in seen.failures if one.model == name),
    }


def _group(of: GroupStatus, seen: Seen) -> dict[str, Any]:
    return {
        "applied": of.applied,
        "repeated": of.repeated,
        "quarantined": of.quarantined,
        "unaccounted": of.unaccounted,
        "lag": _lag(of, seen),
        "complete_to": of.complete_to,
        "rate": _rate(of, seen),
        "partitions": [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "next_offset": one.next_offset,
                "lag": None if one.end is None else one.lag,
                "applied": one.applied,
                "repeated": one.repeated,
                "quarantined": one.quarantined,
                "complete_to": one.complete_to,
                "rate": round(seen.rates.get((of.group, one.partition), 0.0), 2),
            }
            for one in of.partitions
        ],
    }


def _lag(of: GroupStatus, seen: Seen) -> int | None:
    return None if "kafka" in seen.away else of.lag


def _rate(of: GroupStatus, seen: Seen) -> float:
    rates: Mapping[Any, float] = seen.rates
    return round(sum(rates.get((of.group, one.partition), 0.0) for one in of.partitions), 2)


@router.get(
    "/metrics",
    operation_id="metrics_get",
    response_class=Response,
    dependencies=[Depends(access.OPERATIONS)],
)
async def metrics_get(request: Request) -> Response:
    """For Prometheus: this process's own counters, and the whole as Postgres and Kafka have it."""
    watch: Watch = request.app.state.watch
    registry = await registry_of(await watch.look(), request.app.state.pool)
    body = generate_latest(REGISTRY) + generate_latest(registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
