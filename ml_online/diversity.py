"""Lists that are not all of one kind: maximal marginal relevance (Carbonell and Goldstein 1998)."""

from collections.abc import Callable, Sequence

from ml_online.candidates import Candidate

Alike = Callable[[str, str], float]
"""How alike two products are, from 0 to 1."""


def diversified(
    ranked: Sequence[Candidate], limit: int, diversity: float, alike: Alike
) -> list[Candidate]:
    """The best of these, best first, where each gives way by how alike it is to those before.

    `diversity` 0 leaves their order, 1 looks at nothing but differences. The first stays first.
    """
    if diversity <= 0 or len(ranked) < 2:
        return list(ranked[:limit])
    top = ranked[0].score or 1.0
    left = list(ranked)
    chosen = [left.pop(0)]
    nearest = dict.fromkeys((one.product_id for one in left), 0.0)
    while left and len(chosen) < limit:
        last = chosen[-1].product_id
        best, gain = 0, float("-inf")
        for place, one in enumerate(left):
            near = nearest[one.product_id] = max(
                nearest[one.product_id], alike(last, one.product_id)
            )
            worth = (1 - diversity) * one.score / top - diversity * near
            if worth > gain:
                best, gain = place, worth
        chosen.append(left.pop(best))
    return chosen
