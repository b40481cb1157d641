"""What is answered of what is out of the ordinary: noticed, or missing at this moment."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from app.learner.routing import Answer, Ready, waiting
from ml_online.anomalies import ANOMALIES, Anomalies
from ml_online.metric_watch import LEAST_SLOTS, SLOT_SECONDS, Alert
from ml_online.models import Models

_MOST = 1e15


def anomaly_answers(models: Models, ready: Ready, answer: Answer) -> APIRouter:
    """The route, for the learner's own small API."""
    router = waiting(ready)

    @router.get("/anomalies")
    async def of_shop(shop: str) -> dict[str, Any]:
        known = models.learners[ANOMALIES.name]
        assert isinstance(known, Anomalies)
        found = anomalies(known, shop, datetime.now(UTC))
        return answer(ANOMALIES.name, ANOMALIES.version, **found)

    return router


def anomalies(known: Anomalies, shop: str, now: datetime) -> dict[str, Any]:
    """Open ones first, then the latest; and of each metric whether it is known well enough."""
    found = [_shown(one, missing=True) for one in known.silent(shop, now)]
    noticed = sorted(known.alerts(shop), key=lambda one: (one.ended is not None, -one.until))
    slots = known.watched(shop)
    return {
        "shop": shop,
        "anomalies": found + [_shown(one) for one in noticed],
        "watched": [
            {
                "metric": name,
                "days": count * SLOT_SECONDS // 86_400,
                "ready": count >= LEAST_SLOTS,
            }
            for name, count in slots.items()
        ],
    }


def _shown(alert: Alert, *, missing: bool = False) -> dict[str, Any]:
    parts = [
        {"dimension": dimension, "key": key, "expected": _rounded(mean), "came": _rounded(came)}
        for dimension, key, mean, came in alert.parts
    ]
    return {
        "metric": alert.metric,
        "direction": "more" if alert.came > alert.expected else "less",
        "since": _time(alert.since),
        "until": _time(alert.until),
        "ended": _time(alert.ended) if alert.ended else None,
        "missing": missing,  # nothing says that time goes by: it is of the moment of the question
        "minutes": alert.scale * SLOT_SECONDS // 60,
        "came": _rounded(alert.came),
        "expected": _rounded(alert.expected),
        "low": _rounded(alert.low),
        "high": _rounded(alert.high),
        "digits": round(alert.digits, 1),
        "parts": parts,
        "says": _says(alert, parts),
    }


def _says(alert: Alert, parts: list[dict[str, Any]]) -> str:
    """An alert in words."""
    name = alert.metric.replace("_", " ").replace(":", " in ")
    minutes = alert.scale * SLOT_SECONDS // 60
    whole = (
        f"{name}: {_rounded(alert.came):g} in {minutes} minutes, where "
        f"{_rounded(alert.low):g} to {_rounded(alert.high):g} are usual at that hour of the week"
    )
    of = (
        f"{one['dimension']} {one['key']} {one['came']:g} instead of {one['expected']:g}"
        for one in parts
    )
    return "; ".join([whole, *of])


def _rounded(value: float) -> float:
    return round(min(value, _MOST), 2)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
