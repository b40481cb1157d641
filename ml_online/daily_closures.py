"""Which known inputs shut a shop: those with which next to nothing was ever sold.

Nobody says which of the inputs means `closed`, or that it is rather `open` which is 0 then. So for
each value of an input of zeros and ones it is counted how often a series that sells had no sale.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SHARE = 0.98
_SEEN = 30


class Closures:
    """Counts, for each input and its values 0 and 1, of days and of those without a sale."""

    def __init__(self, inputs: int, closing: Sequence[int] = ()) -> None:
        self._days = np.zeros((inputs, 2))
        self._idle = np.zeros((inputs, 2))
        for number in closing:  # by its name, unless days show otherwise
            self._days[number, 1] = self._idle[number, 1] = _SEEN
        self._binary = np.ones(inputs, dtype=np.bool_)

    def learn(self, known: Array, values: Array, sells: Mask) -> None:
        """One day: inputs [series, input], values [series], and which series sold of late."""
        self._binary &= ((known == 0) | (known == 1)).all(axis=0)
        asked = sells & ~np.isnan(values)
        idle = asked & (values <= 0)
        for value in (0, 1):
            of_value = known == value
            self._days[:, value] += (of_value & asked[:, None]).sum(axis=0)
            self._idle[:, value] += (of_value & idle[:, None]).sum(axis=0)

    def shut(self, known: Array) -> Mask:
        """Whether a day is one without sales, by its inputs [..., input]."""
        shutting = (self._days >= _SEEN) & (self._idle > _SHARE * self._days)
        shutting &= self._binary[:, None]
        found = np.zeros(known.shape[:-1], dtype=np.bool_)
        for number, value in np.argwhere(shutting):
            found |= known[..., number] == value
        return found

    def state(self) -> Iterator[Any]:
        """In rows of what JSON can say."""
        for array in (self._days, self._idle, self._binary):
            yield dump(array)

    def restore(self, rows: Iterator[Any]) -> None:
        """Goes on from a state."""
        self._days, self._idle, self._binary = (load(next(rows)) for _ in range(3))
