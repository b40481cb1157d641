"""Daily series that are foretold together: every one closes with its day, and each teaches all.

One forecaster holds the series of one kind, that is of one shop, level and measure, as rows of
arrays, so that a day of ten thousand series is closed in one go. Four contenders foretell each day
from 1 to 45 days before it, on a grid of horizons; they are scored when it comes, and only then is
it learned. The one that did best of late is served.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load
from ml_online.daily_closures import Closures
from ml_online.daily_effects import Effects, factors
from ml_online.daily_ground import (
    OF_A_YEAR,
    REACH,
    SEASON,
    YEAR,
    Ahead,
    Window,
    Year,
    ground,
    year_ago,
)
from ml_online.daily_intervals import NEW, QUANTILES, Intervals, class_of, quantiles, size_of
from ml_online.daily_kept import MENDED, Heard, Kept, Said
from ml_online.daily_launches import Launches
from ml_online.daily_regression import FORGETTING, DirectRegression
from ml_online.daily_scores import HORIZONS, DailyScores

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
IntArray = NDArray[np.int64]

__all__ = ["HORIZON", "MENDED", "MODELS", "QUANTILES", "SEASON", "DailyForecaster", "Forecasts"]

HORIZON = 45
CONTENDERS = ("regression", "usual", "level", "seasonal_naive")
"""Who may be served: see `daily_regression`; the `usual` and the level of `daily_ground`, of which
the latter knows no weekday; last week again."""
SERVED = "tillstream"
MODELS = (SERVED, *CONTENDERS)
"""What is scored side by side."""
CLOSED = "closed"
"""An input of this name is believed to shut a shop, before anything was seen of it."""
HISTORY = REACH + HORIZON + SEASON
"""Days of history that are kept."""

_KNOWN_DAYS = 140  # of which the inputs are kept: the weekdays before the oldest origin
_SHORT = 160  # days of a window
_AGO = slice(HISTORY - HORIZON - YEAR - 8 * SEASON, HISTORY + HORIZON - YEAR + SEASON)
"""Of the days that are kept, those around any of which a year later something is asked."""
_FIRST = _AGO.start - (HISTORY - _SHORT)  # of these, as a column of a window
_BLOCK = 256  # series at a time: what they take remains in the processor's own memory
_IDLE_DAYS = 56
_LATELY = 28
_SELLING = 1  # the class up to which effects are multiplied: most days have a sale
_SCHOOLED = 2 * SEASON  # days of a series before it teaches
_MOST_LEARNED = 4_000  # series a day; of more, each is learned from every other day, or third
_FORGOTTEN = 0.5  # of what was learned, where all series have shifted
_FADING = 0.98  # of what is known of weekdays and beginnings, a day
_TRIED_FADING = 0.96  # of contenders' errors, a day
_BETTER = 0.98  # how much better another has to be, to be served instead
_LARGEST_ERROR = 20.0  # of the seasonal naive's
_LARGEST_RATIO = 6.0  # of a level
_YOUNG = SEASON  # days: a series' level is then partly that of others when they began
_GROWN = 2 * SEASON  # days of which that level is the mean
_AS_OTHERS = 8.0  # days of its own that what others sold is worth: the first of them had a sale


class Forecasts(NamedTuple):
    """Of each series and day ahead: one value [series, day], and quantiles [series, day, quantile]
    in the order of QUANTILES."""

    point: Array
    quantiles: Array


class DailyForecaster:
    """Learns day by day. All it does is a pure function of the days in their order."""

    def __init__(self, known: Sequence[str] = (), forgetting: float = FORGETTING) -> None:
        self.known = tuple(known)
        self.keys: list[str] = []
        self.last = 0
        self.served = CONTENDERS[0]
        self.scored = DailyScores()
        inputs = len(self.known)
        self._forgetting = forgetting
        self._row: dict[str, int] = {}
        self._values = np.zeros((0, HISTORY), dtype=np.float32)
        self._expected = np.zeros((0, HISTORY), dtype=np.float32)
        self._shut = np.zeros((0, HISTORY), dtype=np.bool_)
        self._inputs = np.zeros((0, _KNOWN_DAYS, inputs), dtype=np.float32)
        self._naive = np.zeros((2, 0))  # of the seasonal naive's errors: sum and number
        self._tried = np.zeros((len(CONTENDERS), 2))  # of theirs: sum and number, faded
        self._profile = np.ones((2, SEASON))  # faded sums of value / level, and of days
        self._scales = np.zeros((MENDED + 1, 0))  # as they were before the latest days
        self._kept = Kept(1 + len(CONTENDERS[:-1]))
        self._closures = Closures(inputs, [n for n, one in enumerate(known) if one == CLOSED])
        self._effects = Effects(inputs)
        self._intervals = Intervals()
        self._launches = Launches()
        self._regression: DirectRegression | None = None

    # Series.

    def rows(self, keys: Sequence[str]) -> IntArray:
        """Where these series stand; new ones are added, with no history."""
        for key in keys:
            if key not in self._row:
                self._row[key] = len(self.keys)
                self.keys.append(key)
        more = len(self.keys) - len(self._values)
        if more:
            at_end = ((0, more), (0, 0))
            self._values = np.pad(self._values, at_end, constant_values=np.nan)
            self._expected = np.pad(self._expected, at_end)
            self._shut = np.pad(self._shut, at_end)
            self._inputs = np.pad(self._inputs, (*at_end, (0, 0)))
            self._naive = np.pad(self._naive, ((0, 0), (0, more)))
            self._scales = np.pad(self._scales, ((0, 0), (0, more)))
            self._kept.room(len(self.keys))
            self._intervals.room(len(self.keys))
            self._effects.room(len(self.keys))
            self._launches.room(len(self.keys))
        return np.array([self._row[key] for key in keys], dtype=np.int64)

    def history(self, days: int, rows: Sequence[int] | None = None) -> Array:
        """The values of the latest days [series, days], at most HISTORY; NaN before a series
        began."""
        of = slice(None) if rows is None else np.asarray(rows, dtype=np.int64)
        return self._values[of, -days:].astype(np.float64)

    @property
    def scale(self) -> Array:
        """The mean absolute error of the seasonal naive of each series, in sample; 0 before any."""
        total, count = self._naive
        found: Array = total / np.maximum(count, 1.0)
        return found

    # Days.

    def close(
        self,
        day: int,
        values: Array,
        known: Array | None = None,
        ahead: Array | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """The values of one day, which is the one after the last: NaN where none is known.

        `known` are its known inputs [series, input], `ahead` those of the days after it, as they
        are planned now [series, HORIZON, input]; `groups` [series] say which series begin alike. A
        series begins with its first sale.
        """
        self.last = self.last or day - 1
        if day != self.last + 1:
            raise ValueError(f"day {day} does not follow {self.last}")
        inputs = self._given(known, (len(self.keys), len(self.known)))
        plan = self._given(ahead, (len(self.keys), HORIZON, len(self.known)))
        if groups is not None:
            self._launches.sort(groups)
        values = np.where(self._begun() | (values > 0), values, np.nan)
        self._scales = np.vstack([self._scales[1:], self.scale])
        self._score(day, values)
        expected = self._learn(values, inputs, plan)
        self._append(day, values, inputs, expected)
        self._foretell(plan)

    def correct(self, day: int, row: int, value: float) -> None:
        """Another value of a day that was closed. What lies before the history stays as it was, as
        do the scores of a day that is over for longer than MENDED days."""
        at = HISTORY - 1 - (self.last - day)
        if at < 0 or self._values[row, at] == np.float32(value):
            return
        before = self._values[row]
        if np.isnan(before[at]):
            if value <= 0:
                return
            later = np.flatnonzero(~np.isnan(before[at:]))
            if np.isnan(before[:at]).all():  # the series began earlier than was known
                before[at : at + later[0] if len(later) else None] = 0
        else:
            self._recount(day, row, float(before[at]), value)
        before[at] = value

    def shift(self, rows: Sequence[int]) -> None:
        """A drift was noticed in these series: what was learned counts less from now on."""
        if self._regression is not None:
            self._regression.forget(_FORGOTTEN * len(rows) / max(1, len(self.keys)))
        self._intervals.shift(np.asarray(rows, dtype=np.int64))

    def forecast(
        self,
        horizon: int = HORIZON,
        ahead: Array | None = None,
        rows: Sequence[int] | None = None,
        days: Sequence[int] | None = None,
        contender: str | None = None,
    ) -> Forecasts:
        """The days after the last one, or only those of them that are named, counted from 1; of all
        series or of these rows; `ahead` [series, HORIZON, input] as in `close`. A series
        that has not begun is foretold what others of its group sold when they began; NaN where none
        did. By who is served, or by this `contender`, around whose points lie the intervals that
        were learned of who was served.

        Raises ValueError where nobody is called so.
        """
        if contender is not None and contender not in CONTENDERS:
            raise ValueError(f"nobody among the contenders is called {contender!r}")
        taken = np.arange(len(self.keys)) if rows is None else np.asarray(rows, dtype=np.int64)
        plan = self._given(ahead, (len(taken), HORIZON, len(self.known)))
        horizons = np.arange(1, horizon + 1) if days is None else np.asarray(days, dtype=np.int64)
        points, width, _ = self._contend(horizons, plan, taken, contender or self.served)
        offsets = self._intervals.offsets[
            ((horizons - 1) // SEASON)[None, :], self._classes(taken)[:, None]
        ]
        return Forecasts(points[0], quantiles(points[0], width, offsets))

    def unlearned(self) -> frozenset[str]:
        """The known inputs that no day of any series ever had, closed days aside."""
        unseen = {self.known[number] for number in self._effects.unseen()}
        return frozenset(unseen - {CLOSED})

    # Inside.

    def _given(self, inputs: Array | None, shape: tuple[int, ...]) -> Array:
        if inputs is None:
            if self.known:
                raise ValueError(f"the inputs {', '.join(self.known)} are missing")
            return np.zeros(shape)
        if inputs.shape != shape:
            raise ValueError(f"inputs of shape {inputs.shape}, and not {shape}")
        return inputs

    def _begun(self) -> Mask:
        return np.asarray(~np.isnan(self._values).all(axis=1))

    def _kinds(self, rows: IntArray) -> IntArray:
        values = self._values[rows, -_IDLE_DAYS:]
        open_days = ~np.isnan(values) & ~self._shut[rows, -_IDLE_DAYS:]
        idle = (open_days & (values <= 0)).sum(axis=1)
        return class_of(idle / np.maximum(open_days.sum(axis=1), 1))

    def _classes(self, rows: IntArray) -> IntArray:
        """Whose errors are alike: those of one kind, and those of series that are new among others
        that are not."""
        new = np.isnan(self._values[rows, -_GROWN]) & self._launches.known
        return np.where(new, NEW, self._kinds(rows))

    def _window(self, rows: IntArray) -> Window:
        values, opened = self._days(slice(-_SHORT, None), rows)
        return Window(
            self.last,
            values,
            opened,
            self._expected[rows, -_SHORT:].astype(np.float64),
            self._inputs[rows].astype(np.float64),
        )

    def _days(self, days: slice, rows: IntArray | slice) -> tuple[Array, Mask]:
        """Values of the days that are kept, and which of them count."""
        values = self._values[rows, days].astype(np.float64)
        return values, ~np.isnan(values) & ~self._shut[rows, days]

    def _of_all(self, origin: IntArray, target: IntArray) -> Array | None:
        """How much more all series sold a year before these columns of a window, as `Year` has it;
        None while nobody is old enough."""
        old = slice(None, HISTORY - OF_A_YEAR)
        if not np.any(~np.isnan(self._values[:, old]) & ~self._shut[:, old]):
            return None
        sums, counts = np.zeros(len(target)), np.zeros(len(target))
        for rows in _blocks(np.arange(len(self.keys))):
            own, told = year_ago(*self._days(_AGO, rows), origin - _FIRST, target - _FIRST)
            sums += np.where(told, own, 0.0).sum(axis=0)
            counts += told.sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1.0), 1.0)

    def _year(self, rows: IntArray, of_all: Array | None) -> Year | None:
        return None if of_all is None else Year(_FIRST, *self._days(_AGO, rows), of_all)

    def _weekdays(self) -> Array:
        total, days = self._profile
        profile: Array = total / days
        profile /= profile.mean()
        return profile

    def _score(self, day: int, values: Array) -> None:
        """Scores all that was foretold for a day, and follows its errors."""
        heard = self._count(day, values, 1)
        if heard is None:
            return
        scale = self._scales[-1]
        known = np.where(scale > 0, scale, np.nan)[:, None]
        said = np.stack([*heard.points[1:], self._naive_for(day, heard.horizons)])
        errors = np.minimum(np.abs(said - values[:, None]) / known, _LARGEST_ERROR)
        told = np.isfinite(errors).all(axis=0)  # all are judged by the same days
        self._tried *= _TRIED_FADING
        self._tried[:, 0] += np.where(told, errors, 0.0).sum(axis=(1, 2))
        self._tried[:, 1] += told.sum()
        week = (heard.horizons - 1) // SEASON
        self._intervals.learn(values, heard.points[0], heard.width, heard.unit, week, heard.kinds)
        self._choose()

    def _choose(self) -> None:
        """Serves who erred least of late. It takes a little more to put off who is served; but
        nobody may be worse than the seasonal naive."""
        total, count = self._tried.T
        errors = total / np.maximum(count, 1.0)
        best, now = int(np.argmin(errors)), CONTENDERS.index(self.served)
        if errors[best] < _BETTER * errors[now] or errors[-1] < errors[now]:
            self.served = CONTENDERS[best]

    def _count(
        self, day: int, actual: Array, sign: int, rows: IntArray | None = None
    ) -> Heard | None:
        """Adds to the scores what was foretold for a day, or takes it back; NaN counts nothing. Of
        all series, or of these rows."""
        heard = self._kept.heard(day, rows)
        if heard is None:
            return None
        of = np.arange(len(self.keys)) if rows is None else rows
        scale = self._scales[-1 - max(0, self.last - day), of]
        scale = np.repeat(scale[None], len(heard.horizons), axis=0)
        pairs = np.arange(len(heard.horizons))
        offsets = heard.offsets[pairs[None, :], heard.kinds]
        told = quantiles(heard.points[0], heard.width, offsets).transpose(1, 0, 2)
        said = [*heard.points, self._naive_for(day, heard.horizons)[of]]
        for number, (model, point) in enumerate(zip(MODELS, said, strict=True)):
            self.scored.add(
                day,
                model,
                heard.horizons.tolist(),
                actual,
                point.T,
                scale,
                told if number == 0 else None,
                sign,
                rows,
            )
        return heard

    def _recount(self, day: int, row: int, old: float, new: float) -> None:
        if self.last - day > MENDED:
            return
        for value, sign in ((old, -1), (new, 1)):
            self._count(day, np.array([value]), sign, np.array([row]))

    def _naive_for(self, day: int, horizons: IntArray) -> Array:
        """What the seasonal naive had said of a day [series, pair]: the latest such weekday."""
        ago = SEASON * -(-horizons // SEASON) + self.last - day
        return self._values[:, HISTORY - 1 - ago].astype(np.float64)

    def _learn(self, values: Array, inputs: Array, plan: Array) -> Array:
        """Learns a day before it is appended. Returns what had been usual for it a week before."""
        sells = np.any(self._values[:, -_LATELY:] > 0, axis=1)
        self._closures.learn(inputs, values, sells)
        self._learn_beginnings(values)
        taken = self._taught(sells)
        expected = np.zeros(len(values))
        if len(taken):
            days = np.concatenate([inputs[:, None], plan[:, :1]], axis=1)[taken]
            expected[taken] = self._learn_from(taken, values[taken], days)
        return expected

    def _learn_from(self, rows: IntArray, day: Array, days: Array) -> Array:
        """Teaches the values of a day [series] as every horizon had seen it; `days` [series, 2,
        input] are the inputs of it and of the day after. Returns what was usual a week before."""
        grid = np.array(HORIZONS, dtype=np.int64)
        origin, target = _SHORT - grid, np.full(len(grid), _SHORT)
        today = days[:, :1]
        beside = self._beside(rows, days)[:, :1]
        held = self._factors(np.ones(1, dtype=np.int64), today, beside)
        effect = self._effect(held, rows)
        of_all, weekdays, scale = self._of_all(origin, target), self._weekdays(), self.scale[rows]
        shut = self._closures.shut(today[:, 0])
        known = ~np.isnan(day) & ~shut
        level, usual = np.zeros(len(rows)), np.zeros(len(rows))
        week = (grid - 1) // SEASON
        if self._regression is not None:
            self._regression.fade()
        for at in _blocks(np.arange(len(rows))):
            of_block = rows[at]
            window = self._window(of_block)
            pairs = Ahead(
                origin,
                target,
                np.repeat(today[at], len(grid), axis=1),
                np.repeat(beside[at], len(grid), axis=1),
                np.repeat(effect[at], len(grid), axis=1),
                self._effects.inputs(of_block),
            )
            found = ground(window, pairs, weekdays, self._year(of_block, of_all))
            counted = ~np.isnan(window.values[:, origin - _SCHOOLED])
            counted &= known[at][:, None] & ~found.rest
            if self._regression is None:
                self._regression = DirectRegression(found.x.shape[2], self._forgetting)
            self._regression.add(found.x, found.level, day[at], scale[at], week, counted)
            level[at] = found.level[:, 0]
            usual[at] = found.usual[:, grid == SEASON][:, 0]
        if self._regression is not None:
            self._regression.learn()
        told = (day > 0) & ~shut & (level > 0) & ~np.isnan(self._values[rows, -_LATELY])
        told &= self._kinds(rows) <= _SELLING
        if told.any():
            self._effects.learn(held[told, 0], day[told] / level[told], rows[told])
        return usual

    def _learn_beginnings(self, values: Array) -> None:
        """How the weekdays of all differ, and what series sell in their first days."""
        sold, lately = self._days(slice(-_IDLE_DAYS, None), slice(None))
        days = lately.sum(axis=1)
        level = np.where(lately, sold, 0.0).sum(axis=1)
        level /= np.maximum(days, 1)
        told = (days >= 2 * SEASON) & (level > 0) & ~np.isnan(values)
        weekday = self.last % SEASON
        if told.any():
            ratio = np.clip(values[told] / level[told], 0.0, _LARGEST_RATIO).mean()
            self._profile[:, weekday] = _FADING * self._profile[:, weekday] + (ratio, 1.0)
        of_age = ~np.isnan(sold[:, -_GROWN]) & np.isnan(sold[:, -_GROWN - 1])
        grown = of_age & (level > 0)
        self._launches.learn(np.flatnonzero(grown), level[grown])

    def _factors(self, horizons: IntArray, known: Array, beside: Array) -> Array:
        """What `daily_effects` is told of the days so many after the last one."""
        days = self.last + horizons
        month_day = np.array([date.fromordinal(int(day)).day for day in days])
        return factors((days - 1) % SEASON, month_day, known, beside)

    def _effect(self, held: Array, rows: IntArray) -> Array:
        """Values relative to the level, by effects; NaN where a series often sells nothing."""
        found = self._effects.ratio(held, rows)
        found[self._kinds(rows) > _SELLING] = np.nan
        return found

    def _taught(self, sells: Mask) -> IntArray:
        """The rows that are learned from today: of very many, some each day."""
        rows = np.flatnonzero(sells)
        turns = -(-len(rows) // _MOST_LEARNED)
        return rows if turns <= 1 else rows[(rows + self.last) % turns == 0]

    def _beside(self, rows: IntArray, days: Array) -> Array:
        """Whether the days before and after each of `days` [series, day, input], which follow the
        last one, are shut [series, day, 2]. Of the day after them all, nobody says so."""
        shut = self._closures.shut(days)
        before = np.concatenate([self._shut[rows, -1:], shut[:, :-1]], axis=1)
        after = np.concatenate([shut[:, 1:], np.zeros((len(rows), 1), dtype=np.bool_)], axis=1)
        return np.stack([before, after], axis=2).astype(np.float64)

    def _append(self, day: int, values: Array, inputs: Array, expected: Array) -> None:
        # As exact as it is kept: else the same sale again would be an error of a millionth.
        error = np.abs(values.astype(np.float32) - self._values[:, -SEASON])
        told = np.isfinite(error)
        self._naive += np.stack([np.where(told, error, 0.0), told])
        for ring, column in (
            (self._values, values),
            (self._expected, expected),
            (self._shut, self._closures.shut(inputs)),
            (self._inputs, inputs),
        ):
            ring[:, :-1] = ring[:, 1:]
            ring[:, -1] = column
        self.last = day

    def _foretell(self, plan: Array) -> None:
        rows = np.arange(len(self.keys))
        points, width, unit = self._contend(self._kept.grid, plan, rows, self.served)
        self._kept.keep(
            self.last, Said(points, width, unit, self._classes(rows), self._intervals.offsets)
        )

    def _contend(
        self, horizons: IntArray, plan: Array, rows: IntArray, served: str
    ) -> tuple[Array, Array, Array]:
        """Points [who, series, pair] of the one who is `served` and of all but the naive; width
        [series, pair] and unit [series] of the intervals."""
        points = np.zeros((len(CONTENDERS), len(rows), len(horizons)))
        width, unit = np.zeros(points.shape[1:]), np.zeros(len(rows))
        of_all = self._of_all(np.full(len(horizons), _SHORT - 1), _SHORT - 1 + horizons)
        for at in _blocks(np.arange(len(rows))):
            found = self._contend_of(horizons, plan[at], rows[at], of_all, served)
            points[:, at], width[at], unit[at] = found
        return points, width, unit

    def _contend_of(
        self, horizons: IntArray, plan: Array, rows: IntArray, of_all: Array | None, served: str
    ) -> tuple[Array, Array, Array]:
        window = self._window(rows)
        latest = _SHORT - 1
        known = plan[:, horizons - 1]
        beside = self._beside(rows, plan)[:, horizons - 1]
        pairs = Ahead(
            np.full(len(horizons), latest),
            latest + horizons,
            known,
            beside,
            self._effect(self._factors(horizons, known, beside), rows),
            self._effects.inputs(rows),
        )
        weekdays = self._weekdays()
        found = ground(window, pairs, weekdays, self._year(rows, of_all))
        level, usual = found.level, found.usual
        regression = usual
        if self._regression is not None:
            week = (horizons - 1) // SEASON
            regression = level * np.clip(
                self._regression.predict(found.x, week), 0.0, _LARGEST_RATIO
            )
        level, young = self._launched(window, level, rows)
        profile = level * weekdays[(self.last + horizons - 1) % SEASON]
        naive = window.values[:, latest - SEASON * -(-horizons // SEASON) + horizons]
        points = np.stack([regression, usual, found.level, np.maximum(naive, 0.0)])
        points = np.where(young[:, None], profile, points)
        points[:, found.rest | self._closures.shut(pairs.known)] = 0.0
        point = points[CONTENDERS.index(served)]
        unit = self._intervals.unit(self._scale_of(rows, level), rows)
        idle = self._closures.shut(pairs.known)
        width = np.where(idle, 0.0, unit[:, None] * size_of(point, level))
        return np.stack([point, *points[:-1]]), width, unit

    def _scale_of(self, rows: IntArray, level: Array) -> Array:
        """The scale, or the level where a series is too young for one."""
        scale = self.scale[rows]
        return np.where(self._naive[1, rows] >= SEASON, scale, level[:, 0])

    def _launched(self, window: Window, level: Array, rows: IntArray) -> tuple[Array, Mask]:
        """Levels, where a series is young drawn to what others of its group sold in their first
        days; and which those are."""
        days = window.open[:, -_YOUNG:].sum(axis=1)[:, None]
        young = np.all(np.isnan(window.values[:, :-_YOUNG]), axis=1)
        young[young] = np.isnan(self._values[rows[young], :-_SHORT]).all(axis=1)
        usual = self._launches.of(rows)[:, None]
        drawn = (days * level + _AS_OTHERS * usual) / (days + _AS_OTHERS)
        own = np.where(days > 0, level, np.nan)
        drawn = np.where(np.isfinite(usual), drawn, own)
        return np.where(young[:, None], drawn, level), young

    # What is kept.

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        features = self._regression.features if self._regression else 0
        yield [list(self.known), self.keys, self.last, self.served, self._forgetting, features]
        for name in _ARRAYS:
            yield dump(getattr(self, name))
        parts = [list(self.scored.state()), list(self._kept.state())]
        parts += [list(self._closures.state()), list(self._effects.state())]
        parts += [list(self._intervals.state()), list(self._launches.state())]
        parts += [list(self._regression.state()) if self._regression else []]
        yield from parts

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        found = iter(rows)
        known, keys, self.last, self.served, self._forgetting, features = next(found)
        self.known, self.keys = tuple(known), list(keys)
        self._row = {key: row for row, key in enumerate(self.keys)}
        for name in _ARRAYS:
            setattr(self, name, load(next(found)))
        self.scored.restore(next(found))
        for part in (self._kept, self._closures, self._effects, self._intervals, self._launches):
            part.restore(iter(next(found)))
        self._regression = DirectRegression(features) if features else None
        if self._regression:
            self._regression.restore(iter(next(found)))


_ARRAYS = (
    *("_values", "_expected", "_shut", "_inputs", "_naive"),
    *("_tried", "_profile", "_scales"),
)


def _blocks(rows: IntArray) -> Iterator[IntArray]:
    """Some at a time."""
    for first in range(0, len(rows), _BLOCK):
        yield rows[first : first + _BLOCK]
