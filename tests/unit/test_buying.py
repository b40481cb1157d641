"""The purchase process against numbers that were published, and against what its two kinds of
chance come to when they are added up one by one."""

import numpy as np
import pytest
from scipy.special import betaincinv, gammaincinv

from ml_online import buying
from ml_online.buying import Buyers, Rates

# Fader, Hardie and Lee's rates of the CDNOW sample, in weeks.
CDNOW = Rates(0.243, 4.414, 0.793, 2.426)
SOME = Buyers(
    np.array([0.0, 0.0, 1.0, 2.0, 5.0, 12.0]),
    np.array([0.0, 0.0, 3.0, 30.43, 35.0, 20.0]),
    np.array([4.0, 38.0, 30.0, 38.86, 36.0, 38.0]),
)
RATES = [CDNOW, Rates(0.7, 9.0, 0.05, 30.0), Rates(1.3, 6.0, 1.0, 2.0), Rates(2.0, 10.0, 2.5, 4.0)]


class Each:
    """Customers one by one: rates of buying and chances of stopping, all equally likely."""

    def __init__(self, rates: Rates, buyers: Buyers, place: int) -> None:
        nodes, weights = np.polynomial.legendre.leggauss(240)
        at, weight = (nodes + 1) / 2, weights / 2
        rate = gammaincinv(rates.r, at)[:, None] / rates.alpha
        stop = betaincinv(rates.a, rates.b, at)[None, :]
        x, t_x, age = (float(column[place]) for column in buyers)
        bought = rate**x
        here = bought * (1 - stop) ** x * np.exp(-rate * age)
        gone = bought * stop * (1 - stop) ** max(x - 1, 0) * np.exp(-rate * t_x) if x else 0 * here
        self.weight = weight[:, None] * weight[None, :]
        self.rate, self.stop, self.here, self.both = rate, stop, here, here + gone

    def of(self, value: np.ndarray) -> float:
        """The mean of something over those who did what was done, and are still there."""
        return float((self.weight * self.here * value).sum() / (self.weight * self.both).sum())


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("place", range(len(SOME.x)))
def test_what_is_said_is_what_customers_one_by_one_come_to(rates: Rates, place: int) -> None:
    each, weeks = Each(rates, SOME, place), 26.0
    there = buying.still_there(rates, SOME)[place]
    assert each.of(np.ones_like(each.here)) == pytest.approx(there, rel=5e-3, abs=1e-4)
    some = buying.any_purchase(rates, SOME, weeks)[place]
    assert each.of(1 - np.exp(-each.rate * weeks)) == pytest.approx(some, rel=5e-3, abs=1e-4)
    many = buying.purchases(rates, SOME, weeks)[place]
    summed = each.of(-np.expm1(-each.rate * each.stop * weeks) / each.stop)
    assert summed == pytest.approx(many, rel=1e-2, abs=1e-4)
    likelihood = np.exp(buying.log_likelihood(rates, SOME)[place])
    assert (each.weight * each.both).sum() == pytest.approx(likelihood, rel=5e-3)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("weeks", [1.0, 13.0, 60.0])
def test_counts_add_up_to_one_and_to_the_mean(rates: Rates, weeks: float) -> None:
    counts = buying.counts(rates, SOME, weeks, 600)
    assert (counts >= 0).all()
    assert counts.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    mean = (counts * np.arange(601)).sum(axis=1)
    assert mean == pytest.approx(buying.purchases(rates, SOME, weeks), rel=1e-5, abs=1e-7)
    some = buying.any_purchase(rates, SOME, weeks)
    assert 1 - counts[:, 0] == pytest.approx(some, abs=1e-9)


def test_the_published_customer_buys_1_226_times() -> None:
    assert buying.purchases(CDNOW, SOME, 39.0)[3] == pytest.approx(1.226, abs=5e-4)


def test_who_buys_often_is_no_trouble() -> None:
    often = Buyers(np.array([3000.0]), np.array([300.0]), np.array([300.5]))
    found = buying.purchases(Rates(0.7, 9.0, 0.004, 200.0), often, 520.0)
    assert 3000 < found[0] < 6000


def test_a_fit_finds_the_rates_that_customers_were_made_with() -> None:
    made = made_with(Rates(0.8, 6.0, 0.9, 2.5), 20_000)
    found = buying.fit(made, np.ones(len(made.x)))
    assert np.array(found) == pytest.approx([0.8, 6.0, 0.9, 2.5], rel=0.15)
    for number in range(4):
        for factor in (0.9, 1.1):
            other = found._replace(**{found._fields[number]: found[number] * factor})
            worse = buying.log_likelihood(other, made).mean()
            assert worse < buying.log_likelihood(found, made).mean()


def test_few_customers_leave_the_rates_as_they_usually_are() -> None:
    nobody = Buyers(*(np.zeros(0),) * 3)
    assert buying.fit(nobody, np.zeros(0)) == buying.USUAL
    one = buying.fit(Buyers(*(np.array([value]) for value in (1.0, 2.0, 3.0))), np.ones(1))
    assert all(0.2 < now / usual < 5 for now, usual in zip(one, buying.USUAL, strict=True))


def test_one_who_stands_for_three_weighs_as_much_as_three() -> None:
    three = Buyers(*(np.repeat(column, 3) for column in SOME))
    said = buying.fit(SOME, np.full(len(SOME.x), 3.0))
    assert np.array(said) == pytest.approx(buying.fit(three, np.ones(len(three.x))), rel=1e-4)


def made_with(rates: Rates, count: int) -> Buyers:
    """Customers who do as the process says, seen after 26 to 39 weeks."""
    random = np.random.default_rng(4)
    rate = random.gamma(rates.r, 1 / rates.alpha, count)
    stop = random.beta(rates.a, rates.b, count)
    age = random.uniform(26, 39, count)
    x, last, now = np.zeros(count), np.zeros(count), np.zeros(count)
    there = np.ones(count, dtype=bool)
    while there.any():
        now = now + random.exponential(1 / np.maximum(rate, 1e-12))
        there &= now < age
        x, last = x + there, np.where(there, now, last)
        there &= random.random(count) > stop
    return Buyers(x, last, age)
