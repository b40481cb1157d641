"""The whole flow, in one table: which read model hears what, and in which group.

A group's read models share one set of offsets and commit in one transaction, in this order.
`topic` feeds a read model the facts of a topic; `of` feeds it the changes of an earlier one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from projections.best_sellers import BEST_SELLERS
from projections.days import DAY_CHANGES
from projections.orders import ORDERS
from projections.read_model import ReadModel, Step
from projections.revenue import REVENUE


class Subscription(NamedTuple):
    group: str
    model: ReadModel
    topic: str | None = None
    of: ReadModel | None = None


SUBSCRIPTIONS: Sequence[Subscription] = (
    Subscription("sales", ORDERS, topic="orders"),
    Subscription("sales", REVENUE, of=ORDERS),
    Subscription("sales", BEST_SELLERS, of=ORDERS),
    Subscription("sales", DAY_CHANGES, of=ORDERS),
)

GROUPS = tuple(dict.fromkeys(row.group for row in SUBSCRIPTIONS))


def topics_of(group: str) -> list[str]:
    """The topics that a group reads."""
    rows = (row for row in SUBSCRIPTIONS if row.group == group)
    return sorted({row.topic for row in rows if row.topic})


def steps_of(group: str) -> list[Step]:
    """What a group does with a batch, in order."""
    return [
        Step(row.model, (row.topic,) if row.topic else (), row.of.name if row.of else None)
        for row in SUBSCRIPTIONS
        if row.group == group
    ]
