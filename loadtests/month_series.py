"""Monthly series as shops have them, made up: what long-term forecasts are chosen and judged on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KINDS = ("steady", "growing", "damped", "seasonal", "additive", "shifting", "wandering", "rare")


class MonthSeries(NamedTuple):
    """Values by month, none below zero, and the calendar month of the first, 1 to 12."""

    kind: str
    first_month: int
    values: Array


def simulated(seed: int, count: int, shortest: int, longest: int) -> Iterator[MonthSeries]:
    """So many series of each kind, of lengths between these."""
    random = np.random.default_rng(seed)
    for kind in KINDS:
        for _ in range(count):
            months = int(random.integers(shortest, longest + 1))
            first = int(random.integers(1, 13))
            yield MonthSeries(kind, first, _series(random, kind, months, first))


def _series(random: np.random.Generator, kind: str, months: int, first: int) -> Array:
    at = np.arange(float(months))
    scale = 10 ** random.uniform(0.5, 5)
    if kind == "rare":
        return random.poisson(random.uniform(0.2, 4) * _season(random, at, first, 0.3)).astype(
            float
        )
    noise = random.uniform(0.03, 0.3)
    level = np.exp(_trend(random, kind, at))
    if kind == "shifting":
        level *= np.exp(random.normal(0, 0.4) * (at >= random.integers(0, months)))
    if kind == "wandering":
        level *= np.exp(np.cumsum(random.normal(0, random.uniform(0.02, 0.08), months)))
    season = _season(random, at, first, random.uniform(0.05, 0.4) * (random.random() < 0.8))
    clean = level + season - 1 if kind == "additive" else level * season
    values = clean * np.exp(random.normal(0, noise, months) - noise**2 / 2)
    return np.maximum(0, scale * values)


def _trend(random: np.random.Generator, kind: str, at: Array) -> Array:
    """Of the logarithm of the level."""
    if kind in ("steady", "rare"):
        return np.zeros(len(at))
    slope = random.normal(0.004, 0.008)
    if kind == "growing":
        return slope * at
    fading = random.uniform(0.9, 0.985)
    return 3 * slope * (1 - fading**at) / (1 - fading)


def _season(random: np.random.Generator, at: Array, first: int, size: float) -> Array:
    """A factor for each month, of mean 1 over a year: waves, and some with a month of its own."""
    months = np.arange(12)
    shape = sum(
        random.normal(0, 1 / wave) * np.cos(2 * np.pi * wave * (months / 12 + random.random()))
        for wave in (1, 2, 3)
    )
    peak = np.zeros(12)
    peak[random.integers(0, 12)] = random.exponential(1.5) * (random.random() < 0.5)
    factors = np.exp(size * (shape + peak))
    return np.asarray((factors / factors.mean())[(at.astype(int) + first - 1) % 12])
