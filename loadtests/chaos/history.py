"""What clients saw: each operation as ok, failed or unknown; and what the log owes them for it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from loadtests.chaos.records import Judged


class Outcome(Enum):
    """What a client knows after its request."""

    OK = "ok"
    FAILED = "failed"
    """It never reached the API, or the API refused it."""
    UNKNOWN = "unknown"
    """No answer, or one that says that it may have been written."""


class Operation(NamedTuple):
    """One request: the ids it sent, and the positions (`orders:3:17`) it was told, one for each."""

    shop: str
    ids: Sequence[str]
    outcome: Outcome
    positions: Sequence[str] = ()


class Promises(NamedTuple):
    """How the log stands to a history."""

    missing: Sequence[str]
    """Acknowledged, and not where it was said to be."""
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
    for record, _, event in log:
        if event is not None:
            at[f"orders:{record.partition}:{record.offset}"] = event["shop"], event["id"]
    sent, missing, outcomes = set(written), [], Counter[Outcome]()
    for shop, ids, outcome, positions in history:
        outcomes[outcome] += 1
        if outcome is not Outcome.FAILED:
            sent.update((shop, event_id) for event_id in ids)
        if outcome is Outcome.OK:
            missing += [
                f"{shop} {event_id} at {position}"
                for event_id, position in zip(ids, positions, strict=True)
                if at.get(position) != (shop, event_id)
            ]
    uncalled = sorted({" ".join(name) for name in at.values() if name not in sent})
    return Promises(missing, uncalled, dict(outcomes))
