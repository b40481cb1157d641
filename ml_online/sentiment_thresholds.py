"""Which class is called, by the probabilities of all three: not always the likeliest.

Most reviews praise, and hardly any is neutral: whoever calls the likeliest never calls one neutral.
So each class's probability is weighed first, and the weights are learned: of a grid of them each is
held to every review before it is learned, and the one is taken that has the best macro-F1 among
those whose accuracy is within a hundredth of the best.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLASSES = ("negative", "neutral", "positive")

_NEGATIVE = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_NEUTRAL = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
_GRID = np.array([[a, b, 1.0] for a in _NEGATIVE for b in _NEUTRAL])
_FIRST = 10  # of the grid: what is taken before anything is known, 1.25 and 1.5
_LEAST = 50  # reviews, before another one is taken
_OFTEN = 10  # reviews, between two looks at which is best
_LOSS = 0.01
"""Of accuracy, that may be given for a better macro-F1."""
_PRIOR = 2.0  # in each class, that were neither right nor wrong: so few say little
_ROWS = np.arange(len(_GRID))
_DIAGONAL = np.arange(3)


class Thresholds:
    """Counts of what each of the grid called what, by what it was: [weights, truth, called]."""

    def __init__(self) -> None:
        self._counts = np.zeros((len(_GRID), 3, 3), dtype=np.int64)
        self._learned = 0
        self._best = _FIRST

    def call(self, probabilities: Array) -> int:
        """The class that is called."""
        return int(np.argmax(probabilities * _GRID[self._best]))

    def learn(self, probabilities: Array, truth: int) -> None:
        """How all would have called a review that turned out to be of this class."""
        called = np.argmax(probabilities * _GRID, axis=1)
        self._counts[_ROWS, truth, called] += 1
        self._learned += 1
        if self._learned >= _LEAST and self._learned % _OFTEN == 0:
            self._best = self._chosen()

    def _chosen(self) -> int:
        right = self._counts[:, _DIAGONAL, _DIAGONAL]
        said = self._counts.sum(axis=1) + self._counts.sum(axis=2)
        f1 = (2 * right / (said + 3 * _PRIOR)).mean(axis=1)
        accuracy = right.sum(axis=1) / self._learned
        return int(np.argmax(np.where(accuracy >= accuracy.max() - _LOSS, f1, -1.0)))

    def state(self) -> list[Any]:
        return [self._learned, self._best, self._counts.ravel().tolist()]

    def restore(self, state: Sequence[Any]) -> None:
        self._learned, self._best, counts = state
        self._counts = np.array(counts, dtype=np.int64).reshape(len(_GRID), 3, 3)
