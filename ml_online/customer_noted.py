"""Customers of whom it was noted what was said of them, until it is known what became of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ml_online import arrays, buying
from ml_online.buying import Array, Buyers, Rates
from ml_online.customer_orders import GONE, WEEK, CustomerOrders, IntArray, Known
from ml_online.customer_outlook import (
    LEVELS,
    Lessons,
    Said,
    distribution,
    quantiles,
    relative_value,
    said,
)
from ml_online.return_scores import Judged, ReturnScores
from ml_online.returning import Returning, features

HORIZONS = (4, 8, 16, 32, 52)
"""Weeks after which it is looked what became of them."""
MOST_NOTED = 1_000
"""Customers of one shop and week."""

_EARLY = 86_400
"""Seconds by which a week may be shorter than another: clocks are put forward."""


class Noted(NamedTuple):
    """Some customers when a week ended, a day's ordinal; `log_odds` and `chance` [horizon,
    customer] are what was said of them, by `rates`. `who` is GONE of whoever was forgotten."""

    day: int
    ends: int
    rates: Rates
    who: IntArray
    buyers: Buyers
    value: Array
    log_odds: Array
    chance: Array

    def state(self) -> list[Any]:
        columns = (self.who, *self.buyers, self.value, self.log_odds, self.chance)
        return [self.day, self.ends, self.rates, [arrays.dump(one) for one in columns]]

    @classmethod
    def of(cls, state: Sequence[Any]) -> "Noted":
        """The same again."""
        day, ends, rates, columns = state
        who, x, t_x, age, *rest = (arrays.load(one) for one in columns)
        return cls(day, ends, Rates(*rates), who, Buyers(x, t_x, age), *rest)


def note(day: int, ends: int, known: Known, lessons: Lessons, orders: CustomerOrders) -> Noted:
    """What is said now of some of those who are known, chosen by lot."""
    chosen = known.some(orders.sample(known.who, MOST_NOTED, 2 * day + 1))
    value = relative_value(lessons, chosen)
    told = [said(lessons, chosen.buyers, value, weeks) for weeks in HORIZONS]
    return Noted(
        day, ends, lessons.rates, chosen.who, chosen.buyers, value,
        np.stack([one.raw for one in told]), np.stack([one.chance for one in told]),
    )  # fmt: skip


def resolve(
    noted: Sequence[Noted],
    day: int,
    ends: int,
    orders: CustomerOrders,
    returning: Returning,
    scores: Mapping[int, ReturnScores],
) -> list[Noted]:
    """Scores and then learns what became of whom, now that a week has ended. Those who are still
    waited for: weeks that never ended are waited for no longer than any."""
    due = [
        (one, place)
        for one in noted
        for place, weeks in enumerate(HORIZONS)
        if one.day + 7 * weeks == day
    ]
    for one, place in due:
        weeks = HORIZONS[place]
        until = min(one.ends + weeks * WEEK + _EARLY, ends)
        came, _ = orders.between(one.who, one.ends, until)
        _learn(one, place, came, day, returning, scores[weeks])
    return [one for one in noted if one.day + 7 * HORIZONS[-1] > day]


def _learn(
    one: Noted, place: int, came: IntArray, day: int, returning: Returning, scores: ReturnScores
) -> None:
    there, weeks = came >= 0, HORIZONS[place]
    buyers = Buyers(*(column[there] for column in one.buyers))
    raw, chance, orders = one.log_odds[place][there], one.chance[place][there], came[there]
    process = buying.any_purchase(one.rates, buyers, weeks)
    expected = buying.purchases(one.rates, buyers, weeks)
    both = Said(
        raw, chance, expected * (1 + chance / np.maximum(process, 1e-9)) / 2, process, expected
    )
    counts = distribution(one.rates, buyers, both, weeks)
    low, high = quantiles(counts, (LEVELS[0], LEVELS[-1])).astype(np.float64).T
    judged = Judged(chance, process, both.expected, expected, low, high, orders.astype(np.float64))
    scores.hear(day, judged)
    returning.learn(weeks, features(one.rates, buyers, one.value[there], weeks), raw, orders > 0)


def renumbered(noted: list[Noted], numbers: IntArray) -> None:
    """Gives those who are waited for their new numbers."""
    for place, one in enumerate(noted):
        who = np.where(one.who == GONE, GONE, numbers[one.who])
        noted[place] = one._replace(who=who)
