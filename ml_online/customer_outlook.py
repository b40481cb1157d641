"""What is ahead of customers, by what is known of each and what all have in common.

Of how many orders there will be two are asked, and both weigh the same: the purchase process alone,
and the process with its chance of any order at all replaced by the one that was learned from what
became of others (`returning`). The interval of orders is that of the two together; what they are
worth in total has the distribution of so many orders of somebody who spends so.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ml_online import buying, spending
from ml_online.buying import Array, Buyers, Rates
from ml_online.customer_orders import IntArray, Known
from ml_online.returning import Returning, features
from ml_online.spending import Spenders, Spending

LEVELS = (0.1, 0.5, 0.9)
"""Quantiles that are told: an interval of 80 %, and the median."""

_WEEK_DAYS = 7
_LEAST = 1e-9
_COUNTS = 40
_AT_ONCE = 4_096  # customers
_MOST_COUNTS = 400
_MONTHS_A_YEAR = 12
_YEAR_WEEKS = 365.25 / 7


class Lessons(NamedTuple):
    """What all customers of a shop have in common; `currencies` by number."""

    rates: Rates
    spending: Mapping[str, Spending]
    currencies: Sequence[str]
    returning: Returning


class Said(NamedTuple):
    """Of some customers for one horizon: log odds before they are calibrated, the chance of an
    order, and how many there will be; by the process alone, too."""

    raw: Array
    chance: Array
    expected: Array
    process_chance: Array
    process_expected: Array


class Outlook(NamedTuple):
    """Of one customer. Quantiles are those of LEVELS; a gap is between orders, in days."""

    orders: int
    first_days: float
    silent_days: float
    usual_gap: float | None
    still_there: float
    chance: float
    expected_orders: float
    order_quantiles: tuple[int, ...]
    currency: str
    order_value: float
    expected_value: float
    value_quantiles: tuple[float, ...]
    usual_share: float
    """The share of customers like them who would be silent for so long and come again."""


class Outlooks(NamedTuple):
    """Of all customers of a shop: arrays of one length, by number in `who`. `at_stake` is what they
    would be expected to bring if it were certain that they are still customers, `relative` their
    mean order in multiples of the shop's."""

    who: IntArray
    buyers: Buyers
    chance: Array
    still_there: Array
    expected: Array
    value: Array
    at_stake: Array
    relative: Array
    currency: IntArray

    @classmethod
    def nobody(cls) -> "Outlooks":
        none, numbers = np.zeros(0), np.zeros(0, dtype=np.int64)
        return cls(numbers, Buyers(none, none, none), *(none,) * 6, numbers)

    @property
    def silent(self) -> Array:
        """Weeks."""
        return self.buyers.age - self.buyers.t_x


def relative_value(lessons: Lessons, known: Known) -> Array:
    """The mean order of each, in multiples of the shop's; 1 where there is none."""
    units = np.ones(len(known.who))
    for number, currency in enumerate(lessons.currencies):
        if currency in lessons.spending:
            units[known.currency == number] = lessons.spending[currency].unit
    return np.where(known.valued > 0, known.mean / np.maximum(units, _LEAST), 1.0)


def said(lessons: Lessons, buyers: Buyers, value: Array, weeks: float) -> Said:
    """`value` is relative."""
    rates = lessons.rates
    level = lessons.returning.level(weeks)
    raw = lessons.returning.raw(features(rates, buyers, value, weeks, level))
    chance = lessons.returning.chance(raw)
    process = buying.any_purchase(rates, buyers, weeks)
    expected = buying.purchases(rates, buyers, weeks)
    both = expected * _tilt(chance, process)
    return Said(raw, chance, both, process, expected)


def _tilt(chance: Array, process: Array) -> Array:
    """How many times likelier each count of one and more is than by the process alone."""
    return (1 + chance / np.maximum(process, _LEAST)) / 2


def distribution(rates: Rates, buyers: Buyers, found: Said, weeks: float) -> Array:
    """[customer, n]: how likely there will be n orders; the last is of so many and more."""
    most = int(np.clip(6 * found.expected.max(initial=0.0), _COUNTS, _MOST_COUNTS))
    counts = buying.counts(rates, buyers, weeks, most)
    counts[:, 1:] *= _tilt(found.chance, found.process_chance)[:, None]
    some = (found.chance + found.process_chance) / 2
    counts[:, 0] = 1 - some
    counts[:, -1] = np.maximum(1 - counts[:, :-1].sum(axis=1), 0.0)
    return counts


