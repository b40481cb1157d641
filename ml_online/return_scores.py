"""How well it was foretold who orders again and how often, week by week, for each horizon."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online import arrays
from ml_online.buying import Array
from ml_online.stock_out_scores import Calibration, ChanceScores

KEPT = 156
"""Weeks that are remembered."""

_SUMS = ("count", "ranked", "auc", "process_auc", "process_squares", "errors", "squares", "said",
         "came", "inside", "levelled")  # fmt: skip


class Judged(NamedTuple):
    """What had been said of some customers, and what came of it."""

    chance: Array
    process_chance: Array
    expected: Array
    process_expected: Array
    low: Array
    high: Array
    orders: Array


class Score(NamedTuple):
    """Over the weeks asked for. `auc` is the mean of the weeks', None where in none of them some
    ordered and some did not; `process` is the purchase process alone; `inside` is the share of the
    counts within their 80 % interval; `aggregate` is how far all that was expected is off."""

    chances: Calibration
    auc: float | None
    process_auc: float | None
    process_brier: float
    mae_orders: float
    rmse_orders: float
    aggregate: float | None
    inside: float


class ReturnScores:
    """Of one horizon."""

    def __init__(self) -> None:
        self._chances = ChanceScores()
        self._days: list[int] = []
        self._sums = np.zeros((0, len(_SUMS)))

    def hear(self, day: int, judged: Judged) -> None:
        """What was said of the weeks that end on this day."""
        count = len(judged.orders)
        if not count:
            return
        ordered = judged.orders > 0
        self._chances.hear(day, judged.chance, ordered.astype(np.float64))
        ranked = 0 < int(ordered.sum()) < count
        errors = judged.expected - judged.orders
        row = [
            count,
            count if ranked else 0,
            auc(judged.chance, ordered) * count if ranked else 0.0,
            auc(judged.process_expected, ordered) * count if ranked else 0.0,
            float(((judged.process_chance - ordered) ** 2).sum()),
            float(np.abs(errors).sum()),
            float((errors**2).sum()),
            float(judged.expected.sum()),
            float(judged.orders.sum()),
            float(((judged.low <= judged.orders) & (judged.orders <= judged.high)).sum()),
            count,
        ]
        self._days = [*self._days, day][-KEPT:]
        self._sums = np.vstack([self._sums, row])[-KEPT:]

    def over(self, first: int, last: int) -> Score | None:
        """The weeks that ended from the first to the last day, an ordinal each."""
        some = [number for number, day in enumerate(self._days) if first <= day <= last]
        chances = self._chances.over(first, last)
        if not some or chances is None:
            return None
        sums = dict(zip(_SUMS, self._sums[some].sum(axis=0).tolist(), strict=True))
        count, ranked = sums["count"], sums["ranked"]
        return Score(
            chances,
            sums["auc"] / ranked if ranked else None,
            sums["process_auc"] / ranked if ranked else None,
            sums["process_squares"] / count,
            sums["errors"] / count,
            float(np.sqrt(sums["squares"] / count)),
            sums["said"] / sums["came"] - 1 if sums["came"] else None,
            sums["inside"] / sums["levelled"],
        )

    def state(self) -> list[Any]:
        return [self._chances.state(), self._days, arrays.dump(self._sums)]

    def restore(self, state: list[Any]) -> None:
        chances, days, sums = state
        self._chances.restore(chances)
        self._days, self._sums = list(days), arrays.load(sums)


def auc(score: Array, outcome: NDArray[np.bool_]) -> float:
    """How likely one with the outcome scores higher than one without; ties count half. There is
    one of each at least."""
    count = int(outcome.sum())
    _, place, alike = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(alike) - (alike - 1) / 2)[place]
    above = ranks[outcome].sum() - count * (count + 1) / 2
    return float(above / (count * (len(score) - count)))
