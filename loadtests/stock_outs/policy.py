"""What it costs to order as is suggested: late units, and stock that lies about, day by day."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import special

from loadtests.stock_outs.chances import NORMAL, OURS, POISSON, WARM_UP, Today, closes
from loadtests.stock_outs.demand import Market, true_quantiles
from ml_online.daily import Array
from ml_online.stock_outs import demand, quantile, service_of

LEAD, REVIEW = 7, 7
SHORT, OVER = 9.0, 1.0 / 7
"""What a unit costs that is not there when it is asked for, and one that lies over a day."""

PERFECT = "perfect knowledge"

Target = Callable[[Market, Today, float], Array]
_PROTECTED = LEAD + REVIEW


class Cost(NamedTuple):
    """Over the judged days: the share of demand that was met at once, units in stock at the end of
    a day, and what it cost a day, all items together."""

    fill_rate: float
    held: float
    cost: float


def _ours(_: Market, today: Today, level: float) -> Array:
    return today.times.quantile(today.sums[:, _PROTECTED - 1], _PROTECTED, level)


def _normal(_: Market, today: Today, level: float) -> Array:
    mean = today.times.demand(today.sums[:, _PROTECTED - 1], _PROTECTED).mean
    spread = np.sqrt(_PROTECTED * today.day_variance)
    return np.asarray(np.ceil(mean + special.ndtri(level) * spread))


def _poisson(_: Market, today: Today, level: float) -> Array:
    mean = today.times.demand(today.sums[:, _PROTECTED - 1], _PROTECTED).mean
    return quantile(demand(mean, np.zeros_like(mean)), level)


def _perfect(of: Market, today: Today, level: float) -> Array:
    return true_quantiles(of, today.day + 1, _PROTECTED, level)


TARGETS: Mapping[str, Target] = {
    OURS: _ours,
    f"{NORMAL}, √L days": _normal,
    POISSON: _poisson,
    PERFECT: _perfect,
}


def costs(of: Market) -> dict[str, Cost]:
    """Every item is looked at once a week and filled up to the target; what was ordered is there a
    lead time later; what is asked for meanwhile and is not there is owed, and delivered first."""
    items, days = of.demand.shape
    level = service_of(SHORT, OVER * REVIEW)
    stock = {name: np.zeros(items) for name in TARGETS}
    coming = {name: np.zeros((LEAD, items)) for name in TARGETS}
    met, held = dict.fromkeys(TARGETS, 0.0), dict.fromkeys(TARGETS, 0.0)
    begins, asked, judged_days = WARM_UP + LEAD, 0.0, 0
    for today in closes(of):
        day = today.day
        if day < WARM_UP or day + 1 + _PROTECTED > days:
            continue
        counts = day + 1 > begins
        wanted = of.demand[:, day + 1]
        asked += wanted.sum() if counts else 0.0
        judged_days += counts
        for name, target in TARGETS.items():
            due = (day + 1) % LEAD
            stock[name] += coming[name][due]
            coming[name][due] = 0.0
            if not (day - WARM_UP) % REVIEW:
                position = stock[name] + coming[name].sum(axis=0)
                order = np.maximum(0.0, target(of, today, level) - position)
                if day == WARM_UP:
                    stock[name] += order  # nobody begins with nothing
                else:
                    coming[name][due] += order
            at_once = np.clip(stock[name], 0.0, wanted)
            stock[name] -= wanted
            if counts:
                met[name] += at_once.sum()
                held[name] += np.maximum(stock[name], 0.0).sum()
    return {
        name: Cost(
            fill_rate=met[name] / asked,
            held=held[name] / judged_days,
            cost=(SHORT * (asked - met[name]) + OVER * held[name]) / judged_days,
        )
        for name in TARGETS
    }
