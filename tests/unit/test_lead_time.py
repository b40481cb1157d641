"""What the errors of sums teach: their own spread, and where they lie in what was foretold."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy import stats

from ml_online.daily import HORIZON, Array
from ml_online.lead_time import LEADS, LeadTimes

Draws = Callable[[np.random.Generator, int], Array]
ROWS, DAYS = 60, 240


def learned(drawn: Draws, mean: float, days: int = DAYS, foretold: float = 1.0) -> LeadTimes:
    """Of series whose true mean is foretold, or so many times as much."""
    random = np.random.default_rng(3)
    times = LeadTimes()
    times.grow(ROWS)
    sums = np.tile(np.arange(1.0, HORIZON + 1) * mean * foretold, (ROWS, 1))
    for _ in range(days):
        times.close(drawn(random, ROWS))
        times.foretell(sums)
    return times


def negative_binomial(random: np.random.Generator, rows: int) -> Array:
    return random.negative_binomial(2.0, 2.0 / 7.0, rows).astype(float)  # mean 5, variance 17.5


class Shaken:
    """What is much or little on all days of a month alike, which no single day shows."""

    def __init__(self) -> None:
        self._day, self._rates = 0, np.empty(0)

    def __call__(self, random: np.random.Generator, rows: int) -> Array:
        if self._day % 30 == 0:
            self._rates = 5.0 * random.gamma(2.0, 0.5, rows)
        self._day += 1
        return random.poisson(self._rates).astype(float)


@pytest.mark.parametrize("lead", LEADS)
def test_the_variance_of_independent_days_adds_up(lead: int) -> None:
    times = learned(negative_binomial, 5.0)
    of = times.demand(np.full(ROWS, 5.0 * lead), lead)
    assert of.variance.mean() == pytest.approx(17.5 * lead, rel=0.25)


def test_days_that_err_together_make_a_wider_sum_than_their_own_variances() -> None:
    times = learned(Shaken(), 5.0)
    day, month = (times.demand(np.full(ROWS, 5.0 * n), n).variance.mean() for n in (1, 28))
    assert month > 4 * 28 * day


def test_what_is_foretold_too_low_is_corrected_by_where_outcomes_lie() -> None:
    truth = stats.nbinom(14, 2 / 7).sf(40)  # of seven days
    honest, low = (
        learned(negative_binomial, 5.0, foretold=share)
        .exceeds(np.full(ROWS, 35.0 * share), 7, np.full(ROWS, 40.0))
        .mean()
        for share in (1.0, 0.8)
    )
    assert honest == pytest.approx(truth, abs=0.03)
    assert low == pytest.approx(truth, abs=0.05)


def test_a_quantile_suffices_with_the_probability_that_was_asked_for() -> None:
    times = learned(negative_binomial, 5.0)
    units = times.quantile(np.full(ROWS, 35.0), 7, 0.9)
    chance = times.exceeds(np.full(ROWS, 35.0), 7, units)
    assert ((chance <= 0.1 + 1e-9) & (chance > 0.05)).all()
    some = np.array([4, 2])
    assert (times.quantile(np.full(2, 35.0), 7, 0.9, some) == units[some]).all()


def test_days_that_are_not_known_teach_nothing_and_new_series_are_like_others() -> None:
    times = LeadTimes()
    times.grow(2)
    sums = np.tile(np.arange(1.0, HORIZON + 1), (2, 1))
    for day in range(30):
        times.close(np.array([1.0 + day % 2, np.nan]))
        times.foretell(sums)
    assert np.isnan(times.realised(7)[1])
    assert times.known_units(7)[1] == 0
    alike = times.demand(np.array([7.0, 7.0]), 7)
    times.grow(3)
    new = times.demand(np.array([7.0, 7.0, 7.0]), 7)
    assert new.variance[2] == new.variance[1] == alike.variance[1]


def test_it_goes_on_bit_by_bit_from_what_it_saved() -> None:
    times = learned(negative_binomial, 5.0, days=50)
    again = LeadTimes()
    again.restore(msgspec.json.decode(msgspec.json.encode(list(times.state()))))
    values = []
    for one in (times, again):
        random = np.random.default_rng(1)
        for _ in range(10):
            one.close(negative_binomial(random, ROWS))
            one.foretell(np.tile(np.arange(1.0, HORIZON + 1) * 5, (ROWS, 1)))
        values.append(msgspec.json.encode(list(one.state())))
    assert values[0] == values[1]
