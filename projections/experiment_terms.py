"""`experiment_terms`: all that was told of experiments, in the order in which it was.

It is told on `days`, which is one partition: what was told last holds for every reader. What was
told before says what shares the arms had by then.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from projections.read_model import Contents, Folded, ReadModel, Setting, Transaction, Write
from streams import codec
from streams.codec import Fact
from streams.events import (
    ExperimentChanged,
    ExperimentStarted,
    ExperimentStopped,
    ExperimentTerms,
)


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """A row for each event, sorted by key."""
    rows = [
        (
            fact.event.shop,
            fact.data.experiment_id,
            fact.offset,
            fact.event.time.isoformat(),
            isinstance(fact.data, ExperimentStopped),
            codec.raw(fact.data),
        )
        for fact in facts
        if isinstance(fact.data, ExperimentStarted | ExperimentChanged | ExperimentStopped)
    ]
    return Folded(sorted(rows, key=lambda row: row[:3]))


WRITE = Write(
    """
    INSERT INTO experiment_terms (shop, experiment_id, record_offset, told_at, stopped, terms)
    SELECT row->>0, row->>1, (row->>2)::bigint, (row->>3)::timestamptz, (row->>4)::boolean, row->5
    FROM {rows} AS row
    ON CONFLICT (shop, experiment_id, record_offset) DO NOTHING
    """
)
_KEY = ("shop", "experiment_id", "record_offset")
EXPERIMENT_TERMS = ReadModel(
    "experiment_terms",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join(_KEY)}, told_at, stopped, terms::text AS terms FROM experiment_terms",  # noqa: S608
    ),
)


# The query.


class Phase(NamedTuple):
    """From when on the arms had which shares of the units."""

    begins: datetime
    shares: Mapping[str, float]


class Known(NamedTuple):
    """An experiment as it was told by now; the shares that its arms have had, in turn."""

    terms: ExperimentTerms
    started_at: datetime
    phases: Sequence[Phase]
    stopped_at: datetime | None = None
    stopped: ExperimentStopped | None = None


async def experiments(
    transaction: Transaction, shop: str, experiment_id: str | None = None
) -> list[Known]:
    """A shop's experiments, or this one, by their start."""
    told: dict[str, list[Any]] = {}
    for row in await transaction.fetch(_QUERY, shop, experiment_id):
        told.setdefault(row["experiment_id"], []).append(row)
    found = [_known(rows) for rows in told.values() if not rows[0]["stopped"]]
    return sorted(found, key=lambda one: (one.started_at, one.terms.experiment_id))


_QUERY = """
    SELECT experiment_id, told_at, stopped, terms::text AS terms FROM experiment_terms
    WHERE shop = $1 AND ($2::text IS NULL OR experiment_id = $2)
    ORDER BY experiment_id, record_offset
"""


def _known(rows: Sequence[Any]) -> Known:
    terms = [_terms.decode(row["terms"]) for row in rows if not row["stopped"]]
    times = [row["told_at"] for row in rows if not row["stopped"]]
    phases: list[Phase] = []
    for at, one in zip(times, terms, strict=True):
        shares = _shares(one)
        if not phases or phases[-1].shares != shares:
            # Of two processes that were told, one may have a clock that is behind.
            phases.append(Phase(max(at, phases[-1].begins) if phases else at, shares))
    end = next((row for row in rows if row["stopped"]), None)
    if end is None:
        return Known(terms[-1], times[0], phases)
    return Known(terms[-1], times[0], phases, end["told_at"], _end.decode(end["terms"]))


def _shares(terms: ExperimentTerms) -> dict[str, float]:
    whole = terms.spans[-1].until
    found, begun = {one.name: 0.0 for one in terms.arms}, 0
    for span in terms.spans:
        found[span.arm] += (span.until - begun) / whole
        begun = span.until
    return found


_terms = msgspec.json.Decoder(ExperimentTerms)
_end = msgspec.json.Decoder(ExperimentStopped)
