"""What was foretold, until its days have come and can be corrected no more."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load
from ml_online.daily_scores import HORIZONS

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MENDED = 10
"""Days after which a correction mends history, but no scores any more."""
MOST_ON_FULL_GRID = 2_000
"""Series; of more, fewer horizons are kept and scored, or days of them would be gigabytes."""
SPARSE = (1, 7, 14, 28, 45)

_KEPT_ORIGINS = HORIZONS[-1] + MENDED + 1


class Said(NamedTuple):
    """At one close, on the grid of horizons: points [contender, series, pair], the served one
    first; `width` [series, pair] and `unit` [series] of its intervals; the class [series] whose
    offsets [week, class, quantile] held."""

    points: Array
    width: Array
    unit: Array
    kinds: IntArray
    offsets: Array


class Heard(NamedTuple):
    """What had been said of one day, as far as it was: see Said; the pair is a horizon, and points
    are NaN where nothing was said."""

    horizons: IntArray
    points: Array
    width: Array
    unit: Array  # [series, pair]
    kinds: IntArray  # [series, pair]
    offsets: Array  # [pair, class, quantile]


class Kept:
    """Rings of days, one for each horizon."""

    def __init__(self, contenders: int) -> None:
        self._contenders = contenders
        # Of a day that can just be mended yet, what was said before it must not be overwritten.
        self._rings = {
            h: np.zeros((h + MENDED + 1, contenders + 2, 0), np.float32) for h in HORIZONS
        }
        self._kinds = np.zeros((_KEPT_ORIGINS, 0), dtype=np.int8)
        self._offsets = np.zeros((_KEPT_ORIGINS, 0, 0, 0))
        self._first = 0

    def room(self, series: int) -> None:
        """Makes room for so many series, of which nothing was said yet."""
        more = series - self._kinds.shape[1]
        if more <= 0:
            return
        self._kinds = np.pad(self._kinds, ((0, 0), (0, more)))
        for horizon, ring in list(self._rings.items()):
            if series > MOST_ON_FULL_GRID and horizon not in SPARSE:
                del self._rings[horizon]
            else:
                some = ((0, 0), (0, 0), (0, more))
                self._rings[horizon] = np.pad(ring, some, constant_values=np.nan)

    @property
    def grid(self) -> IntArray:
        """The horizons of which it is kept what was said."""
        return np.array(list(self._rings), dtype=np.int64)

    def keep(self, origin: int, said: Said) -> None:
        """What was foretold at the close of a day."""
        self._first = self._first or origin
        for pair, ring in enumerate(self._rings.values()):
            row = ring[origin % len(ring)]
            row[: self._contenders] = said.points[:, :, pair]
            row[-2] = said.width[:, pair]
            row[-1] = said.unit
        if self._offsets.shape[1:] != said.offsets.shape:
            self._offsets = np.zeros((_KEPT_ORIGINS, *said.offsets.shape))
        self._kinds[origin % _KEPT_ORIGINS] = said.kinds
        self._offsets[origin % _KEPT_ORIGINS] = said.offsets

    def heard(self, day: int, series: IntArray | None = None) -> Heard | None:
        """What was foretold for a day, from which no more than MENDED days have passed: of all
        series, or of these rows."""
        horizons = [h for h in self._rings if self._first and day - h >= self._first]
        if not horizons:
            return None
        of = slice(None) if series is None else series
        rows = np.stack(
            [self._rings[h][(day - h) % len(self._rings[h])][:, of] for h in horizons], axis=-1
        ).astype(np.float64)
        origins = [(day - h) % _KEPT_ORIGINS for h in horizons]
        weeks = (np.array(horizons) - 1) // 7
        return Heard(
            np.array(horizons, dtype=np.int64),
            rows[: self._contenders],
            rows[-2],
            rows[-1],
            self._kinds[origins][:, of].T.astype(np.int64),
            self._offsets[origins, weeks],
        )

    def state(self) -> Iterator[Any]:
        """In rows of what JSON can say."""
        yield [self._first, list(self._rings)]
        yield dump(self._kinds)
        yield dump(self._offsets)
        for ring in self._rings.values():
            yield dump(ring)

    def restore(self, rows: Iterator[Any]) -> None:
        """Goes on from a state."""
        self._first, horizons = next(rows)
        self._kinds, self._offsets = load(next(rows)), load(next(rows))
        self._rings = {horizon: load(next(rows)) for horizon in horizons}
