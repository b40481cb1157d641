"""`experiment_exposures`: when each unit first came to see an arm of an experiment.

A row is a least time, a best name and whether any of it was a robot's: in any order, and however
often, the same.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from projections.read_model import Contents, Folded, ReadModel, Setting, Write
from projections.visitor_links import names
from streams.codec import Fact
from streams.events import ExperimentExposed


def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What the events tell of each unit and arm, sorted by key."""
    found: dict[tuple[str, str, str, str], tuple[datetime, str, bool]] = {}
    for fact in facts:
        event, data = fact.event, fact.data
        if not isinstance(data, ExperimentExposed):
            continue
        by_person = data.unit == "person" and event.person is not None
        unit = event.person if by_person and event.person else event.subject
        key = event.shop, data.experiment_id, unit, data.arm
        bot = event.context is not None and event.context.bot
        at, ranked, was_bot = found.get(key, (event.time, names(fact)[0], bot))
        found[key] = min(at, event.time), min(ranked, names(fact)[0]), was_bot or bot
    return Folded(
        [(*key, at.isoformat(), ranked, bot) for key, (at, ranked, bot) in sorted(found.items())]
    )


WRITE = Write(
    """
    INSERT INTO experiment_exposures AS known (
        shop, experiment_id, unit, arm, exposed_at, ranked, bot
    )
    SELECT row->>0, row->>1, row->>2, row->>3, (row->>4)::timestamptz, row->>5, (row->>6)::boolean
    FROM {rows} AS row
    ON CONFLICT (shop, experiment_id, unit, arm) DO UPDATE SET
        exposed_at = least(known.exposed_at, excluded.exposed_at),
        ranked = least(known.ranked, excluded.ranked),
        bot = known.bot OR excluded.bot
    """
)
_KEY = ("shop", "experiment_id", "unit", "arm")
EXPERIMENT_EXPOSURES = ReadModel(
    "experiment_exposures",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join(_KEY)}, exposed_at, ranked, bot FROM experiment_exposures",  # noqa: S608
    ),
    renamed=(
        """
        UPDATE experiment_exposures SET unit = pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND unit = name
        """,
        """
        UPDATE experiment_exposures SET ranked = rank || 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym),
            unnest(ARRAY['0', '1']) AS rank
        WHERE shop = $1 AND ranked = rank || 'v:' || name
        """,
    ),
)
