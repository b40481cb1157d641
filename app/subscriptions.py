"""The whole flow, in one table: which read model or model family hears what, and in which group.

A group's read models share one set of offsets and commit in one transaction, in this order.
`topic` feeds a read model the facts of a topic, which of several are as many rows; `of` feeds it
the changes of an earlier one.
The learners are a group and a process of their own; so are the recommenders, which answer within
milliseconds also while those close a day.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ml_online.anomalies import ANOMALIES
from ml_online.availability import AVAILABILITY
from ml_online.bought_together import BOUGHT_TOGETHER
from ml_online.customer_forecast import CUSTOMERS
from ml_online.family import ModelFamily
from ml_online.feedback import FEEDBACK
from ml_online.models import Heard
from ml_online.month_forecast import MONTHLY_FORECAST
from ml_online.recommender import RECOMMENDER
from ml_online.sales_forecast import SALES_FORECAST
from ml_online.sentiment import SENTIMENT
from ml_online.stock_days import STOCK_DAYS
from ml_online.stock_out_forecast import STOCK_OUTS
from projections.best_sellers import BEST_SELLERS
from projections.calendar import CALENDAR
from projections.cart_activity import CART_ACTIVITY
from projections.cart_lines import CART_LINES
from projections.currency_rates import CURRENCY_RATES
from projections.customer_days import CUSTOMER_DAYS
from projections.days import DAY_CHANGES
from projections.experiment_exposures import EXPERIMENT_EXPOSURES
from projections.experiment_terms import EXPERIMENT_TERMS
from projections.funnel import FUNNEL
from projections.goal_moments import GOAL_MOMENTS
from projections.orders import ORDERS
from projections.rating_days import RATING_DAYS
from projections.ratings import RATINGS
from projections.read_model import ReadModel, Step
from projections.revenue import REVENUE
from projections.sales_lines import SALES_LINES
from projections.sales_minutes import SALES_MINUTES
from projections.sales_periods import SALES_PERIODS
from projections.stock_levels import STOCK_LEVELS
from projections.visitor_hours import VISITOR_HOURS
from projections.visitor_links import VISITOR_LINKS


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
    Subscription("sales", SALES_LINES, of=ORDERS),
    Subscription("sales", SALES_PERIODS, of=ORDERS),
    Subscription("sales", CUSTOMER_DAYS, of=ORDERS),
    Subscription("sales", SALES_MINUTES, of=ORDERS),
    Subscription("activity", VISITOR_LINKS, topic="interactions"),
    Subscription("activity", VISITOR_LINKS, topic="carts"),
    Subscription("activity", VISITOR_LINKS, topic="orders"),
    Subscription("activity", VISITOR_HOURS, of=VISITOR_LINKS),
    Subscription("activity", FUNNEL, of=VISITOR_LINKS),
    Subscription("activity", CART_ACTIVITY, of=VISITOR_LINKS),
    Subscription("activity", CART_LINES, of=VISITOR_LINKS),
    Subscription("activity", GOAL_MOMENTS, of=VISITOR_LINKS),
    Subscription("activity", EXPERIMENT_EXPOSURES, topic="interactions"),
    Subscription("activity", STOCK_LEVELS, topic="catalog"),
    Subscription("activity", RATINGS, topic="catalog"),
    Subscription("activity", RATING_DAYS, of=RATINGS),
    Subscription("activity", CURRENCY_RATES, topic="days"),
    Subscription("activity", CALENDAR, topic="days"),
    Subscription("activity", EXPERIMENT_TERMS, topic="days"),
    Subscription("learners", SALES_FORECAST, topic="days"),
    Subscription("learners", MONTHLY_FORECAST, topic="days"),
    Subscription("learners", BOUGHT_TOGETHER, topic="orders"),
    Subscription("learners", CUSTOMERS, topic="orders"),
    Subscription("learners", CUSTOMERS, topic="days"),
    Subscription("learners", STOCK_DAYS, topic="catalog"),
    Subscription("learners", STOCK_DAYS, topic="days"),
    Subscription("learners", STOCK_OUTS, topic="days"),
    Subscription("learners", ANOMALIES, topic="orders"),
    Subscription("learners", ANOMALIES, topic="interactions"),
    Subscription("learners", ANOMALIES, topic="days"),
    Subscription("learners", SENTIMENT, topic="catalog"),
    Subscription("recommenders", AVAILABILITY, topic="catalog"),
    Subscription("recommenders", FEEDBACK, topic="interactions"),
    Subscription("recommenders", FEEDBACK, topic="carts"),
    Subscription("recommenders", FEEDBACK, topic="orders"),
    Subscription("recommenders", RECOMMENDER, topic="interactions"),
    Subscription("recommenders", RECOMMENDER, topic="carts"),
    Subscription("recommenders", RECOMMENDER, topic="orders"),
    Subscription("recommenders", RECOMMENDER, topic="catalog"),
)

GROUPS = tuple(
    dict.fromkeys(row.group for row in SUBSCRIPTIONS if isinstance(row.model, ReadModel))
)
LEARNERS, RECOMMENDERS = "learners", "recommenders"
LEARNER_GROUPS = (LEARNERS, RECOMMENDERS)
"""Groups of models: one process each learns them."""
ALL_GROUPS = (*GROUPS, *LEARNER_GROUPS)


def topics_of(group: str) -> list[str]:
    """The topics that a group reads."""
    rows = (row for row in SUBSCRIPTIONS if row.group == group)
    return sorted({row.topic for row in rows if row.topic})


def steps_of(group: str) -> list[Step]:
    """What a group does with a batch, in order."""
    steps: dict[str, Step] = {}
    for row in SUBSCRIPTIONS:
        if row.group == group and isinstance(row.model, ReadModel):
            known = steps.get(row.model.name, Step(row.model, (), row.of.name if row.of else None))
            topics = (*known.topics, row.topic) if row.topic else known.topics
            steps[row.model.name] = known._replace(topics=topics)
    return list(steps.values())


def learners_of(group: str) -> list[Heard]:
    """Which model families a group learns, and from which topics."""
    topics: dict[str, list[str]] = {}
    families: dict[str, ModelFamily] = {}
    for row in SUBSCRIPTIONS:
        if row.group == group and isinstance(row.model, ModelFamily) and row.topic:
            families[row.model.name] = row.model
            topics.setdefault(row.model.name, []).append(row.topic)
    return [Heard(family, topics[name]) for name, family in families.items()]
