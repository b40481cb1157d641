"""A shop's forecasts of one measure and currency, at all levels, which add up: as things are
planned, or as they would be if more were.

Days do not depend on one another, nor does a series on what is planned for others until they are
added up. So of a supposition only those series are foretold anew whose inputs it changes, and only
those days, and the one before and after; only these days are added up again.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ml_online.daily import HORIZON, Array, Forecasts, IntArray, Mask
from ml_online.levels import Level, Whole, add_up, add_up_one
from ml_online.sales_series import LEVELS, TEN_THOUSAND, Kind, Measure, ShopSeries
from streams.events import SalesLevel

UNIT = 100
"""What is shown: hundredths of a currency or of a unit, in ten-thousandths."""

_ABOVE: Mapping[SalesLevel, SalesLevel] = {
    "country": "total",
    "category": "total",
    "product": "category",
    "variant": "product",
}

Known = Callable[[Kind], Array]
"""What is known of the days ahead, [series, HORIZON, input]."""


class ShopForecast(NamedTuple):
    """By level: what is known of the days ahead [series, HORIZON, input], what each series was
    foretold by itself, and what adds up."""

    known: Mapping[SalesLevel, Array]
    alone: Mapping[SalesLevel, Forecasts]
    whole: Mapping[SalesLevel, Whole]


def foretold(
    shop: ShopSeries, measure: Measure, currency: str, known: Known, contender: str | None = None
) -> ShopForecast:
    """The next HORIZON days, at each level by who is served there; or at all by this contender."""
    plans: dict[SalesLevel, Array] = {}
    alone: dict[SalesLevel, Forecasts] = {}
    for level in LEVELS:
        kind = Kind(measure, currency, level)
        if kind in shop.kinds:
            plans[level] = known(kind)
            forecaster = shop.kinds[kind].forecaster
            alone[level] = forecaster.forecast(HORIZON, plans[level], contender=contender)
    whole = _added(shop, Kind(measure, currency, "total"), alone)
    return ShopForecast(plans, alone, whole)


def supposed(
    shop: ShopSeries, kind: Kind, planned: ShopForecast, known: Known, horizon: int
) -> Whole:
    """What would be foretold of a kind's series if something else were known of the next days; of
    those after the horizon nothing changes."""
    plans = {level: known(kind._replace(level=level)) for level in planned.known}
    changed = {level: _beside(plan != planned.known[level]) for level, plan in plans.items()}
    days = np.flatnonzero(np.any([one.any(axis=0) for one in changed.values()], axis=0)[:horizon])
    whole = planned.whole[kind.level]
    if not len(days):
        return whole
    alone: dict[SalesLevel, Forecasts] = {}
    for level, before in planned.alone.items():
        point, quantiles = before.point[:, days], before.quantiles[:, days]
        rows = np.flatnonzero(changed[level][:, days].any(axis=1))
        if len(rows):
            forecaster = shop.kinds[kind._replace(level=level)].forecaster
            plan = plans[level][rows]
            found = forecaster.forecast(ahead=plan, rows=rows.tolist(), days=(days + 1).tolist())
            point[rows], quantiles[rows] = found
        alone[level] = Forecasts(point, quantiles)
    tree = _tree(shop, kind, alone)
    if kind.level in tree:
        place = list(tree).index(kind.level)
        found_days = add_up_one(list(tree.values()), UNIT / TEN_THOUSAND, place)
    else:
        found_days = _by_itself(alone[kind.level])
    found_whole = Whole(whole.point.copy(), whole.quantiles.copy(), whole.known)
    found_whole.point[:, days] = found_days.point
    found_whole.quantiles[:, days] = found_days.quantiles
    return found_whole


def _beside(changed: Mask) -> Mask:
    """Which days' inputs change [series, day, input], and those beside them [series, day]."""
    days: Mask = np.any(changed, axis=2, keepdims=True)[..., 0]
    found = days.copy()
    found[:, 1:] |= days[:, :-1]
    found[:, :-1] |= days[:, 1:]
    return found


def _added(
    shop: ShopSeries, kind: Kind, forecasts: Mapping[SalesLevel, Forecasts]
) -> Mapping[SalesLevel, Whole]:
    """By level, what adds up, and what stands by itself."""
    tree = _tree(shop, kind, forecasts)
    whole = dict(zip(tree, add_up(list(tree.values()), UNIT / TEN_THOUSAND), strict=True))
    alone = {level: _by_itself(one) for level, one in forecasts.items() if level not in tree}
    return {**whole, **alone}


def _tree(
    shop: ShopSeries, kind: Kind, forecasts: Mapping[SalesLevel, Forecasts]
) -> dict[SalesLevel, Level]:
    """The levels that add up. Where one has more series than are kept, it stands by itself, and so
    does what lies in it."""
    tree: dict[SalesLevel, Level] = {}
    for level, alone in forecasts.items():
        of_level, above = kind._replace(level=level), _ABOVE.get(level)
        if above is None:
            tree[level] = Level(alone, -1, _nowhere(alone))
        elif above in tree and not shop.kinds[of_level].full:
            parent = _parents(shop, of_level, of_level._replace(level=above))
            tree[level] = Level(alone, list(tree).index(above), parent)
    return tree


def _by_itself(forecasts: Forecasts) -> Whole:
    (found,) = add_up([Level(forecasts, -1, _nowhere(forecasts))], UNIT / TEN_THOUSAND)
    return found


def _nowhere(forecasts: Forecasts) -> IntArray:
    return np.full(len(forecasts.point), -1, dtype=np.int64)


def _parents(shop: ShopSeries, kind: Kind, above: Kind) -> IntArray:
    """The rows of a kind's series in the level above; −1 where that is not known."""
    row_of = {key: row for row, key in enumerate(shop.kinds[above].begun)}
    if above.level == "total":
        return np.full(len(shop.kinds[kind].begun), row_of[""], dtype=np.int64)
    parents = shop.parents.get(kind.level, {})
    rows = (row_of.get(parents.get(key, ""), -1) for key in shop.kinds[kind].begun)
    return np.fromiter(rows, dtype=np.int64)
