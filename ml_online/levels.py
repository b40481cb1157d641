"""Forecasts that add up: a shop's total is the sum of its categories, and of its countries; each
category that of its products; each product that of its variants.

Every series is foretold by itself, and knows something that the others do not. What is closest to
all of them, each weighed by the variance of its own errors, and adds up, is the minimum trace
reconciliation with a diagonal of variances (Wickramasuriya, Athanasopoulos and Hyndman 2019). On a
tree two passes find it, without a matrix: upwards each series is combined with the sum of its parts
by their precisions, downwards what is left over is shared out by their variances.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.daily import Array, Forecasts, IntArray

_LOW, _HIGH = 1, 5  # of the quantiles: an 80 % interval
_WIDTH = 2 * 1.2816  # of it, in standard deviations
_LEAST = 1e-9  # of a variance
_WIDEST = 4.0  # more than remainders differ by


class Level(NamedTuple):
    """Series of one level, in an order in which each level comes after the one `above`: an index,
    −1 at the top, whose one series is the whole. `parent` is each series' row there, −1 where none
    is known: it then stays as it is."""

    forecasts: Forecasts
    above: int
    parent: IntArray


class Whole(NamedTuple):
    """Numbers that add up, in whole units [series, day] and [series, day, quantile]. What has no
    forecast has none of these, which `known` [series] says, and counts for nothing."""

    point: NDArray[np.int64]
    quantiles: NDArray[np.int64]
    known: NDArray[np.bool_]


def add_up(levels: Sequence[Level], unit: float) -> list[Whole]:
    """Each level's forecasts, in multiples of a unit. The points add up exactly, by the largest
    remainders; an interval keeps its width relative to its point."""
    found = _added(levels, unit, range(len(levels)))
    return [_with_intervals(levels[number], one, unit) for number, one in found.items()]


def add_up_one(levels: Sequence[Level], unit: float, wanted: int) -> Whole:
    """The same of one level: all are heard, but shared out is only down to it."""
    path = [wanted]
    while (above := levels[path[0]].above) >= 0:
        path.insert(0, above)
    return _with_intervals(levels[wanted], _added(levels, unit, path)[wanted], unit)


class _Added(NamedTuple):
    """Of one level: what adds up, in its unit and in whole numbers, and who is known."""

    coherent: Array
    whole: NDArray[np.int64]
    known: NDArray[np.bool_]


def _added(levels: Sequence[Level], unit: float, wanted: Iterable[int]) -> dict[int, _Added]:
    """Those that are wanted, each of them after the one above it."""
    points, variances, known = _upwards(levels)
    found: dict[int, _Added] = {}
    for number in wanted:
        level = levels[number]
        if level.above < 0:
            point = np.maximum(points[number], 0.0)
            count = np.rint(point / unit).astype(np.int64)
        else:
            above = found[level.above]
            point = _downwards(level, points[number], variances[number], above.coherent)
            count = _whole(point / unit, level.parent, above.whole)
        found[number] = _Added(point, count, known[number])
    return found


def _with_intervals(level: Level, added: _Added, unit: float) -> Whole:
    intervals = _intervals(level.forecasts, added.coherent, unit)
    return Whole(added.whole, intervals, added.known)


def _upwards(
    levels: Sequence[Level],
) -> tuple[list[Array], list[Array], list[NDArray[np.bool_]]]:
    """Points and variances, each combined with what its parts say; and who is known at all."""
    points, variances, known = [], [], []
    for level in levels:
        told = np.isfinite(level.forecasts.point.sum(axis=1))
        width = level.forecasts.quantiles[..., _HIGH] - level.forecasts.quantiles[..., _LOW]
        points.append(np.where(told[:, None], level.forecasts.point, 0.0))
        variances.append(np.where(told[:, None], np.maximum((width / _WIDTH) ** 2, _LEAST), 0.0))
        known.append(told)
    for number in range(len(levels) - 1, 0, -1):
        above, parent = levels[number].above, levels[number].parent
        size = len(points[above])
        parts = _sums(points[number], parent, size)
        of_parts = _sums(variances[number], parent, size)
        own = variances[above]
        # Who knows nothing by itself is the sum of its parts, and the other way around.
        share = np.divide(own, own + of_parts, out=np.zeros_like(own), where=of_parts > 0)
        share[(own == 0) & (of_parts > 0)] = 1.0
        points[above] = points[above] + share * (parts - points[above])
        variances[above] = np.where(
            of_parts > 0, np.where(own > 0, share * of_parts, of_parts), own
        )
        known[above] = known[above] | (of_parts > 0).any(axis=1)
    return points, variances, known


def _downwards(level: Level, point: Array, variance: Array, whole: Array) -> Array:
    """Points that add up to those above, and are not negative."""
    parent, size = level.parent, len(whole)
    spread = _sums(variance, parent, size)
    left = whole - _sums(point, parent, size)
    share = np.divide(
        variance, spread[parent], out=np.zeros_like(variance), where=spread[parent] > 0
    )
    moved = np.maximum(point + share * left[parent], 0.0)
    parts = _sums(moved, parent, size)[parent]
    scaled = np.divide(whole[parent], parts, out=np.zeros_like(parts), where=parts > 0) * moved
    fitted = np.where(parts > 0, scaled, whole[parent] * share)
    return np.where((parent >= 0)[:, None], fitted, np.maximum(point, 0.0))


def _whole(point: Array, parent: IntArray, whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same in whole numbers, which come to those above."""
    size = len(whole)
    found = np.rint(point).astype(np.int64)
    inside = np.flatnonzero(parent >= 0)
    if not len(inside):
        return found
    lying = parent[inside]
    floors = np.floor(point[inside]).astype(np.int64)
    rests = point[inside] - floors
    left = whole - _sums(floors.astype(np.float64), lying, size).astype(np.int64)
    found[inside] = floors + _shared(left, rests, floors, lying)
    return found


