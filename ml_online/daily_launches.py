"""How series begin: like others of their group did, as far as groups differ at all.

Of each series that has been there for two weeks it is noted what it sold a day, as a logarithm.
What a group says of the next ones is drawn to what all say: by the variance within groups over that
between them, as one-way random effects have it (analysis of variance), so that groups which say
nothing of how much is sold count for nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FADING = 0.98  # of what is known of a group, a day on which somebody else of it is noted
_SUM, _SQUARES, _COUNT = range(3)
_MOST = 1_000.0  # series that all others are worth to a group, where these do not differ


class Launches:
    """Running sums, of each group and of all (first)."""

    def __init__(self) -> None:
        self._sums: Array = np.zeros((1, 3))
        self._numbers: dict[str, int] = {}
        self._group: IntArray = np.zeros(0, dtype=np.int64)  # of each series; 0 where none is named

    def room(self, series: int) -> None:
        """Makes room for so many series."""
        self._group = np.pad(self._group, (0, max(0, series - len(self._group))))

    def sort(self, groups: Sequence[str]) -> None:
        """Which group each series is of by now; in none where it is empty."""
        for group in groups:
            if group:
                self._numbers.setdefault(group, 1 + len(self._numbers))
        numbers = (self._numbers.get(group, 0) for group in groups)
        self._group = np.fromiter(numbers, np.int64, len(groups))
        more = 1 + len(self._numbers) - len(self._sums)
        self._sums = np.pad(self._sums, ((0, more), (0, 0)))

    @property
    def known(self) -> bool:
        """Whether any series has begun that is no longer young."""
        return bool(self._sums[0, _COUNT] > 0)

    def learn(self, rows: IntArray, level: Array) -> None:
        """Series that are two weeks old today: what they sold a day, above zero [series]."""
        logs = np.log(level)
        said = np.stack([logs, logs**2, np.ones(len(rows))], axis=1)
        found = np.zeros_like(self._sums)
        np.add.at(found, self._group[rows], said)
        found[0] = said.sum(axis=0)
        self._sums *= np.where(found[:, _COUNT:] > 0, _FADING, 1.0)
        self._sums += found

    def of(self, rows: IntArray) -> Array:
        """What these series sell a day when they begin, in their unit [series]; NaN where no series
        is known that has begun."""
        whole = self._sums[0]
        if not self.known:
            return np.full(len(rows), np.nan)
        group = self._group[rows]
        own = np.where((group > 0)[:, None], self._sums[group], 0.0)
        drawn = own + self._worth_of_all() * whole / whole[_COUNT]
        found: Array = np.exp(drawn[:, _SUM] / drawn[:, _COUNT])
        return found

    def _worth_of_all(self) -> float:
        """How many series of a group what all say is worth: the variance within groups over that
        between them."""
        groups = self._sums[1:][self._sums[1:, _COUNT] > 0]
        count, number = groups[:, _COUNT], len(groups)
        total = count.sum()
        if number < 2 or total - number < 1:
            return _MOST
        means = groups[:, _SUM] / count
        within = max(0.0, (groups[:, _SQUARES] - count * means**2).sum()) / (total - number)
        mean = groups[:, _SUM].sum() / total
        between = (count * (means - mean) ** 2).sum() / (number - 1) - within
        between /= (total - (count**2).sum() / total) / (number - 1)
        return float(min(_MOST, within / between)) if between > 0 else _MOST

    def state(self) -> Iterator[Any]:
        """In rows of what JSON can say."""
        yield list(self._numbers)
        yield dump(self._sums)
        yield dump(self._group)

    def restore(self, rows: Iterator[Any]) -> None:
        """Goes on from a state."""
        self._numbers = {group: number for number, group in enumerate(next(rows), 1)}
        self._sums, self._group = load(next(rows)), load(next(rows))
