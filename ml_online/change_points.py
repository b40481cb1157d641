"""Where the level of a daily series changed for good: from one day to the next, by a factor.

The optimal partition of the logarithms into stretches of one level each, by least squares with a
penalty per change (Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
interval", IEEE Signal Processing Letters 12:105-108; what PELT finds, too: Killick, Fearnhead and
Eckley 2012, J. of the American Statistical Association 107:1590-1598). The penalty is that of the
BIC. Days that depend on one another look like changes, so it is raised by what the remainders show
of that; and a series that a straight line tells better has none.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ml_online.month_model import Array

SHORTEST = 14
"""Known days between two changes."""

_PENALTY = 3.0  # a change costs a level, a variance's share and a place, each of them log(n)
_MOST_CORRELATED = 0.8
_ROUNDS = 3


class Change(NamedTuple):
    """From this day on, counted from the series' first: typical values before and after it, until
    the change before and the next one."""

    day: int
    before: float
    after: float


def changes(values: Array) -> list[Change]:
    """Of a series without seasons, none of it below zero, NaN where a day is not known."""
    at = np.flatnonzero(~np.isnan(values))
    if len(at) < 2 * SHORTEST:
        return []
    known = np.maximum(values[at], 0)
    offset = max(1.0, 0.1 * float(known.mean())) if known.any() else 1.0
    logs = np.log(known + offset)
    starts = _settled(logs)
    if _line_is_better(logs, starts):
        return []
    bounds = [0, *starts, len(logs)]
    levels = [float(known[a:b].mean()) for a, b in pairwise(bounds)]
    return [
        Change(int(at[start]), before, after)
        for start, (before, after) in zip(starts, pairwise(levels), strict=True)
    ]


def _settled(logs: Array) -> list[int]:
    """The partition, once what remains after it says no longer that days are more dependent."""
    differences = np.diff(logs)
    noise = float(np.median(np.abs(differences - np.median(differences)))) / 0.6745 / math.sqrt(2)
    variance = max(noise**2, 1e-9)
    starts = _partition(logs, variance)
    for _ in range(_ROUNDS):
        remainder = logs - _levels(logs, starts)
        inflated = max(float(remainder.var()) * _dependence(remainder), 1e-9)
        again = _partition(logs, inflated)
        if again == starts:
            break
        starts = again
    return starts


def _dependence(remainder: Array) -> float:
    """The variance of a mean of days, relative to that of as many independent ones."""
    power = float((remainder**2).sum())
    if not power > 0:
        return 1.0
    correlation = float((remainder[1:] * remainder[:-1]).sum()) / power
    correlation = min(max(correlation, 0.0), _MOST_CORRELATED)
    return (1 + correlation) / (1 - correlation)


def _partition(logs: Array, variance: float) -> list[int]:
    """Where the stretches after the first begin."""
    count = len(logs)
    penalty = _PENALTY * variance * math.log(count)
    sums = np.concatenate([[0], np.cumsum(logs)])
    squares = np.concatenate([[0], np.cumsum(logs**2)])
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    last = np.zeros(count + 1, dtype=np.int64)
    for end in range(SHORTEST, count + 1):
        begin = np.arange(0, end - SHORTEST + 1)
        cost = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)
        total = best[begin] + cost + penalty
        last[end] = int(np.argmin(total))
        best[end] = total[last[end]]
    starts: list[int] = []
    end = count
    while end > 0:
        end = int(last[end])
        starts.append(end)
    return sorted(starts)[1:]


def _levels(logs: Array, starts: Sequence[int]) -> Array:
    found = np.empty_like(logs)
    bounds = [0, *starts, len(logs)]
    for begin, end in pairwise(bounds):
        found[begin:end] = logs[begin:end].mean()
    return found


def _line_is_better(logs: Array, starts: Sequence[int]) -> bool:
    """Whether a straight line leaves less, for what each of them takes to tell."""
    if not starts:
        return False
    at = np.arange(len(logs)) - (len(logs) - 1) / 2
    line = logs.mean() + at * float((at * logs).sum()) / float((at * at).sum())
    return _bic(logs - line, 1) <= _bic(logs - _levels(logs, starts), 2 * len(starts))


def _bic(remainder: Array, parameters: int) -> float:
    count = len(remainder)
    return count * math.log(max(float((remainder**2).mean()), 1e-12)) + parameters * math.log(count)
