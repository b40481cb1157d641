"""A simulated chain of shops: promotions and closed days that are known ahead.

No free data set has these. Made after what is commonly known of such chains, not after anybody's
figures: promotions from Monday to
Friday of every other week, most shops closed on Sundays and all on public holidays, school holidays
by state, pay days, Decembers, shops that take to promotions more or less, and levels that shift for
good when a competitor opens or closes. All of it is a function of the seed.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 20_260
STORES = 80
DAYS = 900
FIRST = date(2023, 1, 2)

_STATES = 4
_EASTERS = {2023: date(2023, 4, 9), 2024: date(2024, 3, 31), 2025: date(2025, 4, 20)}
_AFTER_EASTER = (-2, 1, 39, 50)
_FIXED = ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))
_OPEN_SUNDAYS = 0.06
_CLOSED_FOR_REPAIR = 0.1

Flags = NDArray[np.bool_]


class Store(NamedTuple):
    """What a shop is like. Effects are of the logarithm of its sales."""

    level: float
    weekdays: NDArray[np.float64]
    promotion: float
    promotion_fade: float
    """What a promotion loses from day to day of its week."""
    school: float
    pay_day: float
    december: float
    noise: float
    state: int
    open_sundays: bool


def rows(seed: int = SEED, stores: int = STORES, days: int = DAYS) -> Iterator[Sequence[Any]]:
    """`date, series, value, promo, open, holiday, school`, a header first."""
    yield "date", "series", "value", "promo", "open", "holiday", "school"
    generator = np.random.default_rng(seed)
    calendar = [FIRST + timedelta(days=number) for number in range(days)]
    promoted = _promotions(generator, calendar)
    schools = [_school_holidays(generator, calendar) for _ in range(_STATES)]
    holidays = [_is_holiday(day) for day in calendar]
    for number in range(stores):
        store = _store(generator)
        shift = _shifts(generator, days)
        drift = np.cumsum(generator.normal(0, 0.004, days))
        closed = _repair(generator, days)
        before = 0.0
        for place, day in enumerate(calendar):
            before = 0.7 * before + generator.normal(0, store.noise)
            noise = before + generator.normal(0, store.noise)
            opened = not (
                holidays[place] or closed[place] or (day.weekday() == 6 and not store.open_sundays)
            )
            school = bool(schools[store.state][place])
            log = store.level + store.weekdays[day.weekday()] + shift[place] + drift[place] + noise
            log += _effects(store, day, bool(promoted[place]), school)
            log += 0.18 * _beside(holidays, calendar, place)
            value = int(generator.poisson(np.exp(log))) if opened else 0
            holiday = "public" if holidays[place] else "none"
            yield (
                day, f"store-{number + 1:03}", value, int(promoted[place]), int(opened), holiday,
                int(school),
            )  # fmt: skip


def _store(generator: np.random.Generator) -> Store:
    usual = np.array([0.18, 0.02, -0.03, 0.0, 0.06, 0.1, -0.25])
    return Store(
        level=generator.normal(5.6, 0.5),
        weekdays=usual + generator.normal(0, 0.06, 7),
        promotion=max(0.05, generator.normal(0.38, 0.14)),
        promotion_fade=generator.uniform(0.0, 0.05),
        school=generator.normal(0.03, 0.05),
        pay_day=abs(generator.normal(0.08, 0.04)),
        december=abs(generator.normal(0.3, 0.12)),
        noise=generator.uniform(0.05, 0.09),
        state=int(generator.integers(_STATES)),
        open_sundays=bool(generator.random() < _OPEN_SUNDAYS),
    )


def _effects(store: Store, day: date, promoted: bool, school: bool) -> float:
    found = store.school * school
    if promoted:
        found += store.promotion - store.promotion_fade * day.weekday()
    if day.day <= 3 or day.day >= 29:
        found += store.pay_day
    if day.month == 12 and day.day < 25:
        found += store.december * day.day / 24
    return found + 0.05 * float(np.sin(2 * np.pi * (day.timetuple().tm_yday - 80) / 365.25))


def _beside(holidays: Sequence[bool], calendar: Sequence[date], place: int) -> int:
    """How many of the days beside are public holidays: who finds it closed comes then."""
    beside = (one for one in (place - 1, place + 1) if 0 <= one < len(calendar))
    return sum(holidays[one] for one in beside)


def _is_holiday(day: date) -> bool:
    easter = _EASTERS[day.year]
    return (day.month, day.day) in _FIXED or (day - easter).days in _AFTER_EASTER


def _promotions(generator: np.random.Generator, calendar: Sequence[date]) -> Flags:
    """Monday to Friday of every other week, in the whole chain; now and then the rhythm slips."""
    promoted = np.zeros(len(calendar), dtype=bool)
    on = True
    for place, day in enumerate(calendar):
        if day.weekday() == 0:
            on = not on if generator.random() < 0.92 else on
        promoted[place] = on and day.weekday() < 5
    return promoted


def _school_holidays(generator: np.random.Generator, calendar: Sequence[date]) -> Flags:
    """Six weeks of summer, two at Easter, two in October, two at Christmas."""
    found = np.zeros(len(calendar), dtype=bool)
    for year in sorted({day.year for day in calendar}):
        summer = date(year, 6, 20) + timedelta(days=int(generator.integers(40)))
        spans = [(summer, 42), (_EASTERS[year] - timedelta(days=7), 14)]
        spans.append((date(year, 10, 1) + timedelta(days=int(generator.integers(21))), 14))
        spans += [(date(year, 12, 22), 16), (date(year, 1, 1), 6)]
        for begin, length in spans:
            found |= [begin <= day < begin + timedelta(days=length) for day in calendar]
    return found


def _shifts(generator: np.random.Generator, days: int) -> NDArray[np.float64]:
    """Up to two shifts of the level, each for good, one perhaps within the last half year."""
    found = np.zeros(days)
    for _ in range(int(generator.integers(3))):
        found[int(generator.integers(120, days)) :] += generator.normal(0, 0.2)
    return found


def _repair(generator: np.random.Generator, days: int) -> Flags:
    """A few shops are closed for some weeks once."""
    found = np.zeros(days, dtype=bool)
    if generator.random() < _CLOSED_FOR_REPAIR:
        begin = int(generator.integers(0, days - 40))
        found[begin : begin + int(generator.integers(14, 40))] = True
    return found
