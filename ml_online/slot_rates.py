"""What a count of ten minutes is usually like at this hour of the week, and how odd one is.

There is a rate for each hour of the week, drawn to that of the hour of the day and to that of all
hours where little is known, and a level, which is quicker than the rates. How much more than a
Poisson's the sums over ten minutes, an hour and six hours vary is learned too. Level and spreads
are River's exponentially weighted means. What is odder than a thousandth is learned as if it were
not: so an incident does not become what is usual.

Amounts of money vary in steps, too: divided by their spread they are like counts.

SciPy is loaded where it works: that takes a second, which only those who learn should spend.
"""

from collections.abc import Sequence
from math import isnan, log10
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from river.stats import EWMean

SCALES = (1, 6, 36)
"""Slots that are looked at together: ten minutes, an hour, six hours."""
HOURS = 168

_DAY_HOURS = 24
_KEPT_OF_WEEK = 0.85  # of what an hour of the week has told, a week later
_DRAWN_TO_ALL, _DRAWN_TO_HOUR = 24.0, 12.0  # slots of one's own that weigh as much
_LEVEL = 1 / 432  # of a level, what one slot has told: three days
_SPREAD = 1 / 1008  # of a spread: a week
_FIRST_SPREAD = 2.0
_FIRST_SWING = 0.02  # of a mean of one: a seventh of it is usual
_CLIPPED = 3.0  # decimal digits of improbability that are learned from, at most
_MOST_OF_SPREAD = 25.0  # of one square, in multiples of the spread


class Usual(NamedTuple):
    """What is to be expected of a value whose variance is `spread` times its mean."""

    mean: float
    spread: float


def oddness(value: float, usual: Usual) -> float:
    """In decimal digits, how improbable it is that there are so few, which is negative, or so many.
    Where nothing is expected, nothing is odd."""
    from scipy import special

    mean, spread = usual
    if mean <= 0 or value == mean:
        return 0.0
    if value < mean:
        return _digits(special.gammaincc(value / spread + 1.0, mean / spread))
    return -_digits(special.gammainc(value / spread, mean / spread))


def _digits(chance: float) -> float:
    return log10(max(float(chance), 1e-300))


def bounds(usual: Usual, digits: float) -> tuple[float, float]:
    """The least and the greatest value that is no more improbable than so many digits."""
    from scipy import special

    mean, spread = usual
    if mean <= 0:
        return 0.0, 0.0
    tail = 10.0**-digits
    low = float(special.pdtrik(tail, mean / spread))
    high = float(special.pdtrik(1.0 - tail, mean / spread)) + 1.0
    return 0.0 if isnan(low) else max(low, 0.0) * spread, high * spread


class Rates:
    """What one count is usually like, per unit of its base: of time, or of another count."""

    def __init__(self) -> None:
        self._sums = [[0.0, 0.0] for _ in range(HOURS)]
        self._spreads = [_mean(_FIRST_SPREAD, _SPREAD) for _ in SCALES]
        self._swings = [(_mean(_FIRST_SWING, _SPREAD), _mean(1.0, _SPREAD)) for _ in SCALES]
        self._came, self._foretold = _mean(1.0, _LEVEL), _mean(1.0, _LEVEL)
        self._hour = -1
        self.slots = 0

    def usual(self, hour: int, base: float) -> float:
        """Of a slot in this hour of the week, with so much of its base."""
        return self._by_rate(hour, base) * self._came.get() / self._foretold.get()

    def _by_rate(self, hour: int, base: float) -> float:
        total, of_all = map(sum, zip(*self._sums, strict=True))
        if of_all <= 0:
            return 0.0
        rate, unit = total / of_all, of_all / max(self.slots, 1)
        same = self._sums[hour % _DAY_HOURS :: _DAY_HOURS]
        for (value, of), drawn in (
            (map(sum, zip(*same, strict=True)), _DRAWN_TO_ALL),
            (self._sums[hour], _DRAWN_TO_HOUR),
        ):
            rate = (value + drawn * unit * rate) / (of + drawn * unit)
        return rate * base

    def around(self, scale: int, mean: float) -> Usual:
        """A mean of a sum over so many slots, with how much more than a Poisson's such sums vary:
        by their spread, and by what whole hours and days are off by, which grows with the mean."""
        number = SCALES.index(scale)
        squares, means = self._swings[number]
        swing = max(0.0, squares.get() / means.get()) if means.get() > 0 else 0.0
        return Usual(mean, max(1.0, self._spreads[number].get(), 1.0 + swing * mean))

    def learn(self, hour: int, base: float, value: float) -> None:
        """One slot more: its value, no odder than may be learned."""
        if hour != self._hour:
            of_hour = self._sums[hour]
            of_hour[:] = [_KEPT_OF_WEEK * one for one in of_hour]
            self._hour = hour
        if (foretold := self._by_rate(hour, base)) > 0:
            self._came.update(value)
            self._foretold.update(foretold)
        self._sums[hour][0] += value
        self._sums[hour][1] += base
        self.slots += 1

    def learn_spread(self, scale: int, value: float, mean: float) -> None:
        """What a sum over so many slots has come to."""
        if mean > 0:
            number = SCALES.index(scale)
            most = _MOST_OF_SPREAD * self.around(scale, mean).spread
            square = min((value - mean) ** 2 / mean, most)
            self._spreads[number].update(square)
            squares, means = self._swings[number]
            squares.update((square - 1.0) * mean)
            means.update(mean * mean)

    @staticmethod
    def clipped(value: float, usual: Usual) -> float:
        """What is learned of a value."""
        if abs(oddness(value, usual)) <= _CLIPPED:
            return value
        low, high = bounds(usual, _CLIPPED)
        return min(max(value, low), high)

    def state(self) -> list[Any]:
        """All of it, as JSON has it."""
        swings = [mean.get() for pair in self._swings for mean in pair]
        spreads = [mean.get() for mean in self._spreads]
        level = [self._came.get(), self._foretold.get()]
        return [self._sums, self._hour, self.slots, spreads, swings, level]

    def restore(self, state: Sequence[Any]) -> None:
        """Goes on from a state."""
        sums, self._hour, self.slots, spreads, swings, level = state
        self._sums = [[float(value), float(base)] for value, base in sums]
        self._spreads = [_mean(float(value), _SPREAD) for value in spreads]
        known = [_mean(float(value), _SPREAD) for value in swings]
        self._swings = list(zip(known[::2], known[1::2], strict=True))
        self._came, self._foretold = (_mean(float(value), _LEVEL) for value in level)


def _mean(value: float, fading: float) -> "EWMean":
    """A mean that has come to this value: of what it was told first, it is that."""
    from river.stats import EWMean  # its import takes seconds, which only those who learn should

    mean = EWMean(fading_factor=fading)
    mean.update(value)
    return mean
