"""How well reviews were judged before their stars were learned, by month of a language.

Beside the model stand who always says what is most frequent so far, and the lists of words alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from ml_online.sentiment_model import Opinion
from ml_online.sentiment_thresholds import CLASSES

MOST_MONTHS = 120
_BINS = 10


class Scored(Struct):
    """Sums over reviews: what was called what [truth, called], and the rest that scores are made
    of. `bins` are of confidence, by tenths: how many, their sum, and how many were right."""

    called: list[list[int]]
    brier: float
    usual: list[list[int]]
    listed: list[list[int]]
    bins: list[list[float]]

    @property
    def reviews(self) -> int:
        return sum(map(sum, self.called))


def nothing() -> Scored:
    """Before anything was scored."""
    count = len(CLASSES)
    tables = [[[0] * count for _ in CLASSES] for _ in range(3)]
    return Scored(tables[0], 0.0, tables[1], tables[2], [[0, 0.0, 0] for _ in range(_BINS)])


def add(scored: Scored, opinion: Opinion, usual: int, listed: int, truth: int) -> None:
    """One more review, of this class in truth."""
    scored.called[truth][opinion.called] += 1
    scored.usual[truth][usual] += 1
    scored.listed[truth][listed] += 1
    scored.brier += sum(
        (chance - (number == truth)) ** 2 for number, chance in enumerate(opinion.probabilities)
    )
    bin_ = scored.bins[min(_BINS - 1, int(opinion.confidence * _BINS))]
    bin_[0] += 1
    bin_[1] += opinion.confidence
    bin_[2] += opinion.called == truth


def summed(parts: Iterable[Scored]) -> Scored:
    """Of several months or languages together."""
    total = nothing()
    for part in parts:
        for whole, more in zip(_tables(total), _tables(part), strict=True):
            for row, added in zip(whole, more, strict=True):
                row[:] = [a + b for a, b in zip(row, added, strict=True)]
        total.brier += part.brier
    return total


def _tables(scored: Scored) -> list[list[list[Any]]]:
    return [scored.called, scored.usual, scored.listed, scored.bins]


def accuracy(table: Sequence[Sequence[int]]) -> float | None:
    """Of a table [truth, called]; None where nothing was called."""
    count = sum(map(sum, table))
    return sum(table[n][n] for n in range(len(table))) / count if count else None


def f1_of_each(table: Sequence[Sequence[int]]) -> list[float]:
    """The F1 score of each class; 0 for one that there is not and that was not called."""
    found = []
    for number, row in enumerate(table):
        said = sum(row) + sum(other[number] for other in table)
        found.append(2 * row[number] / said if said else 0.0)
    return found


def macro_f1(table: Sequence[Sequence[int]]) -> float | None:
    """The mean of the classes' F1 scores, however rare they are; of those that there are or that
    were called."""
    there = [any(row) or any(other[number] for other in table) for number, row in enumerate(table)]
    scores = [score for score, is_there in zip(f1_of_each(table), there, strict=True) if is_there]
    return sum(scores) / len(scores) if scores else None


def calibration_error(scored: Scored) -> float | None:
    """By how much confidence is off from the share that was right, on average."""
    count = scored.reviews
    return sum(abs(told - right) for _, told, right in scored.bins) / count if count else None


class Months:
    """The scores of a language, by month (`2026-03`), the latest ten years of them."""

    def __init__(self) -> None:
        self._months: dict[str, Scored] = {}

    def at(self, month: str) -> Scored:
        """The sums of a month, to be added to."""
        if month not in self._months:
            self._months[month] = nothing()
            if len(self._months) > MOST_MONTHS:
                del self._months[min(self._months)]
        return self._months.get(month) or nothing()

    def between(self, first: str, last: str) -> list[tuple[str, Scored]]:
        """The months from the first to the last, in their order."""
        return [one for one in sorted(self._months.items()) if first <= one[0] <= last]

    def state(self) -> Iterator[list[Any]]:
        for month, one in sorted(self._months.items()):
            yield [month, one.called, one.brier, one.usual, one.listed, one.bins]

    def restore_row(self, row: Sequence[Any]) -> None:
        """Takes back one row of a state."""
        month, *sums = row
        self._months[month] = Scored(*sums)
