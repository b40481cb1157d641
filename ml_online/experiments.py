"""Which arm of an experiment falls to whom: the same one for ever, wherever it is asked.

A unit (a visitor, or a person) has a place among a million, by a hash of the shop, the experiment,
its salt and the unit. Arms lie over these places in spans, which the experiment's event tells. As
weights change, only so many places change hands as have to. Whether a unit takes part at all is
told by a second place, so that more traffic adds units and moves none.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import xxhash
from msgspec import Struct

from streams.events import (
    ExperimentArm,
    ExperimentSpan,
    ExperimentStopped,
    ExperimentTerms,
)
from streams.money import allocate

PLACES = 1_000_000
_ARM, _TRAFFIC = 0, 1  # seeds of two hashes that tell nothing of one another


class Experiment(Struct, frozen=True):
    """An experiment of a shop, as it was told last. Of a stopped one everyone has the arm that was
    named then, or nobody any."""

    shop: str
    terms: ExperimentTerms
    stopped: ExperimentStopped | None = None


def arm(experiment: Experiment, unit: str) -> ExperimentArm | None:
    """A unit's arm; None for who does not take part, and has what is usual."""
    terms = experiment.terms
    if experiment.stopped is not None:
        return _named(terms, experiment.stopped.arm)
    if place(experiment, unit, _TRAFFIC) >= Decimal(terms.traffic) * PLACES:
        return None
    at = place(experiment, unit)
    return _named(terms, next(span.arm for span in terms.spans if at < span.until))


def place(experiment: Experiment, unit: str, seed: int = _ARM) -> int:
    """Where a unit lies among the places, [0, PLACES)."""
    terms = experiment.terms
    said = f"{experiment.shop}\0{terms.experiment_id}\0{terms.salt}\0{unit}"
    return xxhash.xxh3_64_intdigest(said.encode(), seed) * PLACES >> 64


def _named(terms: ExperimentTerms, name: str | None) -> ExperimentArm | None:
    return next((one for one in terms.arms if one.name == name), None)


def spans_of(
    arms: Sequence[ExperimentArm], before: Sequence[ExperimentSpan] = ()
) -> list[ExperimentSpan]:
    """Where arms lie by their weights. Places that an arm had `before` stay its own as far as it
    still has a right to so many: those that move are as few as can be."""
    shares = allocate(PLACES, [one.weight for one in arms])
    left = {one.name: share for one, share in zip(arms, shares, strict=True)}
    kept: list[tuple[int, str | None]] = []  # so many places, and whose; None: to be given
    begun = 0
    for span in before or [ExperimentSpan(arm="", until=PLACES)]:
        size = span.until - begun
        own = min(size, left.get(span.arm, 0))
        left[span.arm] = left.get(span.arm, 0) - own
        kept += [(own, span.arm)] if own else []
        kept += [(size - own, None)] if size > own else []
        begun = span.until
    takers = deque((name, count) for name, count in left.items() if count)
    return _joined(_given(kept, takers))


def _given(
    kept: Iterable[tuple[int, str | None]], takers: deque[tuple[str, int]]
) -> Iterator[tuple[int, str]]:
    """Every stretch of places with whose it is: those that are free go to the takers in turn."""
    for size, owner in kept:
        if owner is not None:
            yield size, owner
            continue
        while size:
            name, wanted = takers.popleft()
            taken = min(size, wanted)
            yield taken, name
            size -= taken
            if wanted > taken:
                takers.appendleft((name, wanted - taken))


def _joined(stretches: Iterable[tuple[int, str]]) -> list[ExperimentSpan]:
    found: list[ExperimentSpan] = []
    until = 0
    for size, name in stretches:
        until += size
        if found and found[-1].arm == name:
            found.pop()
        found.append(ExperimentSpan(arm=name, until=until))
    return found


def choice(experiments: Iterable[Experiment], unit: str) -> tuple[Experiment, ExperimentArm] | None:
    """The first of several experiments over a flag that the unit takes part in, and its arm."""
    found = ((one, arm(one, unit)) for one in experiments)
    return next(((one, its) for one, its in found if its is not None), None)
