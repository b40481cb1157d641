"""Demand as a negative binomial, held against scipy's own and against draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ml_online.stock_outs import demand, exceeds, quantile, service_of

means = st.floats(0.01, 3_000)
excesses = st.one_of(st.just(0.0), st.floats(1e-3, 20))


def textbook(mean: float, excess: float) -> "stats.rv_discrete":
    if not excess:
        return stats.poisson(mean)
    return stats.nbinom(1 / excess, 1 / (1 + excess * mean))


@given(means, excesses, st.integers(0, 10_000))
def test_chances_are_those_of_the_textbook(mean: float, excess: float, stock: int) -> None:
    found = exceeds(demand(np.array([mean]), np.array([excess])), np.array([float(stock)]))
    assert found[0] == pytest.approx(textbook(mean, excess).sf(stock), rel=1e-6, abs=1e-12)


@given(means, excesses, st.floats(0.001, 0.999))
def test_a_quantile_is_the_least_that_suffices(mean: float, excess: float, level: float) -> None:
    of = demand(np.array([mean]), np.array([excess]))
    (units,) = quantile(of, level)
    assert exceeds(of, np.array([units]))[0] <= 1 - level
    assert units == 0 or exceeds(of, np.array([units - 1]))[0] > 1 - level


def test_what_is_not_known_stays_unknown_and_debts_are_always_exceeded() -> None:
    of = demand(np.array([np.nan, 3.0, 3.0]), np.array([0.5, 0.5, 0.5]))
    found = exceeds(of, np.array([2.0, -1.0, np.nan]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == 1.0
    assert np.isnan(quantile(of, 0.9)[0])


def test_a_service_level_balances_what_too_few_and_too_many_cost() -> None:
    assert service_of(9.0, 1.0) == 0.9
    with pytest.raises(ValueError, match="more than nothing"):
        service_of(1.0, 0.0)
