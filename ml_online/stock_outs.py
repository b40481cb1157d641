"""Running out of stock: the demand of the days ahead as a distribution, and what follows from it.

The demand of a stretch of days is a negative binomial with the forecast's mean and the variance
that sums over such stretches have had around their forecasts (`ml_online.lead_time`). Demand only
adds up, so that a stock is gone by a day if the demand up to that day exceeds it: the chance of
every day, the expected date and the days that a stock covers need no paths to be simulated.

All are pure functions over arrays of any one shape; units and days are floats.
"""

from typing import NamedTuple

import numpy as np

from ml_online.daily import Array

_NEARLY_POISSON = 1e-6  # of the mean: less that the variance has above it is none
_LEAST_MEAN = 1e-9
_MOST_UNITS = 2.0**40


class Demand(NamedTuple):
    """Units over some stretch of days. No variance is below its mean: there it is a Poisson's."""

    mean: Array
    variance: Array


def demand(mean: Array, excess: Array) -> Demand:
    """A demand of this mean whose variance is above it by `excess` times the mean's square."""
    mean = np.maximum(mean, _LEAST_MEAN)
    return Demand(mean, mean + np.maximum(excess, 0.0) * mean * mean)


def exceeds(of: Demand, stock: Array) -> Array:
    """How likely the demand is more than a stock; a stock below nothing is always exceeded."""
    # Here, because loading it takes a second of every process that only knows of the model.
    from scipy import special

    mean, variance, stock = np.broadcast_arrays(of.mean, of.variance, np.floor(stock))
    over = variance - mean
    poisson = over <= _NEARLY_POISSON * mean
    over = np.where(poisson, 1.0, over)
    units = np.maximum(stock, 0.0)
    chance = np.where(
        poisson,
        special.gammainc(units + 1.0, mean),
        special.betainc(units + 1.0, mean * mean / over, np.where(poisson, 0.5, over / variance)),
    )
    return np.where(np.isnan(mean), np.nan, np.where(stock < 0, 1.0, chance))


def quantile(of: Demand, level: Array | float) -> Array:
    """The least units that suffice with this probability. NaN where the mean is."""
    mean, variance, level = np.broadcast_arrays(of.mean, of.variance, np.asarray(level, float))
    known = ~np.isnan(mean)
    filled = Demand(np.where(known, mean, 1.0), np.where(known, variance, 1.0))
    short = 1.0 - level
    low = np.full(mean.shape, -1.0)  # never suffices
    high = np.ceil(filled.mean + 4.0 * np.sqrt(filled.variance)) + 1.0
    while (less := (exceeds(filled, high) > short) & (high < _MOST_UNITS)).any():
        low, high = np.where(less, high, low), np.where(less, 2.0 * high, high)
    while ((gap := high - low) > 1.0).any():
        middle = np.floor(low + gap / 2.0)
        enough = exceeds(filled, middle) <= short
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(known, high, np.nan)


def service_of(short: float, over: float) -> float:
    """The level at which a unit too few, which costs `short`, and one too many balance."""
    if short <= 0 or over <= 0:
        raise ValueError("what a unit too few or too many costs is more than nothing")
    return short / (short + over)