def quantiles(counts: Array, levels: Sequence[float]) -> IntArray:
    """[customer, level] of the number of orders."""
    upto = np.cumsum(counts, axis=1)
    found = [(upto < level - _LEAST).sum(axis=1) for level in levels]
    numbers: IntArray = np.minimum(np.stack(found, axis=1), counts.shape[1] - 1).astype(np.int64)
    return numbers


def outlook(lessons: Lessons, known: Known, days: float) -> Outlook:
    """Of one alone."""
    weeks, buyers = days / _WEEK_DAYS, known.buyers
    found = said(lessons, buyers, relative_value(lessons, known), weeks)
    counts = distribution(lessons.rates, buyers, found, weeks)
    currency = lessons.currencies[int(known.currency[0])]
    own = lessons.spending.get(currency) or spending.USUAL._replace(
        unit=max(float(known.mean[0]), _LEAST)
    )
    spenders = Spenders(known.valued, known.mean)
    value = float(spending.expected_order(own, spenders)[0])
    x = float(buyers.x[0])
    there = buying.still_there(lessons.rates, buyers)
    return Outlook(
        orders=int(x) + 1,
        first_days=float(buyers.age[0]) * _WEEK_DAYS,
        silent_days=float(known.silent[0]) * _WEEK_DAYS,
        usual_gap=float(buyers.t_x[0]) * _WEEK_DAYS / x if x else None,
        still_there=float(there[0]),
        chance=float(found.chance[0]),
        expected_orders=float(found.expected[0]),
        order_quantiles=tuple(quantiles(counts, LEVELS)[0].tolist()),
        currency=currency,
        order_value=value,
        expected_value=float(found.expected[0]) * value,
        value_quantiles=tuple(spending.totals(own, spenders, counts, np.array(LEVELS))[0].tolist()),
        usual_share=float(_silence(lessons.rates, buyers)[0]),
    )


def outlooks(lessons: Lessons, known: Known, days: float) -> Outlooks:
    """Of all of them, without intervals."""
    weeks, buyers = days / _WEEK_DAYS, known.buyers
    relative = relative_value(lessons, known)
    found = said(lessons, buyers, relative, weeks)
    there = buying.still_there(lessons.rates, buyers)
    value = np.zeros(len(known.who))
    for number, currency in enumerate(lessons.currencies):
        own = known.currency == number
        model = lessons.spending.get(currency)
        value[own] = (
            known.mean[own]
            if model is None
            else spending.expected_order(model, Spenders(known.valued[own], known.mean[own]))
        )
    certain = found.process_expected / np.maximum(there, _LEAST) * value
    return Outlooks(
        known.who,
        buyers,
        found.chance,
        there,
        found.expected,
        found.expected * value,
        certain,
        relative,
        known.currency,
    )


def intervals(lessons: Lessons, known: Known, days: float) -> IntArray:
    """[customer, 2] of orders: 80 % of what is likely."""
    weeks, found = days / _WEEK_DAYS, []
    for begin in range(0, len(known.who), _AT_ONCE):
        some = known.some(slice(begin, begin + _AT_ONCE))
        told = said(lessons, some.buyers, relative_value(lessons, some), weeks)
        counts = distribution(lessons.rates, some.buyers, told, weeks)
        found.append(quantiles(counts, (LEVELS[0], LEVELS[-1])))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def discounted(lessons: Lessons, known: Known, days: float, rate: float) -> float:
    """What a unit of money that orders within so many days will bring is worth today, at a rate a
    year: month by month, as the process expects them."""
    weeks = days / _WEEK_DAYS
    month = _YEAR_WEEKS / _MONTHS_A_YEAR
    ends = [*np.arange(month, weeks, month).tolist(), weeks]
    upto = [float(buying.purchases(lessons.rates, known.buyers, end)[0]) for end in ends]
    if upto[-1] <= 0:
        return 1.0
    total, before, begin = 0.0, 0.0, 0.0
    for end, until in zip(ends, upto, strict=True):
        total += (until - before) * (1 + rate) ** (-(begin + end) / 2 / _YEAR_WEEKS)
        before, begin = until, end
    return total / upto[-1]


def _silence(rates: Rates, buyers: Buyers) -> Array:
    """How likely somebody who is still a customer is silent for so long."""
    r, alpha, _, _ = rates
    found: Array = np.exp((r + buyers.x) * np.log((alpha + buyers.t_x) / (alpha + buyers.age)))
    return found
