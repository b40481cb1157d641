"""What clients saw: each operation as ok, failed or unknown; and what the log owes them for it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import xxhash

from loadtests.chaos.records import Judged


class Outcome(Enum):
    """What a client knows after its request."""

    OK = "ok"
    FAILED = "failed"
    """It never reached the API, or the API refused it."""
    UNKNOWN = "unknown"
    """No answer, or one that says that it may have been written."""


class Operation(NamedTuple):
    """One request: the ids it sent, and the positions (`orders:3:17`) it was told, one for each,
    with what each said (see `body`)."""

    shop: str
    ids: Sequence[str]
    outcome: Outcome
    positions: Sequence[str] = ()
    bodies: Sequence[int] = ()


def body(kind: str, data: Mapping[str, Any], time: datetime | None) -> int:
    """64 bits that stand for what an event says, if it bears its sender's own time. The currency is
    left out, for the API says the shop's where none was told."""
    said = {name: value for name, value in data.items() if name != "currency"}
    at = None if time is None else time.timestamp()
    text = json.dumps([kind, _plain(said), at], sort_keys=True)
    return xxhash.xxh3_64_intdigest(text.encode())


def _plain(value: Any) -> Any:
    """The same for all ways to say it: 7.5, "7.50" and Decimal("7.5"); what is meant where nothing
    is said, and nothing."""
    if isinstance(value, Mapping):
        return {
            name: _plain(one)
            for name, one in value.items()
            if one not in (None, []) and (name, one) != ("quantity", 1)
        }
    if isinstance(value, list):
        return [_plain(one) for one in value]
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return value
    return str(number.normalize()) if number.is_finite() else value


class Promises(NamedTuple):
    """How the log stands to a history."""

    missing: Sequence[str]
    """Acknowledged, and not where it was said to be, or saying something else there."""
    uncalled: Sequence[str]
    """On the log, though nobody has ever sent it, or each try was refused."""
    outcomes: Mapping[Outcome, int]


def promises(
    history: Iterable[Operation], log: Iterable[Judged], written: Iterable[tuple[str, str]]
) -> Promises:
    """Whether every acknowledged event stands on the log, and nothing that nobody sent, or that
    was refused whenever it was sent. `written` are the (shop, id) of what was written past the
    API."""
    at: dict[str, tuple[str, str]] = {}
    events: dict[str, Mapping[str, Any]] = {}
    for record, _, event in log:
        if event is not None:
            position = f"orders:{record.partition}:{record.offset}"
            at[position] = event["shop"], event["id"]
            events[position] = event
    sent, missing, outcomes = set(written), [], Counter[Outcome]()
    for shop, ids, outcome, positions, bodies in history:
        outcomes[outcome] += 1
        if outcome is not Outcome.FAILED:
            sent.update((shop, event_id) for event_id in ids)
        if outcome is Outcome.OK:
            missing += [
                f"{shop} {event_id} at {position}"
                for event_id, position in zip(ids, positions, strict=True)
                if at.get(position) != (shop, event_id)
            ]
            missing += [
                f"{shop} at {position} as it was said"
                for position, said in zip(positions, bodies, strict=False)
                if position in events and _body(events[position]) != said
            ]
    uncalled = sorted({" ".join(name) for name in at.values() if name not in sent})
    return Promises(missing, uncalled, dict(outcomes))


def _body(event: Mapping[str, Any]) -> int:
    """Of an event on the log."""
    own_time = None if event["time"] == event["received_at"] else event["time"]
    return body(event["type"], event["data"], own_time)
