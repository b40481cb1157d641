"""One metric of a shop, slot by slot: what is noticed of it, and what that mostly comes from."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field

from ml_online.slot_rates import SCALES, Rates, Usual, bounds, oddness

SLOT_SECONDS = 600
LEAST_SLOTS = 14 * 144
"""Two weeks are learned before anything is noticed."""
DIGITS = 5.0
"""How improbable what is noticed is, at least: one in a hundred thousand."""
SURE = 2.0
"""Of the range that is shown: 98 % lie within it."""
MOST_KEYS = 200
WINDOW = SCALES[-1]

_QUIET_SLOTS = 6
_QUIET = 3.0
_SHOWN = 3
_FADING = 0.995  # of a share, in a slot: a day halves it
_OFF = 1.0  # digits from which on a single slot is not as usual

Count = dict[str, float]
Split = dict[str, Count]  # by dimension, by key


class Part(NamedTuple):
    """A key of a dimension, what it was expected to have of a value, and what it had."""

    dimension: str
    key: str
    expected: float
    came: float


class Alert(Struct, array_like=True):
    """Times are seconds since 1970; `scale` counts the slots that were looked at together."""

    metric: str
    since: int
    until: int
    scale: int
    came: float
    expected: float
    low: float
    high: float
    digits: float
    parts: list[list[Any]] = field(default_factory=list)
    ended: int | None = None
    quiet: int = 0


class Metric:
    """One metric of a shop: its rates, its last slots, its usual shares, and what goes on."""

    def __init__(self, both_ways: bool = True) -> None:
        self.rates = Rates()
        self.recent: list[tuple[float, float, Split]] = []  # came, expected, made of
        self.shares: Split = {}
        self.open: Alert | None = None
        self.both_ways = both_ways

    def close(
        self, name: str, slot: int, hour: int, base: float, value: float, made: Split
    ) -> Alert | None:
        """One slot more; what is noticed by it."""
        mean = self.rates.usual(hour, base)
        self.recent.append((value, mean, made))
        del self.recent[:-WINDOW]
        warm = self.rates.slots >= LEAST_SLOTS
        found = [self._sum(scale) for scale in SCALES]
        odd = [oddness(came, usual) for came, usual in found]
        noticed = self._judge(name, slot, found, odd) if warm else None
        for scale, (came, usual) in zip(SCALES, found, strict=True):
            if len(self.recent) >= scale and slot % scale == 0:
                self.rates.learn_spread(scale, came, usual.mean)
        usual = found[0][1]
        self.rates.learn(hour, base, self.rates.clipped(value, usual) if warm else value)
        self._learn_shares(made)
        return noticed

    def _sum(self, scale: int) -> tuple[float, Usual]:
        last = self.recent[-scale:]
        mean = sum(one[1] for one in last)
        return sum(one[0] for one in last), self.rates.around(scale, mean)

    def _judge(
        self, name: str, slot: int, found: Sequence[tuple[float, Usual]], odd: Sequence[float]
    ) -> Alert | None:
        if self.open is not None:
            calm = max(map(abs, odd[:2])) < _QUIET
            self.open.quiet = self.open.quiet + 1 if calm else 0
            if self.open.quiet >= _QUIET_SLOTS:
                self.open.ended = (slot + 1 - _QUIET_SLOTS) * SLOT_SECONDS
                self.open = None
            return None
        number = max(range(len(SCALES)), key=lambda one: abs(odd[one]))
        if abs(odd[number]) < DIGITS or (odd[number] < 0 and not self.both_ways):
            return None  # that fewer are refused harms nobody
        (came, usual), scale = found[number], min(SCALES[number], len(self.recent))
        low, high = bounds(usual, SURE)
        self.open = Alert(
            name,
            self._since(slot, scale, came > usual.mean) * SLOT_SECONDS,
            (slot + 1) * SLOT_SECONDS,
            scale,
            came,
            usual.mean,
            low,
            high,
            abs(odd[number]),
            [list(part) for part in self._parts(scale, came, usual.mean)],
        )
        return self.open

    def _since(self, slot: int, scale: int, more: bool) -> int:
        """The first of the slots that were off to this side, after those that were not."""
        first = slot - scale + 1
        for came, mean, _ in self.recent[-scale:]:
            odd = abs(oddness(came, self.rates.around(1, mean)))
            if (came > mean) == more and odd > _OFF:
                break
            first += 1
        return min(first, slot)

    def _parts(self, scale: int, came: float, mean: float) -> list[Part]:
        """The keys that are furthest from their usual share, to the side of the whole."""
        side = 1 if came > mean else -1
        found = []
        for dimension, shares in sorted(self.shares.items()):
            total = sum(shares.values())
            had: Count = defaultdict(float)
            for _, _, made in self.recent[-scale:]:
                for key, value in made.get(dimension, {}).items():
                    had[key] += value
            if total <= 0 and not had:
                continue
            for key in sorted({*shares, *had}):
                expected = mean * shares.get(key, 0.0) / total if total > 0 else 0.0
                found.append(Part(dimension, key, expected, had.get(key, 0.0)))
        found.sort(key=lambda part: (-side * (part.came - part.expected), part[:2]))
        return [part for part in found if side * (part.came - part.expected) > 0][:_SHOWN]

    def _learn_shares(self, made: Split) -> None:
        for dimension, counts in made.items():
            shares = self.shares.setdefault(dimension, {})
            for key in shares:
                shares[key] *= _FADING
            for key, value in counts.items():
                shares[key] = shares.get(key, 0.0) + value
            if len(shares) > MOST_KEYS:
                for key in sorted(shares, key=lambda one: (shares[one], one))[: MOST_KEYS // 4]:
                    del shares[key]
