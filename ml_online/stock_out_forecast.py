"""Which variants run out of stock, and when: forecasts of their units against what there is.

The mean demand is the sales forecasts' own; here is learned how far sums of it go astray
(`ml_online.lead_time`). At each close it is foretold whether what is in stock outlasts a week; as
soon as it is known, that is scored. What was not sold for want of stock teaches nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np
from msgspec import Struct, field

from ml_online import arrays
from ml_online.daily import HORIZON, Array, IntArray
from ml_online.family import ModelFamily
from ml_online.lead_time import LeadTimes
from ml_online.stock_days import Stock, StockDays
from ml_online.stock_out_scores import Calibration, ChanceScores
from ml_online.stock_out_warnings import warning
from streams.codec import Fact
from streams.events import DayClosed, Event, StockOutForeseen

SCORED_DAYS = 7
"""The lead time whose chances are scored."""
ALERT = 0.5
"""From which chance on to run out within these days a variant is told to be at risk."""
SAFE = 0.4
"""Below it, it is out of danger; between the two nothing is said."""

COVER = (0.1, 0.5, 0.9)
"""How sure it is that stock is gone after so many days: soon, as likely as not, late."""

_OF_LATE = timedelta(days=7)
_LIVE = timedelta(days=3)
"""A day is closed an hour after its end: where none was for so long, nobody sells."""

_SHOP, _TIMES = "shop", "times"  # rows of the state


class VariantUnits(NamedTuple):
    """Units of a shop's variants, a row each: demanded on the `demand.shape[1]` days up to the
    `last` closed one, an ordinal; and foretold of the days after it. NaN is where nothing is known:
    before a variant was sold, while it was out of stock."""

    last: int
    keys: Sequence[str]
    demand: Array
    ahead: Array


class Sales(Protocol):
    """Who forecasts sales."""

    def trained_through(self, shop: str) -> date | None: ...

    def variant_units(self, shop: str, days: int) -> VariantUnits | None: ...


class Question(NamedTuple):
    """Days of lead time and review, and for how many more an order is to suffice; how sure, also of
    what is ordered; and which date and time it is."""

    lead_time: int
    review: int
    cover: int
    service_level: float
    order_level: float
    now: datetime


class Risk(NamedTuple):
    """Of one variant. `mean` and `chance` are of the lead time; `by_day` are the chances of having
    run out one day from now, two, and so on; `days` are those of COVER, None where it is later than
    is foretold; `date` is when it is as likely as not."""

    variant: str
    stock: Stock
    mean: float
    chance: float
    by_day: Sequence[float]
    days: Sequence[float | None]
    date: date | None
    reorder_point: int
    order_up_to: int
    quantity: int


class _Shop(Struct):
    """`chance` are those foretold at the latest closes, by day modulo SCORED_DAYS [row, day]."""

    last: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    times: LeadTimes = field(default_factory=LeadTimes)
    chance: Array = field(default_factory=lambda: np.empty((0, SCORED_DAYS)))
    stock: Array = field(default_factory=lambda: np.empty((0, SCORED_DAYS)))
    scores: ChanceScores = field(default_factory=ChanceScores)
    at_risk: int = 0
    warned: set[int] = field(default_factory=set)  # rows


class StockOuts:
    """Implements `ml_online.family.Learner`. It hears of a day after those it asks about it."""

    def __init__(self, stock: StockDays, sales: Sales) -> None:
        self._stock = stock
        self._sales = sales
        self._shops: dict[str, _Shop] = {}
        self._noticed: list[Event] = []

    def learn(self, fact: Fact) -> None:
        """Once the sales forecasts have closed a day, so do these; parts of it and corrections, of
        which there are many, cost nothing."""
        if not isinstance(fact.data, DayClosed):
            return
        name = fact.event.shop
        trained, known = self._sales.trained_through(name), self._shops.get(name)
        if trained is None or (known and trained.toordinal() <= known.last):
            return
        closing = self._stock.at_close(name)
        if not closing:
            return  # nobody keeps a stock: there is none to run out of
        missed = trained.toordinal() - known.last if known else 1
        if known is None or missed > HORIZON:
            known, missed = _Shop(), 1  # nothing that is known reaches over such a gap
        units = self._sales.variant_units(name, missed)
        assert units is not None  # a day is closed
        self._shops[name] = known
        self._close(known, units, closing)
        self._warn(name, known, fact.event.time)

    def shops(self) -> Mapping[str, object]:
        return self._shops

    def takes_long(self, fact: Fact) -> bool:  # noqa: ARG002
        """Where it does, so did the sales forecasts of it."""
        return False

    def noticed(self) -> Sequence[Event]:
        """Which variants have come to be at risk of late; not those of a history."""
        found, self._noticed = self._noticed, []
        return found

    def _warn(self, name: str, shop: _Shop, at: datetime) -> None:
        """Of each variant once, until it is out of danger."""
        last = shop.times.closed % SCORED_DAYS
        chance, stock = shop.chance[:, last], shop.stock[:, last]
        rows = [int(row) for row in np.flatnonzero(chance >= ALERT) if int(row) not in shop.warned]
        shop.warned -= {row for row in shop.warned if not chance[row] >= SAFE}
        shop.warned.update(rows)
        day = date.fromordinal(shop.last)
        if at.date() - day > _OF_LATE:
            return
        there, keys = self._stock.now(name), list(shop.rows)
        for row in rows:
            data = StockOutForeseen(
                date=day.isoformat(),
                product_id=there[keys[row]].product,
                variant=keys[row],
                available=int(stock[row]),
                days=SCORED_DAYS,
                probability=f"{chance[row]:.4f}",
            )
            self._noticed.append(warning(name, data, at))

    def _close(self, shop: _Shop, units: VariantUnits, closing: Mapping[str, int]) -> None:
        shop.last = units.last
        _grow(shop, units.keys)
        demand, ahead = _aligned(shop, units)
        days = demand.shape[1]
        for number in range(days):
            shop.times.close(demand[:, number])
            _score(shop, units.last - days + 1 + number)
            if number < days - 1:  # nothing was foretold on a day that nobody closed
                shop.times.foretell(np.full((len(shop.rows), HORIZON), np.nan))
        sums = np.cumsum(ahead, axis=1)
        shop.times.foretell(sums)
        stock = np.array([closing.get(key, np.nan) for key in shop.rows], dtype=float)
        chance = shop.times.exceeds(sums[:, SCORED_DAYS - 1], SCORED_DAYS, stock)
        shop.at_risk = int((chance >= ALERT).sum())
        at = shop.times.closed % SCORED_DAYS
        # Of what is gone already it is not foretold.
        shop.chance[:, at] = np.where(stock > 0, chance, np.nan)
        shop.stock[:, at] = stock

    # What is asked.

    def risks(self, shop: str, question: Question) -> list[tuple[str, float]]:
        """The variants with a stock and a forecast, and how likely each runs out within the lead
        time: the likeliest first."""
        ground = self._ground(shop)
        if ground is None:
            return []
        of_shop, ahead = ground
        there = self._stock.now(shop)
        keys = [key for key in of_shop.rows if key in there]
        rows = _rows(of_shop, keys)
        stock = np.array([there[key].available for key in keys], dtype=float)
        mean = _between(ahead[rows], self._elapsed(shop, question), question.lead_time)
        chance = of_shop.times.exceeds(mean, question.lead_time, stock, rows)
        return sorted(
            ((key, float(one)) for key, one in zip(keys, chance, strict=True) if not np.isnan(one)),
            key=lambda found: (-found[1], found[0]),
        )

    def details(self, shop: str, keys: Sequence[str], question: Question) -> list[Risk]:
        """Of some of these variants, in their order."""
        ground = self._ground(shop)
        if ground is None or not keys:
            return []
        of_shop, ahead = ground
        rows, there = _rows(of_shop, keys), self._stock.now(shop)
        return _details(
            of_shop,
            rows,
            ahead[rows],
            [there[key] for key in keys],
            self._elapsed(shop, question),
            question,
        )

    def trained_through(self, shop: str) -> date | None:
        """The last day that was learned."""
        known = self._shops.get(shop)
        return date.fromordinal(known.last) if known and known.last else None

    def calibration(self, shop: str, days: int) -> Calibration | None:
        """How the chances of SCORED_DAYS did that came out on the last closed days."""
        known = self._shops.get(shop)
        return known.scores.over(known.last - days + 1, known.last) if known else None

    def at_risk(self) -> Mapping[str, int]:
        """By shop, how many variants were at risk at the last close."""
        return {name: shop.at_risk for name, shop in sorted(self._shops.items())}

    def _ground(self, shop: str) -> tuple[_Shop, Array] | None:
        """What an answer is made from: what was learned, and what is foretold [row, day] now."""
        of_shop, units = self._shops.get(shop), self._sales.variant_units(shop, 1)
        if of_shop is None or not of_shop.last or units is None:
            return None
        return of_shop, _aligned(of_shop, units)[1]

    def as_of(self, shop: str, question: Question) -> datetime:
        """From when on is foretold: from now, but where days close no more, from the last's end;
        and no later than allows for all the days that are asked for."""
        ended = self._stock.ended(shop)
        if ended is None:
            return question.now
        since = question.now if ended <= question.now <= ended + _LIVE else ended
        days = question.lead_time + question.review + question.cover
        return min(since, ended + timedelta(days=HORIZON - days))

    def _elapsed(self, shop: str, question: Question) -> float:
        """Days from the end of the last one that was closed to when on is foretold."""
        since = self.as_of(shop, question)
        return (since - (self._stock.ended(shop) or since)) / timedelta(days=1)

    # What is kept.

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            foretold = [arrays.dump(one) for one in (shop.chance, shop.stock)]
            at_risk = [shop.at_risk, sorted(shop.warned)]
            scores = shop.scores.state()
            yield [_SHOP, name, shop.last, list(shop.rows), at_risk, scores, foretold]
            for row in shop.times.state():
                yield [_TIMES, name, row]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        times: dict[str, list[Any]] = {}
        for what, name, *row in state:
            if what == _TIMES:
                times.setdefault(name, []).append(row[0])
                continue
            shop = self._shops[name] = _Shop()
            shop.last, keys, (shop.at_risk, warned), scores, (chance, stock) = row
            shop.rows = {key: number for number, key in enumerate(keys)}
            shop.scores.restore(scores)
            shop.warned = set(warned)
            shop.chance, shop.stock = arrays.load(chance), arrays.load(stock)
        for name, rows in times.items():
            self._shops[name].times.restore(rows)


STOCK_OUTS = ModelFamily(
    "stock_outs", version=2, new=StockOuts, of=("stock_days", "sales_forecast")
)


def _details(
    of_shop: _Shop,
    rows: IntArray,
    ahead: Array,
    there: Sequence[Stock],
    elapsed: float,
    question: Question,
) -> list[Risk]:
    times, keys = of_shop.times, list(of_shop.rows)
    stock = np.array([one.available for one in there], dtype=float)
    days = np.arange(1, int(HORIZON - elapsed) + 1)
    means = [_between(ahead, elapsed, float(day)) for day in days]
    chances = [
        times.exceeds(mean, float(day), stock, rows) for day, mean in zip(days, means, strict=True)
    ]
    by_day = np.maximum.accumulate(np.stack(chances, axis=1), axis=1)
    soon = question.lead_time + question.review
    late = soon + question.cover
    reorder = times.quantile(_between(ahead, elapsed, soon), soon, question.service_level, rows)
    enough = times.quantile(_between(ahead, elapsed, late), late, question.order_level, rows)
    found = []
    for number, row in enumerate(rows):
        gone = [_after(by_day[number], sure, stock[number]) for sure in COVER]
        point = int(reorder[number])
        up_to = max(int(enough[number]), point)
        available = there[number].available
        found.append(
            Risk(
                variant=keys[row],
                stock=there[number],
                mean=float(means[question.lead_time - 1][number]),
                chance=float(chances[question.lead_time - 1][number]),
                by_day=[float(one) for one in by_day[number]],
                days=gone,
                date=_date(of_shop.last, elapsed, gone[COVER.index(0.5)]),
                reorder_point=point,
                order_up_to=up_to,
                quantity=up_to - available if available <= point else 0,
            )
        )
    return found


def _grow(shop: _Shop, keys: Sequence[str]) -> None:
    for key in keys:
        shop.rows.setdefault(key, len(shop.rows))
    shop.times.grow(len(shop.rows))
    more = np.full((len(shop.rows) - len(shop.chance), SCORED_DAYS), np.nan)
    shop.chance, shop.stock = np.vstack([shop.chance, more]), np.vstack([shop.stock, more])


def _rows(shop: _Shop, keys: Sequence[str]) -> IntArray:
    return np.array([shop.rows[key] for key in keys], dtype=np.int64)


def _aligned(shop: _Shop, units: VariantUnits) -> tuple[Array, Array]:
    """Demand and forecasts by our own rows."""
    known = [(row, shop.rows[key]) for row, key in enumerate(units.keys) if key in shop.rows]
    theirs, ours = np.array(known, dtype=np.int64).reshape(-1, 2).T
    found = []
    for values in (units.demand, units.ahead):
        own = np.full((len(shop.rows), values.shape[1]), np.nan)
        own[ours] = values[theirs]
        found.append(own)
    return found[0], found[1]


def _score(shop: _Shop, day: int) -> None:
    """What was foretold SCORED_DAYS ago. A day of which the demand is not known is one on which
    there was no stock left."""
    at = shop.times.closed % SCORED_DAYS
    known = np.flatnonzero(~np.isnan(shop.chance[:, at]))
    chance, stock = shop.chance[known, at], shop.stock[known, at]
    realised = shop.times.realised(SCORED_DAYS)[known]
    over = shop.times.known_units(SCORED_DAYS)[known] > stock
    shop.scores.hear(day, chance, (np.isnan(realised) | over).astype(float))
    shop.chance[:, at] = np.nan


def _between(ahead: Array, elapsed: float, days: float) -> Array:
    """The mean demand [row] of so many days, from so many after the first one's beginning on."""
    sums = np.hstack([np.zeros((len(ahead), 1)), np.cumsum(ahead, axis=1)])
    return _at(sums, elapsed + days) - _at(sums, elapsed)


def _at(sums: Array, days: float) -> Array:
    whole = min(int(days), sums.shape[1] - 2)
    part = min(days - whole, 1.0)
    return np.asarray(sums[:, whole] * (1 - part) + sums[:, whole + 1] * part)


def _after(by_day: Array, sure: float, stock: float) -> float | None:
    """After how many days it is so likely that a stock is gone."""
    if stock <= 0:
        return 0.0
    reached = np.flatnonzero(by_day >= sure)
    if not len(reached):
        return None
    day = int(reached[0])
    before = float(by_day[day - 1]) if day else 0.0
    return day + (sure - before) / max(float(by_day[day]) - before, 1e-12)


def _date(last: int, elapsed: float, days: float | None) -> date | None:
    return None if days is None else date.fromordinal(last + 1 + int(elapsed + days))
