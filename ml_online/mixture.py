"""How much each source of candidates is worth, learned from what came: an online mixture.

Each source says how likely every product is to come next. Their mixture's weights follow the
likelihood of what came, one step of EM at a time (Cappé and Moulines 2009), by situation: nothing
is set for a shop or a file, and a source that is of no use there dies down to nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

_PRIOR = 20
"""So many outcomes the even weights of the beginning count for."""
_SLOWEST = 0.005
"""The least step: how fast weights follow a shop that changes."""
_LEAST = 1e-200
"""Scores that come to less say nothing: of what is decades old they are so small that to divide by
them gives no number."""

Scores = Mapping[str, float]


def total_of(scores: Scores) -> float:
    """What a source's scores add up to, to divide by; 0 where that says nothing."""
    total = sum(scores.values())
    return total if total > _LEAST else 0.0


class Mixture:
    """Weights of sources by situation."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources
        self._weights: dict[str, list[float]] = {}
        self._learned: dict[str, int] = {}

    def weights(self, situation: str) -> Mapping[str, float]:
        """Of every source; they add up to one."""
        even = [1 / len(self._sources)] * len(self._sources)
        return dict(zip(self._sources, self._weights.get(situation, even), strict=True))

    def mix(self, situation: str, found: Mapping[str, Scores]) -> dict[str, float]:
        """The chance of each product to come next, up to a factor."""
        weights = self.weights(situation)
        mixed: dict[str, float] = {}
        known = mixed.get
        for source, scores in found.items():
            total = total_of(scores)
            if not total:
                continue
            each = weights[source] / total
            for product_id, score in scores.items():
                mixed[product_id] = known(product_id, 0.0) + each * score
        return mixed

    def learn(
        self,
        situation: str,
        found: Mapping[str, Scores],
        mixed: Scores,
        came: Sequence[str],
    ) -> None:
        """What came, of what was mixed. What no source knew of says nothing of any."""
        foreseen = [product_id for product_id in came if mixed.get(product_id, 0.0) > 0]
        if not foreseen:
            return
        learned = self._learned.get(situation, 0) + 1
        step = max(_SLOWEST, 1 / (learned + _PRIOR))
        weights = self.weights(situation)
        totals = {source: total_of(scores) for source, scores in found.items()}
        asked = sum(weights[source] for source, total in totals.items() if total > 0)
        changed = []
        for source in self._sources:
            weight, credit = weights[source], weights[source]
            if totals.get(source, 0.0) > 0:  # one that had nothing to say is not judged
                each, scores = asked * weight / totals[source], found[source]
                credit = sum(each * scores.get(one, 0.0) / mixed[one] for one in foreseen)
                credit /= len(foreseen)
            changed.append((1 - step) * weight + step * credit)
        whole = sum(changed)
        if not isfinite(whole):  # one that is no number would stay in the weights for ever
            return
        self._learned[situation] = learned
        self._weights[situation] = [weight / whole for weight in changed]

    def state(self) -> Iterator[Any]:
        for situation, weights in sorted(self._weights.items()):
            yield [situation, self._learned[situation], weights]

    def restore(self, state: Iterable[Any]) -> None:
        self._weights, self._learned = {}, {}
        for situation, learned, weights in state:
            self._learned[situation] = learned
            self._weights[situation] = [float(weight) for weight in weights]
