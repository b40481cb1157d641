"""Who orders again: a logistic regression that learns each week from what became of those of past
weeks.

It begins as the purchase process of `buying` and is put right by what the process leaves out: it is
certain that whoever bought once is still there, and knows nothing of what orders are worth. How far
ahead is asked counts by what the process says of it, and as a level of its own as far as a shop has
yet seen the end of: so any horizon can be asked, also a longer one. What it says is then
calibrated: Platt's line through the chances that were given and what became of them, which follows
at a slow, steady pace.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml_online import buying
from ml_online.buying import Array, Buyers, Rates

if TYPE_CHECKING:
    from river.linear_model import LogisticRegression

FEATURES = (
    *("process", "expected"),
    *("once", "orders", "silent", "age", "silent_once", "silent_orders", "silent_squared"),
    *("value", "silent_share", "rate", "ahead"),
)
_BEGIN = {"expected": 1.0}
_PACE = 0.1
_PLATT_PACE = 0.00005
_LEAST = 1e-4  # of a chance
_MOST_EXPECTED = 20.0
_LOG_MOST = 4.0
_USUAL_LOG_WEEKS = 2.0
_USUAL_AHEAD = 13.0


def features(
    rates: Rates, buyers: Buyers, value: Array, weeks: float, level: float | None = None
) -> Array:
    """[customer, feature]. `value` is the mean order in multiples of what is usual in the shop;
    `level` are the weeks that the horizon counts as besides, if not as so many."""
    x, t_x, age = buyers
    chance = np.clip(buying.any_purchase(rates, buyers, weeks), _LEAST, 1 - _LEAST)
    expected = np.clip(buying.purchases(rates, buyers, weeks), _LEAST, _MOST_EXPECTED)
    once = x == 0
    orders = np.minimum(np.log1p(x), _LOG_MOST)
    silent = np.log1p(np.maximum(age - t_x, 0.0)) - _USUAL_LOG_WEEKS
    return np.column_stack(
        [
            np.log(chance / (1 - chance)),
            np.log(np.expm1(expected)),  # the log odds, were they bought at one rate
            once,
            orders,
            silent,
            np.log1p(age) - _USUAL_LOG_WEEKS,
            silent * once,
            silent * np.log1p(x),
            silent**2,
            np.clip(np.log(np.maximum(value, 1e-9)), -3.0, 3.0),
            np.maximum(age - t_x, 0.0) / (age + 1),
            x / (age + 4),
            np.full_like(x, np.log((level or weeks) / _USUAL_AHEAD)),
        ]
    )


class Returning:
    """Learns pairs of features and outcomes, in their order."""

    def __init__(self) -> None:
        self._model = _model(FEATURES, _BEGIN, adaptive=True)
        self._platt = _model(("said",), {"said": 1.0}, adaptive=False)
        self.learned = 0
        self._seen: list[float] = []  # the shortest and the longest horizon that was learned

    def level(self, weeks: float) -> float:
        """As how many weeks a horizon counts: no longer and no shorter ones than were learned."""
        return min(max(weeks, self._seen[0]), self._seen[1]) if self._seen else weeks

    def raw(self, x: Array) -> Array:
        """The log odds of an order, before they are calibrated."""
        # Not by BLAS, whose sums are taken in another order on another machine.
        found: Array = (x * _weights(self._model, FEATURES)).sum(axis=1)
        return found + float(self._model.intercept)

    def chance(self, raw: Array) -> Array:
        """How likely there is an order, by its log odds: calibrated."""
        slope = max(float(_weights(self._platt, ("said",))[0]), 0.05)
        odds = np.clip(raw * slope + float(self._platt.intercept), -30.0, 30.0)
        return np.clip(1 / (1 + np.exp(-odds)), _LEAST, 1 - _LEAST)

    def learn(self, weeks: float, x: Array, said: Array, ordered: NDArray[np.bool_]) -> None:
        """What became of some customers: `said` are the log odds that had been given for them."""
        self._seen = [min([weeks, *self._seen]), max([weeks, *self._seen])]
        for row, odds, outcome in zip(x.tolist(), said.tolist(), ordered.tolist(), strict=True):
            self._platt.learn_one({"said": odds}, outcome)
            self._model.learn_one(dict(zip(FEATURES, row, strict=True)), outcome)
        self.learned += len(x)

    def weights(self) -> dict[str, float]:
        """Of each feature."""
        return dict(zip(FEATURES, _weights(self._model, FEATURES).tolist(), strict=True))

    def state(self) -> list[Any]:
        return [self.learned, self._seen, *(_dump(one) for one in (self._model, self._platt))]

    def restore(self, state: Sequence[Any]) -> None:
        self.learned, seen, *models = state
        self._seen = list(seen)
        for model, said in zip((self._model, self._platt), models, strict=True):
            _load(model, said)


def _model(
    names: Sequence[str], begin: dict[str, float], *, adaptive: bool
) -> "LogisticRegression":
    from river.linear_model import LogisticRegression  # takes long: only those who learn need it
    from river.optim import SGD, AdaGrad

    pace = _PACE if adaptive else _PLATT_PACE
    model = LogisticRegression(AdaGrad(pace) if adaptive else SGD(pace), intercept_lr=pace / 10)
    model._weights.update({name: begin.get(name, 0.0) for name in names})
    return model


def _weights(model: "LogisticRegression", names: Sequence[str]) -> Array:
    return np.array([model.weights[name] for name in names])


def _dump(model: "LogisticRegression") -> list[Any]:
    squares = getattr(model.optimizer, "g2", {})
    return [
        dict(model.weights),
        float(model.intercept),
        model.optimizer.n_iterations,
        {name: float(one) for name, one in squares.items()},
    ]


def _load(model: "LogisticRegression", said: Sequence[Any]) -> None:
    weights, model.intercept, model.optimizer.n_iterations, squares = said
    model._weights.update(weights)
    if squares:
        model.optimizer.g2.update(squares)
