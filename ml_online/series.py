"""One series of a shop's closed days, and the features that a forecast is made from.

Days are ordinals, values are ten-thousandths of a currency. A series goes up to its shop's last
closed day; a value of it is absolute and may be put again.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from ml_online.scores import HORIZON, SEASON, Made, Tally

HISTORY = 400
"""Days of history that are kept."""
MENDED = 56
"""Days after which a correction mends history, but no scores any more."""
FIRST_FORECAST = SEASON
"""Days of history that it takes."""

_WEEKS = 8
_LEVEL, _MONTH, _WEEK = 56, 28, 7
_LARGEST_RATIO = 6.0


class Series(Struct, array_like=True):
    """Values from the day `begin` on, what was foretold at the last closes, and how well."""

    begin: int
    values: list[int] = field(default_factory=list)
    naive_sum: int = 0  # of the seasonal naive's absolute errors, since the series began
    naive_count: int = 0
    made: list[tuple[int, Made]] = field(default_factory=list)  # by the day of their origin
    tallies: list[Tally] = field(default_factory=lambda: [Tally() for _ in range(HORIZON)])

    def append(self, value: int) -> None:
        """One more day."""
        self.values.append(value)
        if len(self.values) > SEASON:
            self.naive_sum += abs(value - self.values[-1 - SEASON])
            self.naive_count += 1
        if len(self.values) > HISTORY:
            del self.values[0]
            self.begin += 1

    def put(self, day: int, value: int) -> None:
        """Another value of a day that is over, and of what was scored on it. Days before the kept
        history stay as they were, and days without a sale before the first begin no series: of a
        history read into a living shop come years of them."""
        if day < self.begin:
            if value:
                self._extend(day, value)
            return
        at = day - self.begin
        old = self.values[at]
        if old == value:
            return
        self._naive_around(at, -1)
        self.values[at] = value
        self._naive_around(at, 1)
        for origin, made in self.made:
            if 0 < day - origin <= HORIZON:
                tally = self.tallies[day - origin - 1]
                tally.add(made, day - origin, old, -1)
                tally.add(made, day - origin, value)

    def _extend(self, day: int, value: int) -> None:
        """The series is older than was known: nothing was sold between."""
        missing = self.begin - day
        if len(self.values) + missing > HISTORY:
            return
        self.values[:0] = [value] + [0] * (missing - 1)
        self.begin = day
        errors = [
            abs(new - old) for old, new in zip(self.values, self.values[SEASON:], strict=False)
        ]
        self.naive_sum, self.naive_count = sum(errors), len(errors)

    def _naive_around(self, at: int, sign: int) -> None:
        """Counts the naive's errors in which a day takes part, or takes them back."""
        for before in (at - SEASON, at):
            if before >= 0 and before + SEASON < len(self.values):
                error = abs(self.values[before + SEASON] - self.values[before])
                self.naive_sum += sign * error

    def score(self, day: int, actual: int) -> None:
        """Scores all that was foretold for a day. To be called before its value is appended."""
        for origin, made in self.made:
            if 0 < day - origin <= HORIZON:
                self.tallies[day - origin - 1].add(made, day - origin, actual)

    def keep(self, origin: int, made: Made) -> None:
        """Keeps what was foretold at the close of a day, until it can be mended no more."""
        self.made.append((origin, made))
        while self.made[0][0] < origin - HORIZON - MENDED:
            del self.made[0]

    @property
    def scale(self) -> int:
        """The mean absolute error of the seasonal naive up to now; 0 where there is none."""
        return self.naive_sum // self.naive_count if self.naive_count else 0


class Features(Struct, frozen=True):
    """A forecast's ground: the mean of the same weekdays, relative to the level of the series."""

    level: float
    usual: float
    x: dict[str, float]


def features(values: Sequence[int], origin: int, horizon: int) -> Features | None:
    """What is known at values[origin] about the day `horizon` ahead. None where nothing sold."""
    level = _mean(values, origin, _LEVEL)
    if level <= 0:
        return None
    last = origin + horizon - SEASON * -(-horizon // SEASON)  # the last one of that weekday
    weekdays = values[
        last % SEASON if last < SEASON * _WEEKS else last - SEASON * (_WEEKS - 1) : last
        + 1 : SEASON
    ]
    usual = _ratio(sum(weekdays) / len(weekdays), level)
    recent = weekdays[-4:]
    return Features(
        level,
        usual,
        {
            "usual": usual,
            "recent": _ratio(sum(recent) / len(recent), level) - usual,
            "last": _ratio(weekdays[-1], level) - usual,
            "week": usual * (_ratio(_mean(values, origin, _WEEK), level) - 1),
            "month": usual * (_ratio(_mean(values, origin, _MONTH), level) - 1),
        },
    )


def target(value: int, ground: Features) -> float:
    """What is learned: how a day differed from the usual, relative to the level."""
    return _ratio(value, ground.level) - ground.usual


def forecast(ground: Features, difference: float) -> float:
    """A value from a predicted difference; the mean of it and of the usual, and never negative."""
    learned = min(_LARGEST_RATIO, max(0.0, ground.usual + difference))
    return ground.level * (learned + ground.usual) / 2


def _mean(values: Sequence[int], origin: int, days: int) -> float:
    kept = values[max(0, origin - days + 1) : origin + 1]
    return sum(kept) / len(kept)


def _ratio(value: float, level: float) -> float:
    return min(_LARGEST_RATIO, max(0.0, value / level))
