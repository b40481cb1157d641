"""How often somebody buys who may stop without a word: the BG/NBD of Fader, Hardie and Lee (2005).

While they are customers they buy at random, at a rate of their own (gamma over all: `r`, `alpha`);
after each purchase some stop for good, with a chance of their own (beta over all: `a`, `b`). Of one
customer all that matters is how many purchases followed the first (`x`), when the last of them was
(`t_x`) and how long ago the first was (`age`), both in weeks since the first. Given these, whoever
is still a customer goes on as a new one does who has r + x, alpha + age, a and b + x; what is ahead
of them is closed forms of these four.

SciPy is loaded where it works: that takes a second, which only those who learn should spend.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Where a fit begins, and where it stays as long as next to nobody has bought: logarithms.
_USUAL = np.log([0.5, 8.0, 0.8, 2.5])
_SPREAD = 2.0
_BOUNDS = [(-6.0, 8.0)] * 4
_NEAR_ONE = 1e-5


class Buyers(NamedTuple):
    """What is known of each: repeat purchases, weeks from the first to the last, weeks since the
    first; arrays of one length."""

    x: Array
    t_x: Array
    age: Array


class Rates(NamedTuple):
    """Of all customers of a shop. Weeks."""

    r: float
    alpha: float
    a: float
    b: float


USUAL = Rates(*(float(one) for one in np.exp(_USUAL)))


def fit(buyers: Buyers, weights: Array) -> Rates:
    """The likeliest rates, drawn a little to the usual ones: a few buyers do not say much. Each
    stands for as many as `weights` says.

    It begins anew each time, so it is a function of these buyers alone.
    """
    count = weights.sum()
    if not count:
        return USUAL
    weights = weights / count

    def loss(logs: Array) -> tuple[float, Array]:
        found, slopes = _log_likelihood(np.exp(logs), buyers)
        slope = np.array([(one * weights).sum() for one in slopes])
        away = (logs - _USUAL) / _SPREAD
        return (
            float(-(found * weights).sum() + 0.5 * (away**2).sum() / count),
            -slope * np.exp(logs) + away / _SPREAD / count,
        )

    from scipy.optimize import minimize

    # Four numbers: what calls BLAS for them spends its time on waking threads.
    found = minimize(loss, _USUAL, jac=True, method="TNC", bounds=_BOUNDS)
    return Rates(*(float(one) for one in np.exp(found.x)))


def log_likelihood(rates: Rates, buyers: Buyers) -> Array:
    """Of each buyer."""
    return _log_likelihood(np.array(rates), buyers)[0]


def _log_likelihood(rates: Array, buyers: Buyers) -> tuple[Array, tuple[Array, ...]]:
    """Of each, and its slope by each of the rates."""
    from scipy.special import betaln, expit, gammaln, psi

    r, alpha, a, b = rates
    x, t_x, age = buyers
    here = -(r + x) * np.log(alpha + age)
    gone = np.log(a) - np.log(b + np.maximum(x, 1.0) - 1) - (r + x) * np.log(alpha + t_x)
    share = np.where(x > 0, expit(gone - here), 0.0)  # of the likelihood: that they have stopped
    either = np.where(x > 0, np.logaddexp(here, gone), here)
    found = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    since = (1 - share) * np.log(alpha + age) + share * np.log(alpha + t_x)
    ends = (1 - share) / (alpha + age) + share / (alpha + t_x)
    both = psi(a + b) - psi(a + b + x)
    slopes = (
        psi(r + x) - psi(r) + np.log(alpha) - since,
        r / alpha - (r + x) * ends,
        both + share / a,
        both + psi(b + x) - psi(b) - share / (b + np.maximum(x, 1.0) - 1),
    )
    return found + either, slopes


def still_there(rates: Rates, buyers: Buyers) -> Array:
    """How likely each has not stopped. Of whoever bought once it is 1: one stops after a repeat."""
    from scipy.special import expit

    r, alpha, a, b = rates
    x, t_x, age = buyers
    gone = np.log(a) - np.log(b + np.maximum(x, 1.0) - 1)
    gone = gone + (r + x) * (np.log(alpha + age) - np.log(alpha + t_x))
    return np.where(x > 0, expit(-gone), 1.0)


def any_purchase(rates: Rates, buyers: Buyers, weeks: float) -> Array:
    """How likely each buys within so many weeks."""
    r, alpha, _, _ = rates
    without = (r + buyers.x) * np.log1p(weeks / (alpha + buyers.age))
    found: Array = still_there(rates, buyers) * -np.expm1(-without)
    return found


def purchases(rates: Rates, buyers: Buyers, weeks: float) -> Array:
    """How many purchases of each are to be expected within so many weeks.

    By Euler's transformation the hypergeometric function has small parameters, however often
    somebody has bought.
    """
    from scipy.special import hyp2f1

    r, alpha, a, b = rates
    if abs(a - 1) < _NEAR_ONE:
        a = 1 + _NEAR_ONE  # it is the limit
    x = buyers.x
    share = weeks / (alpha + buyers.age + weeks)
    rest = np.exp((a - 1) * np.log1p(-share)) * hyp2f1(a + b - r - 1, a - 1, a + b + x - 1, share)
    found: Array = np.maximum((a + b + x - 1) / (a - 1) * (1 - rest), 0.0)
    return still_there(rates, buyers) * found


def counts(rates: Rates, buyers: Buyers, weeks: float, most: int) -> Array:
    """[buyer, n]: how likely each buys n times within so many weeks, for n to `most`, not more."""
    from scipy.special import betaln, gammaln

    r, alpha, a, b = rates
    x = buyers.x[:, None]
    own_r, own_b = r + x, b + x
    n = np.arange(most + 1)[None, :]
    log_rest = -np.log1p(weeks / (alpha + buyers.age))[:, None]  # alpha / (alpha + weeks)
    log_share = np.log(-np.expm1(log_rest))
    random = np.exp(gammaln(own_r + n) - gammaln(own_r) - gammaln(n + 1.0)
                    + own_r * log_rest + n * log_share)  # fmt: skip
    stays = np.exp(betaln(a, own_b + n) - betaln(a, own_b))
    before = np.cumsum(random, axis=1) - random
    stops = np.exp(betaln(a + 1, own_b + np.maximum(n, 1) - 1) - betaln(a, own_b))
    found = stays * random + np.where(n > 0, stops * np.maximum(1 - before, 0.0), 0.0)
    there = still_there(rates, buyers)[:, None]
    every: Array = there * found + (1 - there) * (n == 0)
    return every
