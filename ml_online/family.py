"""What a model family is: a name, a version of its code, and learners that begin with nothing."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from msgspec import Struct

from streams.codec import Fact


class Learner(Protocol):
    """A model that learns one fact after the other, and whose state can be written down.

    Everything is a pure function of the facts in their order: no clock, no chance, and no order of
    sets. A prediction changes nothing.
    """

    def learn(self, fact: Fact) -> None:
        """Predicts, scores and then learns what the fact tells; other facts it passes over."""

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say: the same rows whenever the learner is the same.
        Whoever asks for them sees to it that nothing is learned meanwhile."""

    def restore(self, state: Iterable[Any]) -> None:
        """Goes on from a state as if its facts had been learned here."""


class ModelFamily(Struct, frozen=True):
    """`version` is raised when the same facts would give another state: snapshots are then void."""

    name: str
    version: int
    new: Callable[[], Learner]
