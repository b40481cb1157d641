"""The whole flow, in one table: which read model or model family hears what, and in which group.

A group's read models share one set of offsets and commit in one transaction, in this order.
`topic` feeds a read model the facts of a topic; `of` feeds it the changes of an earlier one.
The learners are a group and a process of their own.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ml_online.bought_together import BOUGHT_TOGETHER
from ml_online.family import ModelFamily
from ml_online.models import Heard
from ml_online.sales_forecast import SALES_FORECAST
from projections.best_sellers import BEST_SELLERS
from projections.days import DAY_CHANGES
from projections.orders import ORDERS
from projections.read_model import ReadModel, Step
from projections.revenue import REVENUE


class Subscription(NamedTuple):
    group: str
    model: ReadModel | ModelFamily
    topic: str | None = None
    of: ReadModel | None = None


SUBSCRIPTIONS: Sequence[Subscription] = (
    Subscription("sales", ORDERS, topic="orders"),
    Subscription("sales", REVENUE, of=ORDERS),
    Subscription("sales", BEST_SELLERS, of=ORDERS),
    Subscription("sales", DAY_CHANGES, of=ORDERS),
    Subscription("learners", SALES_FORECAST, topic="days"),
    Subscription("learners", BOUGHT_TOGETHER, topic="orders"),
)

GROUPS = tuple(
    dict.fromkeys(row.group for row in SUBSCRIPTIONS if isinstance(row.model, ReadModel))
)
LEARNERS = "learners"


def topics_of(group: str) -> list[str]:
    """The topics that a group reads."""
    rows = (row for row in SUBSCRIPTIONS if row.group == group)
    return sorted({row.topic for row in rows if row.topic})


def steps_of(group: str) -> list[Step]:
    """What a group does with a batch, in order."""
    return [
        Step(row.model, (row.topic,) if row.topic else (), row.of.name if row.of else None)
        for row in SUBSCRIPTIONS
        if row.group == group and isinstance(row.model, ReadModel)
    ]


def learners_of(group: str) -> list[Heard]:
    """Which model families a group learns, and from which topics."""
    topics: dict[str, list[str]] = {}
    families: dict[str, ModelFamily] = {}
    for row in SUBSCRIPTIONS:
        if row.group == group and isinstance(row.model, ModelFamily) and row.topic:
            families[row.model.name] = row.model
            topics.setdefault(row.model.name, []).append(row.topic)
    return [Heard(family, topics[name]) for name, family in families.items()]
