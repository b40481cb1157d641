"""Counts that fade with event time: what is new weighs more, instead of all that is old being aged.

A count's weight doubles with every half-life, so ratios of weights are those of counts that were
halved, and a late event counts for what it is worth by now. Before weights grow too large for a
float, all of them are divided by the same power of two, which changes no digit.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from typing import Any

_MOST_DOUBLINGS = 600
_LEAST = 2.0**-300


class Clock:
    """How much one weighs at a time, for all counts of one half-life. Times are seconds."""

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.origin: int | None = None

    def one(self, at: float, divide: Callable[[float], None]) -> float:
        """The weight of one; `divide` is told what to multiply every weight by, when it must be."""
        doublings = at / self.half_life
        if self.origin is None:
            self.origin = int(doublings)
        if doublings - self.origin > _MOST_DOUBLINGS:
            by = int(doublings) - self.origin
            self.origin += by
            divide(2.0 ** -min(by, 1074))
        return float(2.0 ** max(doublings - self.origin, -_MOST_DOUBLINGS))


class Fading:
    """Counts by name, at most `most` of them: beyond an eighth more, the lightest are forgotten.

    The `first` heaviest are at hand at any time: weights only grow, so they need not be looked for.
    """

    def __init__(self, half_life: float, most: int, first: int) -> None:
        self.clock = Clock(half_life)
        self.weights: dict[str, float] = {}
        self._most, self._first = most, first
        self.total = 0.0
        self._top: dict[str, float] = {}
        self._top_from = 0.0

    def add(self, name: str, at: float, amount: float = 1.0) -> None:
        """Counts so many more at a time."""
        one = self.clock.one(at, self._divide)  # first: it may divide all weights
        weight = self.weights[name] = self.weights.get(name, 0.0) + amount * one
        self.total += amount * one
        if weight >= self._top_from:
            self._note(name, weight)
        if len(self.weights) > self._most + self._most // 8:
            self.weights = dict(_heaviest(self._most, self.weights.items()))
            self._find()

    def top(self, limit: int) -> list[tuple[str, float]]:
        """The heaviest; beyond the `first` of them this takes looking at all."""
        if limit <= self._first and len(self._top) >= min(limit, len(self.weights)):
            return _heaviest(limit, self._top.items())
        return _heaviest(limit, self.weights.items())

    def _note(self, name: str, weight: float) -> None:
        self._top[name] = weight
        if len(self._top) >= 2 * self._first:
            self._top = dict(_heaviest(self._first, self._top.items()))
            self._top_from = min(self._top.values())

    def _find(self) -> None:
        self._top = dict(_heaviest(self._first, self.weights.items()))
        self._top_from = min(self._top.values()) if len(self._top) == self._first else 0.0

    def _divide(self, by: float) -> None:
        divided = ((name, weight * by) for name, weight in self.weights.items())
        self.weights = {name: weight for name, weight in divided if weight > _LEAST}
        self.total *= by
        self._find()

    def state(self) -> Iterator[Any]:
        yield [self.clock.origin, self.total]
        for name, weight in self.weights.items():
            yield [name, weight]

    def restore(self, state: Iterable[Any]) -> None:
        rows = iter(state)
        self.clock.origin, self.total = next(rows)
        self.weights = {name: float(weight) for name, weight in rows}
        self._find()


def _heaviest(limit: int, found: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return nlargest(limit, found, key=_weight)


def _weight(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]
