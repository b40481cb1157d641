"""How the chances of running out did, day by day: sums of which any window's scores are made."""

from typing import Any, NamedTuple

import numpy as np

from ml_online import arrays
from ml_online.daily import Array

KEPT = 365
"""Days that are remembered."""

_PARTS = 10
_BRIER, _LOG_LOSS, _COLUMNS = 3 * _PARTS, 3 * _PARTS + 1, 3 * _PARTS + 2
_LEAST = 1e-6  # of a chance, where its logarithm is taken


class Calibration(NamedTuple):
    """Of so many `chances` that are known to have come true or not; a share of `base_rate` did. The
    expected calibration error is that of ten equal parts of [0, 1], of which `parts` says count,
    mean chance and share that came true."""

    chances: int
    base_rate: float
    brier: float
    log_loss: float
    ece: float
    parts: list[tuple[int, float, float]]


class ChanceScores:
    """Sums by the day on which it became known."""

    def __init__(self) -> None:
        self._days: list[int] = []
        self._sums = np.zeros((0, _COLUMNS))

    def hear(self, day: int, chance: Array, outcome: Array) -> None:
        """What was foretold, before its outcome (1.0 or 0.0) was known."""
        if not len(chance):
            return
        part = np.minimum((chance * _PARTS).astype(np.int64), _PARTS - 1)
        sure = np.clip(np.where(outcome > 0, chance, 1 - chance), _LEAST, 1.0)
        row = np.concatenate(
            [
                *(
                    np.bincount(part, weights=weights, minlength=_PARTS)
                    for weights in (np.ones(len(chance)), chance, outcome)
                ),
                [((chance - outcome) ** 2).sum(), -np.log(sure).sum()],
            ]
        )
        self._days = [*self._days, day][-KEPT:]
        self._sums = np.vstack([self._sums, row])[-KEPT:]

    def over(self, first: int, last: int) -> Calibration | None:
        """The days from first to last, both included. None where nothing was known on them."""
        some = [number for number, day in enumerate(self._days) if first <= day <= last]
        if not some:
            return None
        sums = self._sums[some].sum(axis=0)
        count, chances, outcomes = sums[: 3 * _PARTS].reshape(3, _PARTS)
        every = count.sum()
        return Calibration(
            chances=int(every),
            base_rate=float(outcomes.sum() / every),
            brier=float(sums[_BRIER] / every),
            log_loss=float(sums[_LOG_LOSS] / every),
            ece=float(np.abs(chances - outcomes).sum() / every),
            parts=[
                (int(n), float(p / n), float(y / n))
                for n, p, y in zip(count, chances, outcomes, strict=True)
                if n
            ],
        )

    def state(self) -> list[Any]:
        return [self._days, arrays.dump(self._sums)]

    def restore(self, state: list[Any]) -> None:
        days, sums = state
        self._days, self._sums = list(days), arrays.load(sums)
