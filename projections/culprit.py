"""On which event a read model fails: looked for by halving the batch, folding it again and again.

Folds are pure, so what has failed once fails again, and nothing else is touched by trying. Rows
that Postgres refuses are tried in transactions that are rolled back.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Any

from msgspec.structs import replace

from projections.read_model import Folded, FoldFailed, Setting, Step
from streams.batch import Batch
from streams.codec import Fact


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


async def first_refused(
    batch: Batch, refuses: Callable[[Batch], Awaitable[str | None]]
) -> FoldFailed | None:
    """The event without which all before it are taken, and with which they are not; None where all
    are. `refuses` tells the read model of the rows that are not taken of such a part of a batch."""
    facts = [fact for part in batch.parts for fact in part.facts]
    model = await refuses(batch)
    if model is None or not facts:
        return None
    good, bad = 0, len(facts)
    while bad - good > 1:
        middle = (good + bad) // 2
        found = await refuses(_beginning(batch, middle))
        good, bad, model = (good, middle, found) if found else (middle, bad, model)
    return FoldFailed(model, facts[good])


def _beginning(batch: Batch, count: int) -> Batch:
    """A batch with no more than so many facts."""
    parts = []
    for part in batch.parts:
        parts.append(replace(part, facts=part.facts[: max(0, count)]))
        count -= len(part.facts)
    return replace(batch, parts=parts)


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
