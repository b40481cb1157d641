"""What another policy would have brought, by what was logged of the one that acted.

Each logged decision has the chance with which it was made. Weighted by how much likelier the other
policy would have made it, rewards estimate what that one would have had: by their mean (IPS,
unbiased), or by their weighted mean (SNIPS, nearly so and of less variance). Both only of decisions
that the one that acted could have made.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054  # of a normal distribution, 95 % in the middle

_ROUNDED = 1e-6
_MOST_KINDS = 10_000

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean reward with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Weights(NamedTuple):
    """What the rewards of decisions count for another policy, [decision] both."""

    weights: Floats
    rewards: Floats


class OffPolicy(NamedTuple):
    """`effective` is how many decisions of the other policy's own would say as much (Kish)."""

    decisions: int
    effective: float
    ips: Estimate
    snips: Estimate


def could_be(chances: Mapping[str, float], taken: str) -> bool:
    """Whether a decision can have been made with these chances: what is estimated divides by them.
    They add up to one, but for how they were rounded."""
    return (
        taken in chances
        and all(0 < chance <= 1 for chance in chances.values())
        and abs(math.fsum(chances.values()) - 1) <= _ROUNDED
    )


class Log:
    """The latest decisions, kept as estimates need them: for each which kind it is, which is the
    arm that was taken among which others, and with which chance. There are few kinds."""

    def __init__(self, most: int) -> None:
        self._kinds: dict[tuple[str, ...], int] = {}  # the arm that was taken, and all in order
        self._kind: deque[int] = deque(maxlen=most)
        self._chance: deque[float] = deque(maxlen=most)
        self._reward: deque[float] = deque(maxlen=most)

    def add(self, taken: str, chances: Mapping[str, float], reward: float) -> None:
        if len(self._kinds) >= _MOST_KINDS:
            self._forget_kinds()
        kind = (taken, *sorted(chances))
        self._kind.append(self._kinds.setdefault(kind, len(self._kinds)))
        self._chance.append(chances[taken])
        self._reward.append(reward)

    def _forget_kinds(self) -> None:
        """Those that no decision is of any more."""
        names = list(self._kinds)
        told = [names[kind] for kind in self._kind]
        self._kinds = {name: kind for kind, name in enumerate(dict.fromkeys(told))}
        self._kind.extend([self._kinds[name] for name in told])

    def policies(self, usual: str, counted: Sequence[bool] | None = None) -> dict[str, Weights]:
        """Of the decisions that are `counted`, else of all, by policy: what their rewards count.
        What has acted; all arms evenly; always one of them, which where it had nothing to offer is
        the `usual`, or else what has acted."""
        chosen = np.ones(len(self._kind), np.bool_) if counted is None else np.array(counted, bool)
        kinds = np.array(self._kind, np.int64)[chosen]
        chances = np.array(self._chance, np.float64)[chosen]
        rewards = np.array(self._reward, np.float64)[chosen]
        names = list(self._kinds)
        known = [names[kind] for kind in np.unique(kinds)]
        arms = sorted({arm for _, *among in known for arm in among})
        even = np.array([1 / (len(name) - 1) for name in names])
        found = {"acted": np.ones(len(kinds)), "even": even[kinds] / chances}
        for arm in arms:
            would = np.array([_would(arm, usual, *name) for name in names])[kinds]
            found[f"always {arm}"] = np.where(np.isnan(would), 1.0, would / chances)
        return {name: Weights(weights, rewards) for name, weights in found.items()}


def _would(arm: str, usual: str, taken: str, *among: str) -> float:
    """The chance of what was taken, had it always been this arm; NaN for that of what has acted."""
    instead = arm if arm in among else usual
    return float(taken == instead) if instead in among else math.nan


def estimate(weights: Floats, rewards: Floats) -> OffPolicy | None:
    """Of decisions' importance and rewards; None of fewer than two."""
    count = len(weights)
    if count < 2:
        return None
    gained = weights * rewards
    ips = float(gained.mean())
    error = float(gained.std(ddof=1)) / count**0.5
    whole = float(weights.sum())
    if whole <= 0:  # it would have done nothing that was ever done
        nothing = Estimate(0.0, 0.0, 1.0)
        return OffPolicy(count, 0.0, nothing, nothing)
    snips = float(gained.sum()) / whole
    # The delta method, for a ratio of means.
    left = weights * (rewards - snips)
    ratio_error = float(np.sqrt((left**2).sum())) / whole
    return OffPolicy(
        count,
        whole**2 / float((weights**2).sum()),
        _around(ips, error),
        _around(snips, ratio_error),
    )


def _around(value: float, error: float) -> Estimate:
    return Estimate(value, value - _Z * error, value + _Z * error)
