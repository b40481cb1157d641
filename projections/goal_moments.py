"""`goal_moments`: when somebody did what an experiment may be about, one row for each moment.

Whether it was after they had come to see their arm is not decided here: that may be told later, on
another partition. It is asked of these moments and the exposures (`experiment_results`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from projections.read_model import Contents, Folded, ReadModel, Setting, Write
from projections.visitor_links import Act

GOALS = frozenset({"ProductClicked", "ProductAddedToWishlist", "ProductAdded", "CheckoutStarted"})
"""Types of events; what is asked of orders is in their own tables."""


def fold(acts: Sequence[Act], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """A row for each moment, sorted by key."""
    found = {
        (act.shop, act.type, act.at.isoformat(), act.visitor) for act in acts if act.type in GOALS
    }
    return Folded(sorted(found))


WRITE = Write(
    """
    INSERT INTO goal_moments (shop, goal, at, visitor)
    SELECT DISTINCT row->>0, row->>1, (row->>2)::timestamptz, row->>3 FROM {rows} AS row
    ORDER BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING
    """
)
_KEY = ("shop", "goal", "at", "visitor")
GOAL_MOMENTS = ReadModel(
    "goal_moments",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join(_KEY)} FROM goal_moments",  # noqa: S608
        of_day="told.at >= asked.starts AND told.at < asked.ends",
    ),
    renamed=(
        """
        UPDATE goal_moments SET visitor = 'v:' || pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND visitor = 'v:' || name
        """,
    ),
)
