"""What peeking costs: experiments simulated by the thousand, looked at again and again.

    python -m loadtests.peeking

Whoever stops a z-test at the first look that shows a difference sees one in most experiments that
have none. The confidence sequences are looked at just as often. Seeded; every run is an experiment
of two equal arms.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from ml_online.confidence_sequences import (
    RATIO_ALPHA,
    Interval,
    Numbers,
    Sample,
    difference,
    ratio_evidence,
)

ALPHA = 0.05
_SIGMA = 1.2  # of the logarithm of what an order comes to: its mean is twice its median


class Looks(NamedTuple):
    """Two arms as they stood at each look: arrays of (runs, looks)."""

    treated: Sample
    control: Sample


def conversions(runs: int, looks: int, step: int, rates: tuple[float, float], seed: int) -> Looks:
    """Units that buy at once or never, `step` new ones between looks."""
    random = np.random.default_rng(seed)
    treated = random.binomial(step, 0.5, (runs, looks))
    arms = []
    for units, rate in zip((treated, step - treated), rates, strict=True):
        bought = _cumulated(random.binomial(units, rate))
        arms.append(Sample(_cumulated(units), bought, bought, bought))
    return Looks(*arms)


def revenues(runs: int, looks: int, step: int, rates: tuple[float, float], seed: int) -> Looks:
    """The same with what they spend, a few of them much."""
    random = np.random.default_rng(seed)
    treated = random.random((runs, looks, step)) < 0.5
    bought = random.random((runs, looks, step)) < np.where(treated, *rates)
    spent = np.where(bought, random.lognormal(3.0, _SIGMA, (runs, looks, step)), 0.0)
    return Looks(
        *(
            Sample(
                _cumulated(arm.sum(2)),
                _cumulated((arm & bought).sum(2)),
                _cumulated((arm * spent).sum(2)),
                _cumulated((arm * spent**2).sum(2)),
            )
            for arm in (treated, ~treated)
        )
    )


def late_conversions(
    runs: int, looks: int, units: int, rates: tuple[float, float], seed: int
) -> Looks:
    """Units who all come within the first tenth of the looks, and buy when they get to it."""
    random = np.random.default_rng(seed)
    treated = random.random((runs, units)) < 0.5
    seen = random.integers(0, max(1, looks // 10), (runs, units))
    buys = random.random((runs, units)) < np.where(treated, *rates)
    at = seen + random.exponential(looks / 2, (runs, units)).astype(int)
    arms = []
    for arm in (treated, ~treated):
        exposed = _counted(seen, arm, looks)
        bought = _counted(at, arm & buys, looks)
        arms.append(Sample(exposed, bought, bought, bought))
    return Looks(*arms)


def _counted(at: NDArray[np.int64], which: NDArray[np.bool_], looks: int) -> Numbers:
    """How many have come by each look."""
    row = np.broadcast_to(np.arange(len(at))[:, None], at.shape)
    told = which & (at < looks)
    found = np.bincount((row * looks + at)[told], minlength=len(at) * looks)
    return _cumulated(found.reshape(len(at), looks))


def _cumulated(counts: NDArray[np.generic]) -> Numbers:
    found: Numbers = np.cumsum(counts, axis=1, dtype=float)
    return found


# How each is judged.


def sequence(looks: Looks) -> Interval:
    return difference(looks.treated, looks.control, ALPHA)


def z_test(looks: Looks) -> Interval:
    """The interval of a sample size that was fixed before anybody looked."""
    found = difference(looks.treated, looks.control, ALPHA)
    means = [one.total / np.maximum(one.units, 1) for one in looks]
    errors = [
        np.maximum(one.squares / np.maximum(one.units, 1) - mean**2, 0) / np.maximum(one.units, 1)
        for one, mean in zip(looks, means, strict=True)
    ]
    width = norm.ppf(1 - ALPHA / 2) * np.sqrt(sum(errors))
    return Interval(found.estimate, found.estimate - width, found.estimate + width)


def decided(found: Interval) -> NDArray[np.bool_]:
    """Whether an interval leaves out that there is no difference."""
    told: NDArray[np.bool_] = (found.lower > 0) | (found.upper < 0)
    return told


def ever(found: Interval) -> float:
    """The share of runs in which some look decides."""
    return float(decided(found).any(axis=1).mean())


def stops(found: Interval) -> NDArray[np.int64]:
    """At which look each run decides; the number of looks where none does."""
    told = decided(found)
    at: NDArray[np.int64] = np.where(told.any(axis=1), told.argmax(axis=1), told.shape[1])
    return at


def unsound(looks: Looks, share: float = 0.5) -> float:
    """The share of runs that some look calls of other shares than planned."""
    counts = [looks.treated.units, looks.control.units]
    evidence = ratio_evidence([([share, 1 - share], counts)])
    return float((evidence >= -np.log(RATIO_ALPHA)).any(axis=1).mean())


_SAME = (0.05, 0.05)
_NULLS: dict[str, Callable[[], Looks]] = {
    "conversion of 5 %, a look at each unit, 10,000 units": lambda: conversions(
        1000, 10_000, 1, _SAME, 1
    ),
    "conversion of 5 %, a look at each 100 units, 100,000 units": lambda: conversions(
        1000, 1000, 100, _SAME, 2
    ),
    "conversion of 0.5 %, a look at each 100 units, 100,000 units": lambda: conversions(
        1000, 1000, 100, (0.005, 0.005), 3
    ),
    "revenue, lognormal, a look at each 100 units, 20,000 units": lambda: revenues(
        1000, 200, 100, _SAME, 4
    ),
    "conversion, most of it long after exposure, 20,000 units": lambda: late_conversions(
        1000, 500, 20_000, _SAME, 5
    ),
}


def main() -> None:
    """Prints how often each finds what is not there, and how soon what is."""
    console = Console()
    table = Table(title="1,000 A/A runs each: a difference is ever seen")
    for name in ("experiment", "confidence sequence", "z-test, stopped at will", "sample ratio"):
        table.add_column(name)
    for name, simulated in _NULLS.items():
        looks = simulated()
        shares = ever(sequence(looks)), ever(z_test(looks)), unsound(looks)
        table.add_row(name, *(f"{share:.1%}" for share in shares))
    console.print(table)
    table = Table(title="5 % against more: until it is seen (1,000 runs, a look at each 100 units)")
    for name in ("rate", "z-test of a fixed size, power 80 %", "median", "mean", "power at it"):
        table.add_column(name)
    for rate in (0.055, 0.06, 0.07):
        fixed = 100 * fixed_looks(rate)
        looks = conversions(1000, 6 * fixed // 100, 100, (rate, 0.05), 6)
        at = 100 * (stops(sequence(looks)) + 1)
        row = (fixed, int(np.median(at)), int(at.mean()))
        power = f"{(at <= fixed).mean():.0%}"
        table.add_row(f"{rate:.1%}", *(f"{units:,} units" for units in row), power)
    console.print(table)


def fixed_looks(rate: float, base: float = 0.05, power: float = 0.8) -> int:
    """How many hundreds of units a z-test needs, both arms together."""
    spread = rate * (1 - rate) + base * (1 - base)
    units = 2 * (norm.ppf(1 - ALPHA / 2) + norm.ppf(power)) ** 2 * spread / (rate - base) ** 2
    return int(np.ceil(units / 100))


if __name__ == "__main__":
    main()
