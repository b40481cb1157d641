"""Demand that is made up, and the true chance that the sum of any of its days exceeds a stock.

Most kinds of demand are drawn from a distribution whose probability generating function is known.
That of a sum of days is the product of theirs, and a Fourier transform gives its chances exactly.
Where it is not, as of Poisson demand with log-normal rates, many more draws say the chances.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.daily import Array

Generating = Callable[[Array, Array, NDArray[np.complex128]], NDArray[np.complex128]]
"""Of means [n, 1], shapes [n, 1] and points [1, m] on the unit circle."""
Drawn = Callable[[np.random.Generator, Array, Array], Array]

_SKUS = 400
_YEAR = 365.25
_MOST_POINTS = 1 << 14
_DRAWS = 600


class Kind(NamedTuple):
    """How the demand of a day with a certain mean comes about; `shapes` between which an item's
    own lies."""

    name: str
    shapes: tuple[float, float]
    drawn: Drawn
    generating: Generating | None


class Market(NamedTuple):
    """Demand and its mean, by item and day; promotions that were known ahead are 1.0."""

    kind: Kind
    demand: Array
    mean: Array
    shape: Array  # by item
    promotions: Array


def _nb_drawn(random: np.random.Generator, mean: Array, shape: Array) -> Array:
    return random.negative_binomial(shape, shape / (shape + mean)).astype(float)


def _nb(mean: Array, shape: Array, at: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Gamma rates of this shape."""
    return np.asarray((1 - mean / shape * (at - 1)) ** -shape)


def _lognormal_drawn(random: np.random.Generator, mean: Array, shape: Array) -> Array:
    noise = np.exp(shape * random.standard_normal(mean.shape) - shape**2 / 2)
    return random.poisson(mean * noise).astype(float)


_OF_VISITS = 2.0  # the shape of what is bought on days on which anything is


def _zero_inflated_drawn(random: np.random.Generator, mean: Array, shape: Array) -> Array:
    some = random.random(mean.shape) < shape
    return np.where(some, _nb_drawn(random, mean / shape, np.full_like(mean, _OF_VISITS)), 0.0)


def _zero_inflated(mean: Array, shape: Array, at: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Nothing at all but on this share of the days."""
    return 1 - shape + shape * _nb(mean / shape, np.full_like(mean, _OF_VISITS), at)


def _compound_drawn(random: np.random.Generator, mean: Array, shape: Array) -> Array:
    orders = random.poisson(mean / shape)
    rest = random.negative_binomial(np.maximum(orders, 1), np.broadcast_to(1 / shape, mean.shape))
    return np.where(orders > 0, orders + rest, 0).astype(float)


def _compound(mean: Array, shape: Array, at: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Orders at random, of geometric sizes of this mean."""
    of_order = at / shape / (1 - (1 - 1 / shape) * at)
    return np.asarray(np.exp(mean / shape * (of_order - 1)))


KINDS: Sequence[Kind] = (
    Kind("negative binomial", (0.8, 6.0), _nb_drawn, _nb),
    Kind("Poisson-lognormal", (0.3, 0.9), _lognormal_drawn, None),
    Kind("zero-inflated", (0.2, 0.8), _zero_inflated_drawn, _zero_inflated),
    Kind("compound Poisson", (1.5, 6.0), _compound_drawn, _compound),
)


def market(kind: Kind, seed: int, days: int, items: int = _SKUS) -> Market:
    """Items of 0.15 to 40 units a day, with a week, a year, a trend and promotions of their own."""
    random = np.random.default_rng(seed)
    day = np.arange(days)

    def each(low: float, high: float) -> Array:
        return random.uniform(low, high, (items, 1))

    level = np.exp(each(np.log(0.15), np.log(40.0)))
    week = random.uniform(0.5, 1.5, (items, 7))
    week /= week.mean(axis=1, keepdims=True)
    year = 1 + each(0.0, 0.35) * np.sin(2 * np.pi * (day / _YEAR + each(0.0, 1.0)))
    trend = np.exp(each(-0.0006, 0.0008) * day)
    begun = random.random((items, days)) < 1 / 60
    lasting = np.array([np.convolve(one, np.ones(5), "full")[:days] > 0 for one in begun])
    promotions = lasting.astype(float)
    mean = level * week[:, day % 7] * year * trend * (1 + each(0.3, 1.5) * promotions)
    shape = each(*kind.shapes)
    demand = kind.drawn(random, mean, np.broadcast_to(shape, mean.shape).copy())
    return Market(kind, demand, mean, shape, promotions)


def true_chances(of: Market, first: int, days: int, stock: Array) -> Array:
    """Of each item: that the demand of `days` days from `first` on exceeds its stock."""
    means = of.mean[:, first : first + days]
    chances = np.empty(len(means))
    for rows, cumulative in _cumulative(of, means, stock):
        units = np.clip(stock[rows], 0, cumulative.shape[1] - 1).astype(np.int64)
        chances[rows] = 1 - cumulative[np.arange(len(rows)), units]
    return np.clip(chances, 0.0, 1.0)


def true_quantiles(of: Market, first: int, days: int, level: float) -> Array:
    """Of each item: the least units that suffice for these days with this probability."""
    means = of.mean[:, first : first + days]
    found = np.empty(len(means))
    for rows, cumulative in _cumulative(of, means, np.zeros(len(means))):
        found[rows] = (cumulative < level).sum(axis=1)
    return found


def _cumulative(of: Market, means: Array, stock: Array) -> list[tuple[NDArray[np.int64], Array]]:
    """The distribution functions of sums of days, by items whose sums are of like sizes."""
    total = means.sum(axis=1)
    # So far that what lies beyond, and comes back as an alias, is next to nothing.
    wanted = np.maximum(total * (1.5 + 10 / np.sqrt(means.shape[1])) + 150, stock + 2)
    sizes = 2 ** np.ceil(np.log2(np.minimum(wanted, _MOST_POINTS))).astype(np.int64)
    transformed = _drawn_again if of.kind.generating is None else _transformed
    found = []
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        chances = transformed(of, means[rows], of.shape[rows], int(size))
        found.append((rows, np.cumsum(chances, axis=1)))
    return found


def _transformed(of: Market, means: Array, shapes: Array, size: int) -> Array:
    """The chances [item, units] of fewer units than `size`."""
    assert of.kind.generating is not None
    at = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)[None, :]
    product = np.ones((len(means), at.shape[1]), dtype=np.complex128)
    for day in range(means.shape[1]):
        product *= of.kind.generating(means[:, day : day + 1], shapes, at)
    return np.asarray(np.fft.irfft(product, size, axis=1))


def _drawn_again(of: Market, means: Array, shapes: Array, size: int) -> Array:
    """The same from draws that nobody else sees."""
    random = np.random.default_rng([size, len(means), int(means.sum() * 1_000)])
    found = np.zeros((len(means), size))
    for item, (mean, shape) in enumerate(zip(means, shapes, strict=True)):
        wide = np.broadcast_to(mean, (_DRAWS, len(mean)))
        sums = of.kind.drawn(random, wide, np.broadcast_to(shape, wide.shape)).sum(axis=1)
        counts = np.bincount(np.minimum(sums, size - 1).astype(np.int64), minlength=size)
        found[item] = counts / _DRAWS
    return found
