"""How far apart two arms are, at any moment and however often somebody looks.

An interval of a fixed sample size is wrong as soon as one stops at the first look that pleases. A
confidence sequence holds at all moments at once. This one is asymptotic: I. Waudby-Smith,
D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences" (arXiv:2103.06476, 2021; Annals of Statistics, 2024): Robbins' normal mixture
around an estimate whose errors add up like a Brownian motion, with its variance estimated.

What passes for time there is the variance that has come together. It is measured here in units of
what one unit with an outcome adds, so that it is about how many units have one. A share of buyers
of 1 % knows as little after 1,000 visitors as it should, and buyers who come days after their
exposure count as time when they come.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

TUNED_TO = 500.0
"""With so many outcomes in both arms together the interval is as narrow as it gets, for its alpha:
1.5 times that of a fixed sample size. Fixed for all, for it may not depend on what was seen."""


class Sample(NamedTuple):
    """What is known of an arm: how many units, how many of them have an outcome, and the sum and
    the sum of squares of what each came to. Numbers, or arrays of one shape for many at once."""

    units: Any
    active: Any
    total: Any
    squares: Any


class Interval(NamedTuple):
    """An estimate, and what it may be by what was seen; infinite where that is not enough."""

    estimate: Numbers
    lower: Numbers
    upper: Numbers


def difference(treated: Sample, control: Sample, alpha: float, kept: float = 1.0) -> Interval:
    """How much more a unit comes to in one arm than `kept` times what it comes to in the other."""
    means, variances, counts = [], [], []
    for one in (treated, control):
        units, total, squares = (np.asarray(x, float) for x in (one.units, one.total, one.squares))
        count = np.maximum(units, 1.0)
        mean = total / count
        means.append(mean)
        counts.append(units)
        variances.append(np.maximum(squares / count - mean**2, 0.0) / np.maximum(count - 1, 1.0))
    estimate = means[0] - kept * means[1]
    variance = variances[0] + kept**2 * variances[1]
    active = np.asarray(treated.active + control.active, float)
    squares = np.asarray(treated.squares + control.squares, float)
    one_outcome = squares / np.maximum(active, 1.0)
    known = (np.minimum(*counts) >= 2) & (variance > 0) & (one_outcome > 0)
    outcomes = (counts[0] + counts[1]) ** 2 * variance / (4 * np.where(known, one_outcome, 1.0))
    width = np.sqrt(variance) * multiplier(np.where(known, outcomes, 1.0), alpha)
    width = np.where(known, width, np.inf)
    return Interval(estimate, estimate - width, estimate + width)


def multiplier(outcomes: Numbers, alpha: float) -> Numbers:
    """How many standard errors the interval reaches to either side, by how many outcomes there are
    (more than none). At all moments together it misses with a probability of `alpha` at most."""
    mixed = outcomes * _mixture(alpha)
    found: Numbers = np.sqrt((1 + 1 / mixed) * np.log((mixed + 1) / alpha**2))
    return found


def _mixture(alpha: float) -> float:
    """The mixture's rho squared that is best at `TUNED_TO` (the paper's appendix B.2)."""
    told = -2 * np.log(alpha)
    return float((told + np.log(told + 1)) / TUNED_TO)


# Whether units fall to the arms as often as they should.

RATIO_ALPHA = 0.01
"""How likely at most a sound experiment is ever called unsound."""
_CONCENTRATION = 1000.0  # shares that are off by some 0.03 and less are what it looks for


def ratio_evidence(phases: Sequence[tuple[Sequence[float], Sequence[Any]]]) -> Numbers:
    """The logarithm of how many times likelier these counts are if shares are not as planned.

    A phase is the planned shares of the arms, and how many units came to each. A Dirichlet mixture
    of multinomials around the plan: M. Lindon, A. Malek, "Anytime-valid inference for multinomial
    count data" (arXiv:2011.03567, 2020; NeurIPS 2022). Under the plan it is a martingale with mean
    1: so it ever exceeds 1/alpha with a probability of alpha at most.
    """
    # Here, because loading it takes a second of every process that only knows of experiments.
    from scipy.special import gammaln

    evidence: Any = np.zeros(())
    for shares, counts in phases:
        planned = [
            (share, np.asarray(count, float))
            for share, count in zip(shares, counts, strict=True)
            if share > 0
        ]
        whole = sum(share for share, _ in planned)
        units: Any = sum(count for _, count in planned)
        evidence = evidence + gammaln(_CONCENTRATION) - gammaln(_CONCENTRATION + units)
        for share, count in planned:
            weight = _CONCENTRATION * share / whole
            evidence = evidence + gammaln(weight + count) - gammaln(weight)
            evidence = evidence - count * np.log(share / whole)
    found: Numbers = np.asarray(evidence)
    return found