def _shared(
    left: NDArray[np.int64], rests: Array, floors: NDArray[np.int64], parent: IntArray
) -> NDArray[np.int64]:
    """What each gets of what is left over in its parent [series, day]: one for the largest
    remainders. Where the floors come to one too many, as rounding may have it, the smallest gives
    one back."""
    wanted = left[parent]
    found = (_ranks(1 - rests, parent) < wanted).astype(np.int64)
    for day in np.flatnonzero((left < 0).any(axis=0)):
        last = np.where(floors[:, day] == 0, 2.0, 0.0) + rests[:, day]
        found[:, day] -= _ranks(last[:, None], parent)[:, 0] < -wanted[:, day]
    return found


def _ranks(values: Array, parent: IntArray) -> NDArray[np.int64]:
    """From 0 on, of each value among those of its parent, the smallest first [series, day]."""
    order = np.argsort(_WIDEST * parent[:, None] + values, axis=0, kind="stable")
    ranks = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, np.arange(len(parent))[:, None], axis=0)
    return ranks - np.searchsorted(np.sort(parent), parent)[:, None]


def _intervals(forecasts: Forecasts, point: Array, unit: float) -> NDArray[np.int64]:
    """Quantiles that go with a point as those of the forecast went with its own; beside one that
    was next to nothing they are moved with it."""
    own = np.nan_to_num(forecasts.point)
    large = own > unit
    ratio = np.divide(point, own, out=np.ones_like(own), where=large)[..., None]
    moved = np.where(large, 0.0, point - own)[..., None]
    quantiles = np.maximum(np.nan_to_num(forecasts.quantiles) * ratio + moved, 0.0)
    return np.rint(quantiles / unit).astype(np.int64)


def _sums(values: Array, parent: IntArray, size: int) -> Array:
    """[size, day]: the sums of the rows that lie in each."""
    order = np.argsort(parent, kind="stable")
    order = order[np.searchsorted(parent[order], 0) :]  # those that lie in none come first
    found = np.zeros((size, values.shape[1]))
    if len(order):
        lying, begins = np.unique(parent[order], return_index=True)
        found[lying] = np.add.reduceat(values[order], begins, axis=0)
    return found
