"""Which customers to speak to, and why: segments by what is ahead of them, not by what was."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ml_online.buying import Array
from ml_online.customer_orders import IntArray
from ml_online.customer_outlook import Outlooks

Segment = Literal[
    "new", "most_valuable", "steady", "at_risk", "once", "occasional", "lost"
]  # fmt: skip
SEGMENTS: tuple[Segment, ...] = get_args(Segment)

LIKELY = 0.5
"""Chance of an order from which on one is counted on."""
UNLIKELY = 0.1
"""Below it nobody is waited for."""
FIRST = 0.2
"""The share of customers who are the most valuable, by what they are expected to bring."""

ACTIONS: dict[Segment, str] = {
    "new": "welcome",
    "most_valuable": "reward",
    "steady": "keep",
    "at_risk": "win_back",
    "once": "invite",
    "occasional": "remind",
    "lost": "let_go",
}
SAYS: dict[Segment, str] = {
    "new": "ordered once, within as many days as are looked ahead",
    "most_valuable": f"an order is likely ({LIKELY:.0%} and more), and what they are expected to"
    f" bring is in the first {FIRST:.0%} of their currency",
    "steady": f"an order is likely ({LIKELY:.0%} and more)",
    "at_risk": "ordered more than once, and are silent longer than usual for them",
    "once": "ordered once, longer ago",
    "occasional": "ordered more than once, and are not late",
    "lost": f"an order is unlikely (below {UNLIKELY:.0%})",
}

_WEEK_DAYS = 7
_GONE = 0.5
_HIGH = 2.0
_OFTEN = 5


class Reason(NamedTuple):
    """A word for programs, and what it says of this customer."""

    reason: str
    says: str


def usual_gap(told: Outlooks) -> Array:
    """Weeks between the orders of each; NaN of whoever ordered once."""
    x, t_x, _ = told.buyers
    return np.where(x > 0, t_x / np.maximum(x, 1), np.nan)


def segments(told: Outlooks, days: float) -> IntArray:
    """The segment of each, as a place in SEGMENTS: the first that fits."""
    once = told.buyers.x == 0
    rules: dict[Segment, NDArray[np.bool_]] = {
        "new": once & (told.buyers.age * _WEEK_DAYS <= days),
        "most_valuable": (told.chance >= LIKELY) & _first(told),
        "steady": told.chance >= LIKELY,
        "lost": told.chance < UNLIKELY,
        "at_risk": ~once & (told.silent > np.nan_to_num(usual_gap(told))),
        "once": once,
        "occasional": ~once,
    }
    places = [SEGMENTS.index(segment) for segment in rules]
    return np.select(list(rules.values()), places).astype(np.int64)


def _first(told: Outlooks) -> NDArray[np.bool_]:
    found = np.zeros(len(told.who), dtype=np.bool_)
    for currency in np.unique(told.currency):
        own = told.currency == currency
        found[own] = told.value[own] >= np.quantile(told.value[own], 1 - FIRST)
    return found & (told.value > 0)


def at_risk(told: Outlooks, least: float) -> IntArray:
    """Places of those who ordered more than once and stay away with this chance at least: those
    first of whom most would be lost."""
    churn = 1 - told.chance
    some = np.flatnonzero((told.buyers.x > 0) & (churn >= least))
    return some[np.argsort(-(churn * told.at_stake)[some], kind="stable")]


def reasons(told: Outlooks, place: int, relative_value: float) -> list[Reason]:
    """Why one is in their segment; `relative_value` is their mean order in multiples of the
    shop's."""
    x, silent = int(told.buyers.x[place]), float(told.silent[place]) * _WEEK_DAYS
    found = []
    if x == 0:
        found.append(Reason("ordered_once", f"one order, {silent:.0f} days ago"))
    else:
        gap = float(told.buyers.t_x[place]) * _WEEK_DAYS / x
        apart = f"{x + 1} orders, usually {gap:.0f} days apart"
        if silent > gap:
            found.append(
                Reason("silent_longer_than_usual", f"no order for {silent:.0f} days; {apart}")
            )
        elif x + 1 >= _OFTEN:
            found.append(Reason("orders_often", f"{apart}, the last {silent:.0f} days ago"))
        else:
            found.append(Reason("ordered_again", f"{apart}, the last {silent:.0f} days ago"))
    there = float(told.still_there[place])
    if there < _GONE:
        found.append(Reason("probably_gone", f"still a customer with a chance of {there:.0%}"))
    if relative_value >= _HIGH:
        found.append(
            Reason("large_orders", f"orders are worth {relative_value:.1f} times the usual")
        )
    elif relative_value <= 1 / _HIGH:
        found.append(
            Reason("small_orders", f"orders are worth {relative_value:.2f} times the usual")
        )
    return found
