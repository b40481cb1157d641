"""How good lists of products were: each was asked for before what came was learned.

Over the full catalogue, and repeats allowed: a product of the session, or one that was bought
before, may be in a list and may be what comes.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import log2
from typing import Any, NamedTuple

LENGTH = 20
WINDOW = 1_000


class Outcome(NamedTuple):
    """One list held to what came. All but `targets` are sums over what came."""

    targets: int
    hits: int
    reciprocal_ranks: float
    ndcg: float


def outcome(listed: Sequence[str], came: Collection[str]) -> Outcome:
    """Each product that came is a target: found at its rank, or not. The NDCG is the list's."""
    wanted = set(came)
    ranks = [rank for rank, product_id in enumerate(listed, 1) if product_id in wanted]
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(len(wanted), len(listed)) + 1))
    gained = sum(1 / log2(rank + 1) for rank in ranks)
    ndcg = gained / ideal if ideal else 0.0
    reciprocal = sum((1 / rank for rank in ranks), 0.0)
    return Outcome(len(wanted), len(ranks), reciprocal, ndcg)


class RankingScores:
    """Of the latest lists, and of all there were."""

    def __init__(self) -> None:
        self._latest: deque[tuple[int, int, float, float, float]] = deque(maxlen=WINDOW)
        self._lists: deque[tuple[str, ...]] = deque(maxlen=WINDOW)
        self.judged = 0

    def note(self, listed: Sequence[str], came: Collection[str], novelty: float) -> None:
        """A list, what came, and the mean surprise of its products in bits."""
        self._latest.append((*outcome(listed, came), novelty))
        self._lists.append(tuple(listed))
        self.judged += 1

    def figures(self, catalogue: int) -> dict[str, Any]:
        """Means over the latest lists; `catalogue` is how many products there are to list."""
        rows = list(self._latest)
        found: dict[str, Any] = {
            "judged": self.judged,
            "window": len(rows),
            "prequential": True,
            "repeats": "allowed",
            "catalogue": "full",
        }
        targets = sum(row[0] for row in rows)
        names = (f"hr@{LENGTH}", f"mrr@{LENGTH}", f"ndcg@{LENGTH}", "coverage", "novelty")
        if not targets:
            return found | dict.fromkeys(names)
        shown = {product_id for listed in self._lists for product_id in listed}
        values = (
            sum(row[1] for row in rows) / targets,
            sum(row[2] for row in rows) / targets,
            sum(row[3] for row in rows) / len(rows),
            min(1.0, len(shown) / max(1, catalogue)),
            sum(row[4] for row in rows) / len(rows),
        )
        return found | dict(zip(names, values, strict=True))

    def state(self) -> Iterator[Any]:
        yield self.judged
        for row, listed in zip(self._latest, self._lists, strict=True):
            yield [*row, listed]

    def restore(self, state: Iterable[Any]) -> None:
        rows = iter(state)
        self.__init__()  # type: ignore[misc]
        self.judged = next(rows)
        for *row, listed in rows:
            self._latest.append(tuple(row))
            self._lists.append(tuple(listed))
