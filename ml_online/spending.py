"""What an order of somebody's is worth: the gamma-gamma of Fader and Hardie (2013).

Orders of one customer scatter about a mean of their own (gamma: `p` and a scale), and these means
about that of all (the scale is gamma, too: `q`, `gamma`). So the mean of few orders is drawn to
what all spend, that of many speaks for itself. Zero and less is no order's worth: such orders are
left out.

SciPy is loaded where it works: that takes a second, which only those who learn should spend.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# As in `buying`, with all values in multiples of their mean.
_USUAL = np.log([4.0, 4.0, 0.75])
_SPREAD = 1.5
_BOUNDS = [(-3.0, 6.0), (0.1, 6.0), (-6.0, 6.0)]
_STEPS = 60


class Spenders(NamedTuple):
    """Of each how many orders were worth something, and their mean; arrays of one length."""

    orders: Array
    mean: Array


class Spending(NamedTuple):
    """Of all customers of a shop, in multiples of `unit`, which is their mean order."""

    p: float
    q: float
    gamma: float
    unit: float


USUAL = Spending(4.0, 4.0, 0.75, unit=1.0)


def fit(spenders: Spenders) -> Spending:
    """The likeliest, drawn a little to what is usual."""
    some = (spenders.orders > 0) & (spenders.mean > 0)
    orders, mean = spenders.orders[some], spenders.mean[some]
    if not len(mean):
        return USUAL
    unit = float(mean.mean())
    relative = Spenders(orders, mean / unit)

    def loss(logs: Array) -> tuple[float, Array]:
        found, slope = _log_likelihood(np.exp(logs), relative)
        away = (logs - _USUAL) / _SPREAD
        return (
            float(-found.mean() + 0.5 * (away**2).sum() / len(orders)),
            -slope * np.exp(logs) + away / _SPREAD / len(orders),
        )

    from scipy.optimize import minimize

    found = minimize(loss, _USUAL, jac=True, method="TNC", bounds=_BOUNDS)
    p, q, gamma = np.exp(found.x).tolist()
    return Spending(p, q, gamma, unit)


def _log_likelihood(three: Array, spenders: Spenders) -> tuple[Array, Array]:
    from scipy.special import gammaln, psi

    p, q, gamma = three
    n, mean = spenders
    total = n * mean
    log_all = np.log(gamma + total)
    found = gammaln(p * n + q) - gammaln(p * n) - gammaln(q) + q * np.log(gamma)
    found = found + (p * n - 1) * np.log(mean) + p * n * np.log(n) - (p * n + q) * log_all
    slopes = (
        n * (psi(p * n + q) - psi(p * n) + np.log(mean) + np.log(n) - log_all),
        psi(p * n + q) - psi(q) + np.log(gamma) - log_all,
        q / gamma - (p * n + q) / (gamma + total),
    )
    return found, np.array([slope.mean() for slope in slopes])


def expected_order(spending: Spending, spenders: Spenders) -> Array:
    """What an order of each is worth on average, in the unit of the values."""
    p, q, gamma, unit = spending
    n, mean = spenders
    return unit * p * (gamma + n * mean / unit) / np.maximum(p * n + q - 1, 0.05)


def totals(spending: Spending, spenders: Spenders, counts: Array, levels: Array) -> Array:
    """[customer, level]: below what the orders to come stay in total, as likely as the level says,
    where `counts` [customer, n] says how likely there are n of them."""
    from scipy.special import betainc

    p, q, gamma, unit = spending
    own_q = (q + p * spenders.orders)[:, None]
    own_gamma = (gamma + spenders.orders * spenders.mean / unit)[:, None]
    shapes = p * np.arange(1, counts.shape[1])
    low = np.zeros((len(counts), len(levels)))
    # The share of the total in itself and the scale: from 0 to 1, whatever it is worth.
    high = np.ones_like(low)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        under = betainc(shapes[None, None, :], own_q[..., None], middle[..., None])
        likely = counts[:, :1] + (counts[:, None, 1:] * under).sum(axis=2)
        below = likely < levels[None, :]
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    share = np.minimum(high, 1 - 1e-12)
    nothing = counts[:, :1] >= levels[None, :]
    return np.where(nothing, 0.0, unit * own_gamma * share / (1 - share))
