"""Who is asked what customers will do: ours as it is served, and others."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from typing import Any, NamedTuple

import msgspec
import numpy as np

from loadtests.evaluate.purchases import Holdout, Purchases, day_name
from ml_online import buying, spending
from ml_online.buying import Array
from ml_online.customer_forecast import Customers
from ml_online.spending import Spenders
from streams.codec import Fact
from streams.events import Data, DayClosed, Event, Line, OrderCompleted
from streams.money import Money

Tick = Callable[[float], None]

PEERS = ("bg_nbd", "lifetimes", "naive_rate", "recency")
NEEDS = {"lifetimes": "lifetimes"}

_SHOP = "evaluated"
_NOON = timedelta(hours=12)
_UNIT = 10_000


class Foretold(NamedTuple):
    """Of each customer of a holdout. `score` ranks them by how likely they order again; what a
    model does not say is None. `inside` [customer, 2] are the ends of an 80 % interval of orders.
    """

    score: Array
    chance: Array | None = None
    orders: Array | None = None
    value: Array | None = None
    interval: Array | None = None


def installed() -> list[str]:
    """The peers that can be asked here."""
    return [name for name in PEERS if name not in NEEDS or find_spec(NEEDS[name])]


def tillstream(
    purchases: Purchases, split: int, horizon: int, holdout: Holdout, tick: Tick
) -> Foretold:
    """The served model, which hears every order and every closed day up to the split, in order."""
    learner = Customers()
    days = max(1, split - int(purchases.day[0]) + 1)
    for fact in _facts(purchases, split):
        learner.learn(fact)
        if fact.topic == "days":
            tick(1 / days)
    told = learner.customers(_SHOP, horizon)
    at = {learner.name_of(_SHOP, int(number)): place for place, number in enumerate(told.who)}
    places = np.array([at[purchases.ids[who]] for who in holdout.who], dtype=np.int64)
    return Foretold(
        told.chance[places],
        told.chance[places],
        told.expected[places],
        told.value[places],
        learner.intervals(_SHOP, horizon)[places].astype(np.float64),
    )


def _facts(purchases: Purchases, split: int) -> Iterator[Fact]:
    """The orders of each day at its noon, and then the day's close."""
    at, count = 0, int(np.searchsorted(purchases.day, split, side="right"))
    for day in range(int(purchases.day[0]), split + 1):
        noon = datetime.combine(date.fromordinal(day), datetime.min.time(), UTC) + _NOON
        while at < count and purchases.day[at] == day:
            order = OrderCompleted(
                order_id=str(at),
                currency="XXX",
                products=[Line(product_id="1", price=Money(round(purchases.value[at] * _UNIT)))],
            )
            whose = purchases.ids[purchases.customer[at]]
            yield _fact("orders", at, noon, order, whose)
            at += 1
        closed = DayClosed(date=day_name(day), positions={}, figures=[])
        yield _fact("days", day, noon + _NOON, closed, None)


def _fact(topic: str, offset: int, at: datetime, data: Data, person: str | None) -> Fact:
    event = Event(
        id=f"{topic}-{offset}",
        type=type(data).__name__,
        shop=_SHOP,
        subject=str(offset),
        time=at,
        received_at=at,
        data=msgspec.Raw(b"{}"),
        person=person,
    )
    return Fact(topic, 0, offset, event, data)


def bg_nbd(_p: Purchases, _s: int, horizon: int, holdout: Holdout, tick: Tick) -> Foretold:
    """BG/NBD and gamma-gamma alone, fitted once to all that is known at the split."""
    weeks, buyers = horizon / 7, holdout.buyers
    rates = buying.fit(buyers, np.ones(len(buyers.x)))
    spenders = Spenders(holdout.orders_before, holdout.mean_before)
    orders = buying.purchases(rates, buyers, weeks)
    tick(1.0)
    return Foretold(
        orders,
        buying.any_purchase(rates, buyers, weeks),
        orders,
        orders * spending.expected_order(spending.fit(spenders), spenders),
    )


def lifetimes(_p: Purchases, _s: int, horizon: int, holdout: Holdout, tick: Tick) -> Foretold:
    """The same by `lifetimes`, which has its gamma-gamma of the repeat buyers' orders alone."""
    import pandas as pd
    from lifetimes import BetaGeoFitter

    x, t_x, age = (pd.Series(column) for column in holdout.buyers)
    weeks = horizon / 7
    process = BetaGeoFitter(penalizer_coef=0.0).fit(x, t_x, age)
    tick(0.5)
    orders = np.asarray(
        process.conditional_expected_number_of_purchases_up_to_time(weeks, x, t_x, age)
    )
    r, alpha = process.params_["r"], process.params_["alpha"]
    there = np.asarray(process.conditional_probability_alive(x, t_x, age)).reshape(-1)
    chance = there * (1 - ((alpha + age) / (alpha + age + weeks)) ** (r + x))
    each = _spent(x, pd.Series(np.maximum(holdout.mean_before, 1e-9)))
    tick(0.5)
    return Foretold(orders, np.asarray(chance), orders, None if each is None else orders * each)


def _spent(x: Any, mean: Any) -> Array | None:
    """What each order is worth by the gamma-gamma of `lifetimes`; None where its fit fails."""
    from lifetimes import GammaGammaFitter
    from lifetimes.utils import ConvergenceError

    again = (x > 0) & (mean > 1e-9)
    for penalty in (0.0, 0.001, 0.01, 0.1):
        try:
            spent = GammaGammaFitter(penalizer_coef=penalty).fit(x[again], mean[again])
        except ConvergenceError:
            continue
        return np.asarray(spent.conditional_expected_average_profit(x, mean))
    return None


def naive_rate(_p: Purchases, _s: int, horizon: int, holdout: Holdout, tick: Tick) -> Foretold:
    """As many orders a day as followed the first since then, each worth what theirs were."""
    days = np.maximum(holdout.buyers.age * 7, 1.0)
    orders = holdout.buyers.x / days * horizon
    tick(1.0)
    return Foretold(orders, -np.expm1(-orders), orders, orders * holdout.mean_before)


def recency(_p: Purchases, _s: int, _h: int, holdout: Holdout, tick: Tick) -> Foretold:
    """Who ordered last comes first; it says nothing else."""
    tick(1.0)
    return Foretold(holdout.buyers.t_x - holdout.buyers.age)


MODELS: dict[str, Callable[[Purchases, int, int, Holdout, Tick], Foretold]] = {
    "tillstream": tillstream,
    "bg_nbd": bg_nbd,
    "lifetimes": lifetimes,
    "naive_rate": naive_rate,
    "recency": recency,
}
