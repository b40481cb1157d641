"""What an order is worth, against the same added up over all scales that a customer may have."""

import numpy as np
import pytest
from scipy.special import gammaincinv

from ml_online import spending
from ml_online.spending import Spenders, Spending

MODEL = Spending(6.25, 3.74, 15.44, unit=1.0)
SOME = Spenders(np.array([1.0, 2.0, 20.0, 0.0]), np.array([20.0, 120.0, 120.0, 0.0]))
LEVELS = np.array([0.1, 0.5, 0.9])


@pytest.mark.parametrize("place", range(4))
def test_an_order_is_worth_what_all_scales_come_to(place: int) -> None:
    n, mean = float(SOME.orders[place]), float(SOME.mean[place])
    nodes, weights = np.polynomial.legendre.leggauss(400)
    own = MODEL.q + MODEL.p * n, MODEL.gamma + n * mean
    scale = gammaincinv(own[0], (nodes + 1) / 2) / own[1]
    summed = float((weights / 2 * MODEL.p / scale).sum())
    assert spending.expected_order(MODEL, SOME)[place] == pytest.approx(summed, rel=2e-3)


def test_many_orders_speak_for_themselves_and_few_are_drawn_to_what_all_spend() -> None:
    usual = MODEL.p * MODEL.gamma / (MODEL.q - 1)
    one, two, twenty, none = spending.expected_order(MODEL, SOME)
    assert none == pytest.approx(usual)
    assert SOME.mean[0] < one < usual
    assert two < twenty < 120


def test_totals_are_where_simulated_ones_are() -> None:
    counts = np.tile([0.4, 0.3, 0.2, 0.1], (4, 1))
    found = spending.totals(MODEL, SOME, counts, LEVELS)
    random = np.random.default_rng(3)
    for place in range(4):
        shape = MODEL.q + MODEL.p * SOME.orders[place]
        scale = random.gamma(shape, 1 / (MODEL.gamma + SOME.orders[place] * SOME.mean[place]),
                             200_000)  # fmt: skip
        n = random.choice(4, 200_000, p=counts[0])
        total = np.where(n > 0, random.gamma(np.maximum(n, 1) * MODEL.p) / scale, 0.0)
        assert found[place, 0] == 0.0
        under = [(total <= level).mean() for level in found[place, 1:]]
        assert under == pytest.approx(LEVELS[1:], abs=5e-3)


def test_a_fit_finds_what_orders_were_made_with_in_any_unit() -> None:
    random = np.random.default_rng(5)
    orders = random.integers(1, 8, 8_000).astype(float)
    scale = random.gamma(4.0, 1 / 0.9, 8_000)
    mean = random.gamma(5.0 * orders) / scale / orders
    small = spending.fit(Spenders(orders, mean))
    large = spending.fit(Spenders(orders, mean * 1000))
    assert (small.p, small.q) == pytest.approx((5.0, 4.0), rel=0.15)
    assert large[:3] == pytest.approx(small[:3], rel=1e-2)
    assert large.unit == pytest.approx(small.unit * 1000)


def test_gifts_and_nobody_leave_what_is_usual() -> None:
    assert spending.fit(Spenders(np.array([3.0]), np.array([0.0]))) == spending.USUAL
