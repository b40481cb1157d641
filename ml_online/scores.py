"""How well forecasts did: absolute errors by horizon, beside those of the seasonal naive.

Errors are exact integers, so that one that was scored on a value since corrected can be taken back
without a trace.
"""

from collections.abc import Iterable

from msgspec import Struct, field

HORIZON = 28
SEASON = 7
BUCKETS = ((1, 7), (8, 14), (15, 28))
MODELS = ("model", "seasonal_naive")

_MILLIONTHS = 1_000_000


class Made(Struct, array_like=True, frozen=True):
    """What was foretold at the close of one day, in ten-thousandths of the currency.

    `scale` is the mean absolute error of the seasonal naive in sample, up to and with that day; 0
    where it is none yet. `naive` is the last week, which the seasonal naive repeats.
    """

    scale: int
    model: list[int]
    naive: list[int]

    def forecasts(self, horizon: int) -> tuple[int, int]:
        """The model's and the seasonal naive's value, so many days ahead."""
        return self.model[horizon - 1], self.naive[(horizon - 1) % SEASON]


class Tally(Struct, array_like=True):
    """Errors of both models at one horizon, over the same pairs of origin and day."""

    count: int = 0
    errors: list[int] = field(default_factory=lambda: [0, 0])
    scaled_count: int = 0
    scaled: list[int] = field(default_factory=lambda: [0, 0])  # millionths of the scale

    def add(self, made: Made, horizon: int, actual: int, sign: int = 1) -> None:
        """Counts one outcome; with `sign` −1 takes it back."""
        self.count += sign
        self.scaled_count += sign if made.scale else 0
        for number, forecast in enumerate(made.forecasts(horizon)):
            error = abs(actual - forecast)
            self.errors[number] += sign * error
            if made.scale:
                self.scaled[number] += sign * (error * _MILLIONTHS // made.scale)


class Score(Struct, frozen=True):
    """Of one model: MAE in ten-thousandths of the currency; MASE is relative. None: no pairs."""

    mae: float | None
    mase: float | None


def summed(tallies: Iterable[Tally]) -> tuple[int, dict[str, Score]]:
    """How many pairs, and each model's mean errors over them."""
    found = list(tallies)
    count = sum(tally.count for tally in found)
    scaled = sum(tally.scaled_count for tally in found)
    return count, {
        name: Score(
            sum(tally.errors[number] for tally in found) / count if count else None,
            sum(tally.scaled[number] for tally in found) / scaled / _MILLIONTHS if scaled else None,
        )
        for number, name in enumerate(MODELS)
    }


def bucket_of(horizon: int) -> int:
    """Which of `BUCKETS` a horizon belongs to."""
    return next(number for number, (_, last) in enumerate(BUCKETS) if horizon <= last)
