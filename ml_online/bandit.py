"""Which arm fills a place that is drawn by lot: Thompson sampling over linear rewards.

Of each arm River's Bayesian linear regression (the one that its LinUCB is made of) knows the reward
by what is known of the situation. The chance of an arm to be the best is what Thompson sampling
would draw it with. Those chances are worked out first, by draws of a seed that the answer's id
gives, none of them less than a floor, and then one arm is drawn by them: so what is logged as its
chance is exact, and every policy over the same arms can be estimated from the log.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ml_online import river_state

if TYPE_CHECKING:
    from river.linear_model import BayesianLinearRegression

_DRAWS = 256
_FLOOR = 0.2
"""Spread evenly over the arms: no chance is less than a fifth of an even one."""
_NOISE = 4.0  # the precision of a click, which is about one in a few

Features = Mapping[str, float]


class Drawn(NamedTuple):
    """An arm, and the chances that all of them had."""

    arm: str
    propensities: dict[str, float]


class Bandit:
    """Arms of one shop: they are there once they are told of."""

    def __init__(self) -> None:
        self._arms: dict[str, BayesianLinearRegression] = {}

    def learn(self, arm: str, features: Features, reward: float) -> None:
        """What came of an arm."""
        model = self._arms.get(arm)
        if model is None:
            model = self._arms[arm] = _untaught()
        inputs = _inputs(features)
        model.learn_one(inputs, reward)
        model.predict_one(inputs)  # settles its mean, which it would else do when it is asked

    def chances(self, arms: Sequence[str], features: Features, seed: int) -> dict[str, float]:
        """With which chance each of these arms is to be drawn. They add up to one."""
        rng = np.random.default_rng(seed)
        drawn, inputs = np.empty((len(arms), _DRAWS)), _inputs(features)
        for row, arm in enumerate(arms):
            model = self._arms.get(arm) or _untaught()
            found = model.predict_one(inputs, with_dist=True)
            spread = max(found.sigma**2 - 1 / _NOISE, 0.0) ** 0.5  # of the mean, without its noise
            drawn[row] = rng.normal(found.mu, spread, _DRAWS)
        best = np.bincount(drawn.argmax(axis=0), minlength=len(arms)) / _DRAWS
        even = 1 / len(arms)
        return {
            arm: float((1 - _FLOOR) * share + _FLOOR * even)
            for arm, share in zip(arms, best, strict=True)
        }

    def draw(self, arms: Sequence[str], features: Features, seed: int) -> Drawn:
        """One of these arms by its chance; the same of the same seed."""
        chances = self.chances(arms, features, seed)
        lot = np.random.default_rng((seed, 1)).random()
        reached = 0.0
        for arm, chance in chances.items():
            reached += chance
            if lot < reached:
                return Drawn(arm, chances)
        return Drawn(arms[-1], chances)  # rounded off

    def state(self) -> Iterator[Any]:
        for arm, model in sorted(self._arms.items()):
            yield [arm, river_state.dump(model)]

    def restore(self, state: Iterable[Any]) -> None:
        self._arms = {arm: river_state.load(_untaught(), kept) for arm, kept in state}


def _inputs(features: Features) -> dict[str, float]:
    """Of a situation of which nothing is known, that it is one. Features are from 0 to 1; what is
    told to be far beyond would leave no number in the model."""
    return {"one": 1.0, **{name: max(-1.0, min(1.0, one)) for name, one in features.items()}}


def _untaught() -> "BayesianLinearRegression":
    # Its import takes seconds, which only those who learn should spend.
    from river.linear_model import BayesianLinearRegression

    return BayesianLinearRegression(alpha=1.0, beta=_NOISE)
