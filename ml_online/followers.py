"""What follows a product, and what goes with it: pairs counted as they come, a few of each kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any

from ml_online.fading import Clock

MOST_PAIRS = 48
"""Of one product: beyond twice as many, the lightest are forgotten."""
MOST_PRODUCTS = 200_000


class Followers:
    """Fading weights of ordered pairs: the second came with, or after, the first."""

    def __init__(self, half_life: float) -> None:
        self._clock = Clock(half_life)
        self._pairs: dict[str, dict[str, float]] = {}
        self.latest = 0.0
        """What a pair weighs that comes now."""

    def one(self, at: float) -> float:
        """What a pair weighs at a time (seconds)."""
        one = self._clock.one(at, self._divide)
        self.latest = max(self.latest, one)
        return one

    def follow(self, product_id: str, earlier: Iterable[tuple[str, float]]) -> None:
        """A product after others, each with the weight of that pair."""
        pairs = self._pairs
        for other, weight in earlier:
            known = pairs.get(other)
            if known is None:
                known = pairs[other] = {}
                if len(pairs) > MOST_PRODUCTS + MOST_PRODUCTS // 8:
                    self._forget()
            known[product_id] = known.get(product_id, 0.0) + weight
            if len(known) > 2 * MOST_PAIRS:
                pairs[other] = dict(nlargest(MOST_PAIRS, known.items(), key=_weight))

    def together(self, products: Sequence[str], weight: float) -> None:
        """Products of one basket, each with each other."""
        pairs = self._pairs
        for product_id in products:
            known = pairs.get(product_id)
            if known is None:
                known = pairs[product_id] = {}
            get = known.get
            for other in products:
                if other != product_id:
                    known[other] = get(other, 0.0) + weight
            if len(known) > 2 * MOST_PAIRS:
                pairs[product_id] = dict(nlargest(MOST_PAIRS, known.items(), key=_weight))
        if len(pairs) > MOST_PRODUCTS + MOST_PRODUCTS // 8:
            self._forget()

    def of(self, product_id: str) -> Mapping[str, float]:
        """What came after it, or with it, by weight."""
        return self._pairs.get(product_id, {})

    def _forget(self) -> None:
        """Those whose pairs weigh least."""
        heaviest = nlargest(
            MOST_PRODUCTS,
            ((max(pairs.values(), default=0.0), one) for one, pairs in self._pairs.items()),
        )
        kept = {product_id for _, product_id in heaviest}
        self._pairs = {one: pairs for one, pairs in self._pairs.items() if one in kept}

    def _divide(self, by: float) -> None:
        for pairs in self._pairs.values():
            for other in pairs:
                pairs[other] *= by
        self.latest *= by

    def state(self) -> Iterator[Any]:
        yield [self._clock.origin, self.latest]
        for product_id, pairs in self._pairs.items():
            yield [product_id, [value for pair in pairs.items() for value in pair]]

    def restore(self, state: Iterable[Any]) -> None:
        rows = iter(state)
        self._clock.origin, self.latest = next(rows)
        texts: dict[str, str] = {}
        self._pairs = {}
        for product_id, flat in rows:
            others = (texts.setdefault(other, other) for other in flat[::2])
            weights = (float(weight) for weight in flat[1::2])
            own = texts.setdefault(product_id, product_id)
            self._pairs[own] = dict(zip(others, weights, strict=True))


def _weight(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]
