"""Re-ranking by feedback: which of the candidates that were shown get clicked, learned by River.

A list that was shown is kept until one of its products is clicked, or half an hour of events has
gone by: then each product of it is predicted, scored and learned, once, by a logistic regression.
The share of clicks by position is what that has to beat. As far as it does, and for as much as was
clicked, it moves candidates; before, none.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log, log1p
from typing import Any, NamedTuple

Features = Mapping[str, float]

MOST_SHOWN = 5_000
"""Lists that wait for a click, at most."""
PATIENCE_SECONDS = 1_800.0
_POSITIONS = 50
_PRIOR_SHARE, _PRIOR_SHOWN = 0.05, 20.0
_EVIDENCE = 50.0
"""So many clicks move candidates half as far as any number would."""
_FADED = 0.999
_RATE, _SHRUNK = 0.1, 1e-4
_FARTHEST = 2.0
"""In logarithms: no candidate moves by more than a factor of seven and a half."""


class Shown(NamedTuple):
    """A product in a list that somebody saw."""

    product_id: str
    features: dict[str, float]


class Reranker:
    """One placement of one shop. Times are seconds since 1970; a pure function of what it is told.

    `features` are such as `Recommender.features` gives, each between 0 and 1.
    """

    def __init__(self) -> None:
        # Their import takes seconds, which only those who learn should spend.
        from river import optim
        from river.linear_model import LogisticRegression

        self._model = LogisticRegression(optim.SGD(_RATE), l2=_SHRUNK)
        self._waiting: OrderedDict[str, tuple[float, list[Shown]]] = OrderedDict()
        self._of_position: dict[int, list[float]] = {}  # clicked, shown
        self.clicks = self.shown = 0
        self._loss = self._plain_loss = 0.0

    def viewed(self, answer_id: str, products: Sequence[tuple[str, Features]], at: float) -> None:
        """A list was seen, in this order. Told again, it changes nothing."""
        while self._waiting:
            oldest, (seen, _) = next(iter(self._waiting.items()))
            if at - seen <= PATIENCE_SECONDS and len(self._waiting) < MOST_SHOWN:
                break
            self._close(oldest, "")
        if answer_id not in self._waiting:
            rows = [Shown(product_id, dict(features)) for product_id, features in products]
            self._waiting[answer_id] = (at, rows[:_POSITIONS])

    def clicked(self, answer_id: str, product_id: str) -> bool:
        """One of its products was clicked: the list is learned. False, if it waits for none."""
        if answer_id not in self._waiting:
            return False
        self._close(answer_id, product_id)
        return True

    def _close(self, answer_id: str, clicked: str) -> None:
        _, rows = self._waiting.pop(answer_id)
        for position, (product_id, features) in enumerate(rows):
            self._learn(position, features, product_id == clicked)

    def _learn(self, position: int, features: Features, clicked: bool) -> None:
        known = self._of_position.setdefault(position, [0.0, 0.0])
        plain = (known[0] + _PRIOR_SHARE * _PRIOR_SHOWN) / (known[1] + _PRIOR_SHOWN)
        inputs = _inputs(features, position)
        chance = float(self._model.predict_proba_one(inputs).get(True, _PRIOR_SHARE))
        self._loss = _FADED * self._loss + _log_loss(chance, clicked)
        self._plain_loss = _FADED * self._plain_loss + _log_loss(plain, clicked)
        self._model.learn_one(inputs, clicked)
        known[0] += clicked
        known[1] += 1
        self.shown += 1
        self.clicks += clicked

    @property
    def strength(self) -> float:
        """How far candidates are moved, from 0 to 1: by what was clicked, and only by a model that
        foretells clicks better than their position does."""
        if self._loss >= self._plain_loss:
            return 0.0
        return self.clicks / (self.clicks + _EVIDENCE)

    def moved(self, scored: Sequence[tuple[float, Features]]) -> list[float]:
        """New scores of candidates, from their own and their features: in the same order, and the
        same scores where nothing speaks for a change."""
        strength = self.strength
        if not strength or not scored:
            return [score for score, _ in scored]
        logits = []
        for _, features in scored:
            chance = self._model.predict_proba_one(_inputs(features, 0)).get(True, _PRIOR_SHARE)
            logits.append(_logit(float(chance)))
        middle = sum(logits) / len(logits)
        return [
            score * 2.0 ** (strength * max(-_FARTHEST, min(_FARTHEST, logit - middle)) / log(2))
            for (score, _), logit in zip(scored, logits, strict=True)
        ]

    def figures(self) -> dict[str, Any]:
        """What it goes by: what was seen and clicked, and its log loss beside the positions'."""
        return {
            "shown": self.shown,
            "clicks": self.clicks,
            "strength": self.strength,
            "log_loss": self._loss,
            "log_loss_of_positions": self._plain_loss,
        }

    def state(self) -> Iterator[Any]:
        yield ["model", dict(self._model.weights.items()), self._model.intercept]
        yield ["sums", self.clicks, self.shown, self._loss, self._plain_loss]
        for position, (clicked, shown) in sorted(self._of_position.items()):
            yield ["position", position, clicked, shown]
        for answer_id, (at, rows) in self._waiting.items():
            yield ["waiting", answer_id, at, [[one.product_id, one.features] for one in rows]]

    def restore(self, state: Iterable[Any]) -> None:
        from river.utils import VectorDict

        self.__init__()  # type: ignore[misc]
        for kind, *row in state:
            if kind == "model":
                weights, self._model.intercept = row
                self._model._weights = VectorDict(weights)
            elif kind == "sums":
                self.clicks, self.shown, self._loss, self._plain_loss = row
            elif kind == "position":
                self._of_position[row[0]] = [row[1], row[2]]
            else:
                answer_id, at, rows = row
                shown = [Shown(product_id, dict(features)) for product_id, features in rows]
                self._waiting[answer_id] = (at, shown)


def _inputs(features: Features, position: int) -> dict[str, float]:
    """Where a product stood is part of why it was clicked; asked about, all stand first."""
    inputs = {name: value for name, value in features.items() if value}
    inputs["always"] = 1.0
    if position:
        inputs["position"] = log1p(position) / log1p(_POSITIONS)
    return inputs


def _log_loss(chance: float, clicked: bool) -> float:
    chance = min(1 - 1e-6, max(1e-6, chance))
    return -log(chance if clicked else 1 - chance)


def _logit(chance: float) -> float:
    chance = min(1 - 1e-6, max(1e-6, chance))
    return log(chance / (1 - chance))
