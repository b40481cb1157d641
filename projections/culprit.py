"""On which event a read model fails: looked for by halving the batch, folding it again and again.

Folds are pure, so what has failed once fails again, and nothing else is touched by trying.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from projections.read_model import Folded, Setting, Step
from streams.codec import Fact
from streams.subscribe import Batch


def first_failing(
    steps: Sequence[Step],
    model: str,
    batch: Batch,
    known: Mapping[str, Mapping[Any, Any]],
    setting: Setting,
) -> Fact | None:
    """The event without which all before it can be folded, up to this read model, and with which
    they cannot; None where the whole batch can."""
    facts = [fact for part in batch.parts for fact in part.facts]

    def fails(count: int) -> bool:
        try:
            _fold_until(steps, model, facts[:count], known, setting)
        except Exception:
            return True
        return False

    if not fails(len(facts)):
        return None
    good, bad = 0, len(facts)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return facts[good] if facts else None


def _fold_until(
    steps: Sequence[Step],
    last: str,
    facts: Sequence[Fact],
    known: Mapping[str, Mapping[Any, Any]],
    setting: Setting,
) -> None:
    """Folds facts as a store does, step by step, up to this read model."""
    folded: dict[str, Folded] = {}
    for model, topics, of in steps:
        given = folded[of].changes if of else _of_topics(facts, frozenset(topics))
        folded[model.name] = model.fold(given, known.get(model.name, {}), setting)
        if model.name == last:
            return


def _of_topics(facts: Sequence[Fact], topics: Set[str]) -> Sequence[Fact]:
    return [fact for fact in facts if fact.topic in topics]
